"""The coarse search, on a simulated patient with shoulders and an MR anywhere."""

from dataclasses import replace

import numpy as np
import pytest

from hanseg_registration.geometry.head import Head, find_ct_head, find_mr_head
from hanseg_registration.geometry.motions import (
    Motion,
    distances_mm,
    rotation,
    translation,
)
from hanseg_registration.geometry.sampling import centre_at_origin
from hanseg_registration.search.coarse import CoarseSearch, find_starts
from hanseg_shared.itk import matrix_rows
from hanseg_shared.volume import Volume
from tests.registration.conftest import Pair
from tests.registration.volumes import moved

CAPTURE_MM = 12.0
"""A start this near is what elastix finishes from."""


def start_error_mm(pair: Pair, mr_from_ct: Motion, mr: Volume) -> float:
    """Return the error of the best start, on average over the CT's head."""
    ct = find_ct_head(centre_at_origin(pair.ct))
    found = find_starts(ct, find_mr_head(centre_at_origin(mr)))[0].mr_from_ct
    truth = translation(-mr.grid.centre) @ mr_from_ct @ translation(pair.ct.grid.centre)
    return float(distances_mm(found, truth, ct.points(200)).mean())


def test_the_start_lies_near_the_truth(pair):
    assert start_error_mm(pair, pair.mr_from_ct, pair.mr) < CAPTURE_MM


@pytest.mark.parametrize(
    "angles", [(22, 0, 0), (0, -22, 0), (0, 0, 22), (-14, 14, -14)], ids=str
)
def test_the_start_is_found_though_the_header_is_turned(pair, angles):
    turn = rotation(angles, centre=pair.mr.grid.centre)
    mr = moved(pair.mr, turn)
    assert start_error_mm(pair, turn @ pair.mr_from_ct, mr) < CAPTURE_MM


def test_a_slab_of_the_mr_is_enough(pair):
    planes = slice(12, 32)
    grid = pair.mr.grid
    size = (grid.size[0], grid.size[1], 20)
    slab = Volume(pair.mr.array[planes], grid.crop((0, 0, 12), size))
    assert start_error_mm(pair, pair.mr_from_ct, slab) < CAPTURE_MM


def test_the_storage_order_of_the_mr_does_not_matter(pair):
    turned = np.ascontiguousarray(pair.mr.array.transpose(1, 0, 2))
    grid = pair.mr.grid
    columns = np.array(grid.direction)[:, [0, 2, 1]]
    (sx, sy, sz), (nx, ny, nz) = grid.spacing, grid.size
    coronal = replace(
        grid,
        size=(nx, nz, ny),
        spacing=(sx, sz, sy),
        direction=matrix_rows(tuple(columns.ravel().tolist())),
    )
    mr = Volume(turned, coronal)
    assert start_error_mm(pair, pair.mr_from_ct, mr) < CAPTURE_MM


@pytest.fixture(scope="module")
def heads(pair) -> tuple[Head, Head]:
    return find_ct_head(centre_at_origin(pair.ct)), find_mr_head(
        centre_at_origin(pair.mr)
    )


def test_starts_come_best_first_and_apart(heads):
    starts = find_starts(*heads, count=3)
    scores = [start.score for start in starts]
    assert scores == sorted(scores, reverse=True)


def test_the_same_images_give_the_same_start(heads):
    one, other = (find_starts(*heads)[0].mr_from_ct for _ in range(2))
    assert (one == other).all()


def test_a_pose_outside_the_head_scores_nothing(heads):
    search = CoarseSearch.over(*heads, points=200)
    far = np.array([[900.0, 0, 0, 0, 0, 0]])
    assert search.scores(far).tolist() == [0.0]


def test_a_pose_and_its_motion_agree(heads):
    ct, mr = heads
    search = CoarseSearch.over(ct, mr, points=200)
    motion = search.motion(np.array([10.0, 20.0, 30.0, 0, 0, 0]))
    shift = ct.centre + np.array([10, 20, 30]) - mr.centre
    assert motion == pytest.approx(translation(-shift))


def test_climbing_never_ends_lower(heads):
    search = CoarseSearch.over(*heads, points=500)
    pose = search.search_lattice()[0]
    _, score = search.climb(pose, ((4.0, 4.0),))
    assert score >= search.scores(pose[None])[0]
