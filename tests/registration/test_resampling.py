"""The MR on the CT's grid: as ITK would have it, slab by slab."""

import numpy as np
import pytest

from hanseg_registration.geometry import resampling
from hanseg_registration.geometry.deformation import Deformation, compose_transform
from hanseg_registration.geometry.motions import rotation, to_transform, translation
from hanseg_registration.geometry.resampling import resample_onto_grid
from hanseg_shared.grid import Grid, Matrix
from hanseg_shared.itk import Interpolation, resample
from hanseg_shared.volume import Volume

TILTED: Matrix = ((1.0, 0.0, 0.0), (0.0, 0.8, -0.6), (0.0, 0.6, 0.8))
POSE = translation((3.0, -2.0, 5.0)) @ rotation((4.0, -7.0, 10.0), centre=(0, 0, 0))
CT = Grid((31, 29, 23), (3.0, 3.0, 4.0), (-45.0, -42.0, -44.0), TILTED)


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    monkeypatch.setattr(resampling, "SLAB_VOXELS", 31 * 29 * 4)  # 23 slices: a rest


@pytest.fixture
def mr() -> Volume:
    array = np.random.default_rng(0).normal(100.0, 20.0, (20, 24, 26))
    return Volume(
        array.astype(np.float32), Grid((26, 24, 20), (3.0, 3.0, 3.0), (-38, -35, -28))
    )


@pytest.fixture
def deformation() -> Deformation:
    lattice = Grid((5, 5, 5), (24.0, 24.0, 24.0), (-50.0, -48.0, -45.0), TILTED)
    coefficients = np.random.default_rng(1).normal(0.0, 4.0, (3, 5, 5, 5))
    return Deformation.fading(coefficients, lattice)


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_slabs_make_what_itk_makes_at_once(mr, interpolation):
    found = resample_onto_grid(
        mr, CT, pose=POSE, interpolation=interpolation, background=7.0
    )
    expected = resample(
        mr,
        CT,
        transform=to_transform(POSE),
        interpolation=interpolation,
        background=7.0,
    )
    assert found.grid == CT
    assert found.array == pytest.approx(expected.array, abs=1e-3)


def test_a_deformed_mr_is_what_itk_makes_of_its_transform(mr, deformation):
    found = resample_onto_grid(
        mr, CT, pose=POSE, deformation=deformation, background=7.0
    )
    transform = compose_transform(POSE, deformation)
    expected = resample(mr, CT, transform=transform, background=7.0)
    differing = np.abs(found.array - expected.array) > 1e-2
    assert differing.mean() < 1e-3  # the border, where rounding decides


@pytest.mark.parametrize("dtype", [np.int16, np.float64, np.float32])
def test_an_interpolated_mr_is_float32(mr, dtype):
    found = resample_onto_grid(mr.with_array(mr.array.astype(dtype)), CT, pose=POSE)
    assert found.array.dtype == np.float32


def test_a_mask_stays_a_mask(mr, deformation):
    mask = mr.with_array((mr.array > 100.0).astype(np.uint8))
    found = resample_onto_grid(
        mask,
        CT,
        pose=POSE,
        deformation=deformation,
        interpolation=Interpolation.NEAREST,
    )
    assert found.array.dtype == np.uint8
    assert set(np.unique(found.array)) == {0, 1}


def test_a_slice_larger_than_a_slab_is_one(mr, monkeypatch):
    monkeypatch.setattr(resampling, "SLAB_VOXELS", 5)
    found = resample_onto_grid(mr, CT, pose=POSE)
    assert (found.array[10] != 0.0).any()


@pytest.mark.parametrize("away_mm", [60.0, 1000.0])
def test_an_mr_that_hardly_reaches_the_ct_is_what_itk_makes_of_it(mr, away_mm):
    pose = translation((away_mm, 0.0, 0.0)) @ POSE
    found = resample_onto_grid(mr, CT, pose=pose, background=7.0)
    expected = resample(mr, CT, transform=to_transform(pose), background=7.0)
    assert found.array == pytest.approx(expected.array, abs=1e-3)
