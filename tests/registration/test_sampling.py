import numpy as np
import pytest

from hanseg_registration.geometry.sampling import (
    centre_at_origin,
    crop_to_box,
    resample_to_lps,
    shrink,
)
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume
from tests.registration.volumes import box, with_origin


def filled(grid: Grid) -> Volume:
    rng = np.random.default_rng(0)
    return Volume(rng.normal(size=grid.shape).astype(np.float32), grid)


def test_a_centred_volume_has_its_centre_at_zero(grid):
    assert centre_at_origin(filled(grid)).grid.centre == pytest.approx(
        [0, 0, 0], abs=1e-9
    )


def test_a_centred_volume_keeps_its_directions_and_voxels(grid):
    volume = filled(grid)
    around = centre_at_origin(volume)
    assert around.grid.direction == grid.direction
    assert around.array is volume.array


def test_the_origin_leaves_no_trace_in_a_centred_volume(grid):
    volume = filled(grid)
    far = with_origin(volume, (500.123, -731.9, 12345.678))
    assert centre_at_origin(far).grid == centre_at_origin(volume).grid


def test_shrunk_averages_blocks_of_voxels():
    volume = box((4, 4, 4))
    volume.array[:, :, 0] = 8.0
    small = shrink(volume, 2.0)
    assert small.grid.spacing == (2.0, 2.0, 2.0)
    assert small.array[0, 0].tolist() == [4.0, 0.0]


def test_shrunk_leaves_coarse_axes_alone():
    assert shrink(box((8, 8, 8), (1.0, 1.25, 4.0)), 2.0).grid.spacing == (2, 1.25, 4)


def test_shrunk_keeps_the_centre(grid):
    small = shrink(
        filled(Grid((12, 12, 8), (0.9, 1.1, 2.5), direction=grid.direction)), 2.5
    )
    assert small.grid.centre == pytest.approx(
        Grid((12, 12, 8), (0.9, 1.1, 2.5), direction=grid.direction).centre
    )


def test_on_lps_axes_turns_any_storage_to_lps(grid):
    upright = resample_to_lps(filled(grid), 5.0, background=0.0)
    assert upright.grid.orientation == "LPS"
    assert upright.grid.spacing == (5.0, 5.0, 5.0)


def test_cropped_keeps_voxels_where_they_are(grid):
    volume = filled(grid)
    point = grid.index_to_world((5, 6, 3))
    part = crop_to_box(volume, point, point, margin_mm=0.4)
    x, y, z = np.rint(part.grid.world_to_index(point)).astype(int)
    assert part.array[z, y, x] == volume.array[3, 6, 5]


def test_cropped_to_more_than_there_is_gives_everything(grid):
    volume = filled(grid)
    part = crop_to_box(volume, grid.centre, grid.centre, margin_mm=1000.0)
    assert part.grid.is_same(grid)
