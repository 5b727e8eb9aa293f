"""Simulated cases: all organs, plausible, reproducible, with a known registration."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_lab.phantom import PhantomCase, Scope, make_case
from hanseg_shared.errors import OptionError
from hanseg_shared.itk import resample
from hanseg_shared.organs import ORGANS, Side, counterpart, organ
from hanseg_shared.volume import Volume

PLAUSIBLE_ML = {
    "Bone_Mandible": (35, 95),
    "Brainstem": (18, 38),
    "Cavity_Oral": (45, 150),
    "Esophagus_S": (0.8, 3.5),
    "Eye_AL": (0.5, 2.0),
    "Eye_PL": (5.5, 10.5),
    "Glnd_Submand_L": (4, 16),
    "Glnd_Thyroid": (8, 30),
    "Parotid_L": (14, 48),
    "SpinalCord": (6, 24),
}
"""Smallest and largest volume of an adult's organ, in ml."""


@pytest.fixture(scope="module")
def fine() -> PhantomCase:
    """A CT that shows even the smallest organs."""
    return make_case(7, ct_spacing=(2, 2, 2), ct_width_mm=220, mr=False)


@pytest.fixture(scope="module")
def coarse() -> PhantomCase:
    """The cheapest case with an MR."""
    return make_case(7, ct_spacing=(4, 4, 4), mr_spacing=(4, 4, 4), ct_width_mm=260)


def centroid(case: PhantomCase, name: str) -> np.ndarray:
    index = np.argwhere(case.labels.array == organ(name).label).mean(axis=0)
    return case.labels.grid.index_to_world(index[::-1])


def test_all_thirty_organs_are_there(fine: PhantomCase):
    assert set(np.unique(fine.labels.array)) == set(range(31))


@pytest.mark.parametrize("name", PLAUSIBLE_ML)
def test_an_organ_has_a_plausible_volume(fine: PhantomCase, name: str):
    voxels = (fine.labels.array == organ(name).label).sum()
    low, high = PLAUSIBLE_ML[name]
    assert low < voxels * fine.labels.grid.voxel_ml < high


@pytest.mark.parametrize("left", [o.name for o in ORGANS if o.side is Side.LEFT])
def test_the_left_organ_lies_to_the_left_of_the_right_one(fine: PhantomCase, left: str):
    right = counterpart(organ(left))
    assert right is not None
    assert centroid(fine, left)[0] > centroid(fine, right.name)[0] + 5


@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        ("OpticChiasm", "Pituitary"),
        ("Brainstem", "SpinalCord"),
        ("Parotid_L", "Glnd_Submand_L"),
        ("Larynx_SG", "Glottis"),
        ("Glottis", "Cricopharyngeus"),
        ("Cricopharyngeus", "Esophagus_S"),
    ],
)
def test_organs_lie_above_each_other_as_in_a_body(
    fine: PhantomCase, upper: str, lower: str
):
    assert centroid(fine, upper)[2] > centroid(fine, lower)[2]


def test_the_front_of_the_eye_is_in_front(fine: PhantomCase):
    assert centroid(fine, "Eye_AL")[1] < centroid(fine, "Eye_PL")[1]


def test_the_cord_continues_the_brain_stem(fine: PhantomCase):
    grid, labels = fine.labels.grid, fine.labels.array
    top = np.argwhere(labels == organ("SpinalCord").label)[:, 0].max()
    bottom = np.argwhere(labels == organ("Brainstem").label)[:, 0].min()
    assert abs(top - bottom) * grid.spacing[2] < 8


def test_tissues_have_their_hounsfield_units(fine: PhantomCase):
    def typical(name: str) -> float:
        return float(np.median(fine.ct.array[fine.labels.array == organ(name).label]))

    assert 0 < typical("Brainstem") < 70
    assert typical("Bone_Mandible") > 250
    assert -60 < typical("Eye_PL") < 60


def test_a_seed_is_always_the_same_patient():
    first = make_case(3, ct_spacing=(8, 8, 8), mr_spacing=(8, 8, 8), ct_width_mm=240)
    again = make_case(3, ct_spacing=(8, 8, 8), mr_spacing=(8, 8, 8), ct_width_mm=240)
    assert first.ct.grid.is_same(again.ct.grid)
    np.testing.assert_array_equal(first.ct.array, again.ct.array)
    assert first.mr is not None
    assert again.mr is not None
    np.testing.assert_array_equal(first.mr.array, again.mr.array)


def test_seeds_are_different_patients():
    first, other = (make_case(s, ct_spacing=(8, 8, 8), mr=False) for s in (1, 2))
    assert not np.array_equal(first.labels.array, other.labels.array)


def test_the_anatomy_does_not_depend_on_the_spacing(
    fine: PhantomCase, coarse: PhantomCase
):
    for name in ("Brainstem", "Parotid_L", "Bone_Mandible"):
        assert np.abs(centroid(fine, name) - centroid(coarse, name)).max() < 3


def test_the_mr_has_coordinates_and_a_field_of_its_own(coarse: PhantomCase):
    assert coarse.mr is not None
    assert not coarse.mr.grid.is_same(coarse.ct.grid)
    assert coarse.mr.grid.extent[0] < coarse.ct.grid.extent[0] + 20


def test_the_true_transform_brings_the_mr_onto_the_ct(coarse: PhantomCase):
    """Bone is bright in the CT and dark in the T1; soft tissue the other way round."""
    assert coarse.mr is not None
    transform = sitk.AffineTransform(3)
    assert coarse.mr_from_ct is not None
    transform.SetMatrix(coarse.mr_from_ct[:3, :3].ravel().tolist())
    transform.SetTranslation(coarse.mr_from_ct[:3, 3].tolist())
    mr = resample(coarse.mr, coarse.ct.grid, transform=transform, background=-1.0)
    known = mr.array >= 0
    bone = known & (coarse.ct.array > 500)
    soft = known & (np.abs(coarse.ct.array - 40) < 30)
    air = known & (coarse.ct.array < -900)
    assert np.median(mr.array[bone]) < 0.7 * np.median(mr.array[soft])
    assert np.median(mr.array[air]) < 0.3 * np.median(mr.array[soft])


def test_both_directions_of_the_transform_agree(coarse: PhantomCase):
    assert coarse.mr_from_ct is not None
    assert coarse.ct_from_mr is not None
    np.testing.assert_allclose(
        coarse.mr_from_ct @ coarse.ct_from_mr, np.eye(4), atol=1e-6
    )


def test_a_case_can_be_made_without_mr():
    case = make_case(1, ct_spacing=(8, 8, 8), mr=False)
    assert case.mr is None
    assert case.mr_from_ct is None
    assert case.ct_from_mr is None


def test_the_signal_for_training_lies_on_the_grid_of_the_ct():
    case = make_case(1, ct_spacing=(8, 8, 8), mr=False, t1=True)
    assert isinstance(case.t1, Volume)
    assert case.t1.grid.is_same(case.ct.grid)


def test_a_head_scan_shows_no_neck():
    case = make_case(
        1, ct_spacing=(4, 4, 4), ct_width_mm=240, mr=False, scope=Scope.HEAD
    )
    present = set(np.unique(case.labels.array))
    assert organ("Eye_PL").label in present
    assert organ("Glnd_Thyroid").label not in present


def test_a_negative_seed_is_refused():
    with pytest.raises(OptionError, match="-1"):
        make_case(-1)
