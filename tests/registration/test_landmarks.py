import numpy as np
import pytest

from hanseg_lab.evaluation.landmarks import (
    brain_points,
    landmark_error,
    rigid_fit,
)
from hanseg_registration.geometry.motions import (
    apply,
    rotation,
    to_transform,
    translation,
)
from hanseg_shared.errors import ImageContentError, InputError
from tests.registration.volumes import box

CORNERS = np.array(
    [[x, y, z] for x in (0.0, 300.0) for y in (0.0, 300.0) for z in (0.0, 100.0)]
)
TRUTH = rotation((3, -4, 5), centre=(10, 20, 30)) @ translation((7, 8, 9))


def test_rigid_fit_finds_the_motion_that_moved_the_points():
    assert rigid_fit(CORNERS, apply(TRUTH, CORNERS)) == pytest.approx(TRUTH)


def test_the_true_transform_has_no_error():
    error = landmark_error(
        to_transform(TRUTH),
        ct_points=CORNERS,
        mr_points=apply(TRUTH, CORNERS),
        region=CORNERS / 2,
    )
    assert error.max_mm == pytest.approx(0, abs=1e-6)


def test_a_shift_of_2_mm_is_an_error_of_2_mm_everywhere():
    error = landmark_error(
        to_transform(translation((2, 0, 0)) @ TRUTH),
        ct_points=CORNERS,
        mr_points=apply(TRUTH, CORNERS),
        region=CORNERS / 2,
    )
    assert error.mean_mm == pytest.approx(2)
    assert error.max_mm == pytest.approx(2)


def test_points_that_no_rigid_motion_explains_are_refused():
    with pytest.raises(InputError, match="no rigid motion explains"):
        rigid_fit(CORNERS, CORNERS * 1.1)


def test_two_pairs_are_too_few():
    with pytest.raises(InputError, match="three point pairs"):
        rigid_fit(CORNERS[:2], CORNERS[:2])


def test_an_empty_region_is_refused():
    with pytest.raises(InputError, match="no points"):
        landmark_error(
            to_transform(TRUTH),
            ct_points=CORNERS,
            mr_points=apply(TRUTH, CORNERS),
            region=np.empty((0, 3)),
        )


def test_brain_points_lie_inside_the_skull():
    ct = box((50, 50, 50), (4.0, 4.0, 4.0), value=-1000.0)
    ct.array[10:40, 10:40, 10:40] = 1000.0
    ct.array[13:37, 13:37, 13:37] = 35.0
    points = brain_points(ct)
    assert len(points) > 1000
    assert points.min() > 52
    assert points.max() < 144


def test_a_ct_without_brain_is_refused():
    with pytest.raises(ImageContentError, match="no voxel with the values of brain"):
        brain_points(box((10, 10, 10), (4.0, 4.0, 4.0), value=-1000.0))
