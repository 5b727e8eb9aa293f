"""Facts about the passage to SimpleITK and back, and about resampling."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_shared.grid import Grid
from hanseg_shared.itk import Interpolation, from_image, grid_of, resample, to_image
from hanseg_shared.volume import Volume
from tests.grids import AXIAL, GRIDS


def numbered(grid: Grid, dtype: type = np.int16) -> Volume:
    return Volume(np.arange(grid.voxels, dtype=dtype).reshape(grid.shape), grid)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64]
)
def test_a_volume_comes_back_as_it_went(grid, dtype):
    volume = numbered(grid, dtype)
    back = from_image(to_image(volume))
    assert back.array.dtype == dtype
    assert back.grid.is_same(grid)
    np.testing.assert_array_equal(back.array, volume.array)


def test_itk_puts_voxels_where_the_grid_does(grid):
    image = to_image(numbered(grid))
    index = (3, 5, 2)
    np.testing.assert_allclose(
        image.TransformIndexToPhysicalPoint(index), grid.index_to_world(index)
    )


def test_itk_and_the_array_agree_on_which_voxel_is_which(grid):
    volume = numbered(grid)
    assert to_image(volume).GetPixel(3, 5, 2) == volume.array[2, 5, 3]


def test_masks_become_uint8():
    mask = Volume(np.ones(AXIAL.shape, dtype=np.bool_), AXIAL)
    assert to_image(mask).GetPixelID() == sitk.sitkUInt8


def test_half_floats_become_floats():
    half = Volume(np.ones(AXIAL.shape, dtype=np.float16), AXIAL)
    assert to_image(half).GetPixelID() == sitk.sitkFloat32


def test_the_grid_of_an_image_is_itks(grid):
    assert grid_of(to_image(numbered(grid))) == grid


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_resampling_onto_the_same_grid_changes_nothing(grid, interpolation):
    volume = numbered(grid, np.float32)
    same = resample(volume, grid, interpolation=interpolation)
    np.testing.assert_allclose(same.array, volume.array, atol=0.01)


@pytest.mark.parametrize("target", GRIDS.values(), ids=GRIDS.keys())
def test_a_linear_ramp_survives_linear_resampling_onto_any_grid(target):
    source = Grid((60, 60, 60), (2.0, 2.0, 2.0), (-80.0, -60.0, -200.0))
    ramp = source.index_to_world(np.moveaxis(np.indices(source.size), 0, -1)) @ (
        1,
        2,
        3,
    )
    volume = Volume(ramp.transpose(2, 1, 0).astype(np.float32), source)
    index = np.moveaxis(np.indices(target.size), 0, -1)
    expected = (target.index_to_world(index) @ (1, 2, 3)).transpose(2, 1, 0)
    sampled = resample(volume, target, background=np.nan)
    inside = ~np.isnan(sampled.array)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(sampled.array[inside], expected[inside], atol=0.01)


def test_outside_of_the_volume_is_background():
    far = Grid(AXIAL.size, AXIAL.spacing, (5000.0, 0.0, 0.0))
    assert (resample(numbered(AXIAL), far, background=-1024).array == -1024).all()


def test_a_transform_maps_target_points_to_source_points():
    volume = numbered(AXIAL, np.float32)
    one_voxel_left = sitk.TranslationTransform(3, (AXIAL.spacing[0], 0.0, 0.0))
    moved = resample(volume, AXIAL, transform=one_voxel_left)
    np.testing.assert_allclose(moved.array[..., :-1], volume.array[..., 1:], atol=1e-3)


def test_interpolated_integers_keep_their_fractions():
    array = np.zeros((1, 1, 2), dtype=np.int16)
    array[0, 0, 1] = -1
    between = Grid((1, 1, 1), origin=(0.5, 0.0, 0.0))
    sampled = resample(Volume(array, Grid((2, 1, 1))), between)
    assert sampled.array.item() == pytest.approx(-0.5)
