"""Images that are too large, in millimetres or in value."""

from dataclasses import replace

import numpy as np
import pytest

from hanseg_registration.geometry.head import find_ct_head, find_mr_head
from hanseg_registration.geometry.sanity import (
    require_patient_size,
    scale_extreme_values,
)
from hanseg_shared.errors import ImageContentError
from tests.registration.volumes import box


def test_a_whole_body_is_of_a_patients_size():
    require_patient_size(box((80, 80, 200), (10.0, 10.0, 10.0)), what="the CT")


@pytest.mark.parametrize("find", [find_ct_head, find_mr_head])
def test_a_patient_of_ten_metres_is_not_searched_for_a_head(find):
    giant = box((50, 50, 50), (200.0, 200.0, 200.0))
    with pytest.raises(ImageContentError, match="spans 10000 x 10000 x 10000 mm"):
        find(giant)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_ordinary_values_are_left_alone(scale):
    mr = box((4, 4, 4), value=1000.0 * scale)
    assert scale_extreme_values(mr) is mr


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e9, 1e30, 2e35, -2e35])
def test_extreme_values_become_ordinary_and_keep_their_ratios(scale):
    mr = box((4, 4, 4))
    mr.array.flat[:] = np.linspace(0.0, 1500.0 * scale, mr.array.size)
    ordinary = scale_extreme_values(mr).array
    assert 500 < np.abs(ordinary).max() < 1025
    assert ordinary.dtype == np.float32
    shares = ordinary / ordinary[-1, -1, -1]
    assert shares == pytest.approx(mr.array / mr.array[-1, -1, -1], rel=1e-6)


def test_zeros_are_left_alone():
    mr = box((4, 4, 4))
    assert scale_extreme_values(mr) is mr


def test_a_grid_keeps_its_geometry():
    mr = box((4, 4, 4), value=1e20)
    assert scale_extreme_values(mr).grid == replace(mr.grid)
