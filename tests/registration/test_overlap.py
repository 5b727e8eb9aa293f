"""The region in which a CT's head is shown by an MR."""

import numpy as np

from hanseg_registration.geometry.motions import Motion, translation
from hanseg_registration.geometry.overlap import overlap_region
from hanseg_shared.volume import Volume
from tests.registration.conftest import Aligned


def data_of(aligned: Aligned, shown: slice = slice(None)) -> Volume:
    data = np.zeros_like(aligned.moving.array, dtype=np.uint8)
    data[shown] = 1
    return aligned.moving.with_array(data)


def region(aligned: Aligned, data: Volume, pose: Motion) -> Volume:
    return overlap_region(aligned.ct_image.grid, aligned.ct_head, data, pose)


def test_it_lies_in_the_head_and_off_the_datas_border(aligned):
    found = region(aligned, data_of(aligned), aligned.pose)
    index = np.argwhere(found.array)[:, ::-1]
    points = found.grid.index_to_world(index)
    low, high = aligned.ct_head.low, aligned.ct_head.high
    slack = 2.0 * max(found.grid.spacing)
    assert len(index) > 1000
    assert (points > low - slack).all()
    assert (points < high + slack).all()


def test_it_is_smaller_where_the_mr_has_no_data(aligned):
    whole = region(aligned, data_of(aligned), aligned.pose).array
    half = region(aligned, data_of(aligned, slice(0, 20)), aligned.pose).array
    assert 0 < half.sum() < 0.9 * whole.sum()
    assert not (half & ~whole.astype(bool)).any()


def test_it_is_empty_where_the_images_do_not_meet(aligned):
    away = translation((2000.0, 0.0, 0.0)) @ aligned.pose
    assert not region(aligned, data_of(aligned), away).array.any()
