import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_registration.geometry.motions import (
    apply,
    distances_mm,
    from_transform,
    inverse,
    is_invertible,
    is_rigid,
    mean_motion,
    rotation,
    rotation_deg,
    stretch,
    to_transform,
    translation,
)
from hanseg_shared.errors import RegistrationError

POINTS = np.array([[0.0, 0.0, 0.0], [10.0, -20.0, 30.0]])
TURN = rotation((10.0, -5.0, 3.0), centre=(1.0, 2.0, 3.0)) @ translation((4, 5, 6))


def test_translation_adds_its_offset():
    assert apply(translation((1, 2, 3)), (10, 10, 10)).tolist() == [11, 12, 13]


def test_rotation_keeps_its_centre():
    turn = rotation((20, 30, 40), centre=(5, 6, 7))
    assert apply(turn, (5, 6, 7)) == pytest.approx([5, 6, 7])


def test_a_quarter_turn_about_z_takes_x_to_y():
    turn = rotation((0, 0, 90), centre=(0, 0, 0))
    assert apply(turn, (1, 0, 0)) == pytest.approx([0, 1, 0], abs=1e-12)


def test_inverse_undoes_a_motion():
    assert apply(inverse(TURN) @ TURN, POINTS) == pytest.approx(POINTS, abs=1e-9)


def test_rotation_deg_is_the_angle_turned():
    assert rotation_deg(rotation((0, 17, 0), centre=(9, 9, 9))) == pytest.approx(17)


def test_stretch_of_a_rigid_motion_is_none():
    assert stretch(TURN) == pytest.approx(0, abs=1e-9)


def test_stretch_is_the_largest_change_of_a_length():
    assert stretch(np.diag([1.02, 0.95, 1.0, 1.0])) == pytest.approx(0.05)


def test_distances_mm_between_two_shifts():
    gaps = distances_mm(translation((3, 0, 0)), translation((0, 4, 0)), POINTS)
    assert gaps == pytest.approx([5, 5])


@pytest.mark.parametrize(
    "motion",
    [
        np.full((4, 4), np.nan),
        np.diag([0.0, 1.0, 1.0, 1.0]),
        np.diag([-1.0, 1.0, 1.0, 1.0]),
    ],
    ids=["not finite", "flat", "mirrored"],
)
def test_no_motion_of_a_patient_is_invertible_if(motion):
    assert not is_invertible(motion)
    with pytest.raises(RegistrationError, match="not finite and invertible"):
        inverse(motion)


@pytest.mark.parametrize("motion", [TURN, np.diag([1.1, 1.0, 0.9, 1.0]) @ TURN])
def test_an_itk_transform_maps_points_as_its_motion_does(motion):
    transform = to_transform(motion)
    found = [transform.TransformPoint(p) for p in POINTS.tolist()]
    assert np.array(found) == pytest.approx(apply(motion, POINTS))


def test_a_rigid_motion_becomes_a_rigid_itk_transform():
    assert is_rigid(TURN)
    assert to_transform(TURN).GetName() == "Euler3DTransform"


def test_an_affine_motion_becomes_an_affine_itk_transform():
    assert to_transform(np.diag([1.1, 1.0, 1.0, 1.0])).GetName() == "AffineTransform"


def test_from_transform_inverts_to_transform():
    assert from_transform(to_transform(TURN)) == pytest.approx(TURN)


def test_a_warp_is_refused_as_a_motion():
    warp = sitk.BSplineTransform(3)
    with pytest.raises(RegistrationError, match="not a linear transform"):
        from_transform(warp)


def test_the_mean_of_two_motions_lies_half_way():
    centre = np.array([10.0, -20.0, 30.0])
    there = translation((4, 0, 0)) @ rotation((0, 0, 6), centre=centre)
    middle = mean_motion([np.eye(4), there], centre=centre)
    wanted = translation((2, 0, 0)) @ rotation((0, 0, 3), centre=centre)
    np.testing.assert_allclose(middle, wanted, atol=1e-9)
    assert is_rigid(middle)


def test_the_mean_of_one_motion_is_that_motion():
    motion = translation((1, 2, 3)) @ rotation((5, -6, 7), centre=(0, 0, 0))
    middle = mean_motion([motion, motion], centre=np.array([3.0, 4.0, 5.0]))
    np.testing.assert_allclose(middle, motion, atol=1e-12)
