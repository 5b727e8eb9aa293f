"""Planes through the patient, and what is found in them."""

import numpy as np
import pytest

from hanseg_shared.grid import Grid
from hanseg_shared.itk import Interpolation, resample
from hanseg_shared.pictures.planes import Direction, Plane, sample_plane
from hanseg_shared.volume import Volume
from tests.inference.scenes import enlarged, world_points


def position(grid: Grid) -> Volume:
    """Return a volume whose values are 10000 x + 100 y + z, in mm from its centre."""
    offset = world_points(grid) - grid.centre
    return Volume((offset @ [10000.0, 100.0, 1.0]).astype(np.float64), grid)


def plane_of(direction: Direction, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return a plane through a grid's middle, and where its pixels are."""
    volume = position(enlarged(grid))
    middle = volume.grid.centre
    low, high = (tuple(float(v) for v in middle + d) for d in (-15.0, 15.0))
    plane = Plane(direction, float(middle[direction.value]))
    pixels = plane.grid(low, high)  # type: ignore[arg-type]
    return sample_plane(volume, pixels), world_points(pixels) - middle


@pytest.mark.parametrize("direction", Direction)
def test_planes_show_what_is_there_in_every_orientation(direction, grid):
    image, offset = plane_of(direction, grid)
    expected = offset @ np.array([10000.0, 100.0, 1.0])
    assert np.abs(image - expected[0]).max() < 1.0


def test_in_an_axial_plane_the_patients_right_is_left_and_front_is_up(grid):
    _, offset = plane_of(Direction.AXIAL, grid)
    assert (np.diff(offset[0, 0, :, 0]) > 0).all()
    assert (np.diff(offset[0, :, 0, 1]) > 0).all()


def test_in_a_coronal_plane_the_patients_right_is_left_and_rows_go_up(grid):
    _, offset = plane_of(Direction.CORONAL, grid)
    assert (np.diff(offset[0, 0, :, 0]) > 0).all()
    assert (np.diff(offset[0, :, 0, 2]) > 0).all()


def test_in_a_sagittal_plane_the_front_is_left_and_rows_go_up(grid):
    _, offset = plane_of(Direction.SAGITTAL, grid)
    assert (np.diff(offset[0, 0, :, 1]) > 0).all()
    assert (np.diff(offset[0, :, 0, 2]) > 0).all()


def test_letters_name_the_sides():
    assert Direction.AXIAL.letters == ("R", "L", "A", "P")
    assert Direction.CORONAL.letters == ("R", "L", "S", "I")
    assert Direction.SAGITTAL.letters == ("A", "P", "S", "I")


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("direction", Direction)
def test_a_plane_shows_what_resampling_the_volume_would(direction, interpolation, grid):
    rng = np.random.default_rng(0)
    noise = rng.integers(-900, 900, grid.shape).astype(np.int16)
    volume = Volume(noise, grid)
    low, high = grid.centre - 23.7, grid.centre + 21.3
    plane = Plane(direction, float(grid.centre[direction.value]) + 0.31)
    pixels = plane.grid(tuple(low.tolist()), tuple(high.tolist()))
    image = sample_plane(
        volume, pixels, interpolation=interpolation, background=-1024.0
    )
    expected = resample(volume, pixels, interpolation=interpolation, background=-1024.0)
    assert np.abs(image - expected.array[0]).max() < 0.1
    assert image.dtype == expected.array.dtype


def test_a_single_slice_fills_its_thickness_and_no_more():
    volume = Volume(np.full((1, 4, 4), 7.0), Grid((4, 4, 1), (2.0, 2.0, 3.0)))
    pixels = Plane(Direction.CORONAL, 2.0).grid((0, 0, -4), (6, 6, 4), pixel_mm=1.0)
    image = sample_plane(volume, pixels, background=-1.0)
    assert (image[:, 0] == [-1, -1, -1, 7, 7, 7, -1, -1, -1]).all()


@pytest.mark.parametrize("kind", [bool, np.float16, np.uint16, np.uint8])
def test_every_kind_of_voxel_can_be_shown(kind):
    volume = Volume(np.ones((4, 4, 4), dtype=kind), Grid((4, 4, 4)))
    pixels = Plane(Direction.AXIAL, 1.0).grid((0, 0, 0), (3, 3, 3))
    assert (sample_plane(volume, pixels) == 1.0).all()
