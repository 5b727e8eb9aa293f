"""Facts about volumes: voxels on a grid."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_shared.errors import GridMismatchError
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume


def test_a_volume_holds_an_array_of_its_grids_shape(grid):
    volume = Volume(np.zeros(grid.shape, dtype=np.int16), grid)
    assert volume.array.shape == grid.shape


def test_an_array_indexed_x_y_z_is_refused():
    with pytest.raises(
        GridMismatchError, match=r"\(2, 3, 4\) on a grid of \(4, 3, 2\)"
    ):
        Volume(np.zeros((2, 3, 4)), Grid((2, 3, 4)))


def test_with_array_keeps_the_grid(grid):
    volume = Volume(np.zeros(grid.shape, dtype=np.int16), grid)
    mask = volume.with_array(np.ones(grid.shape, dtype=np.bool_))
    assert mask.grid is grid
    assert mask.array.dtype == np.bool_


def test_a_volume_prints_its_type_and_grid():
    volume = Volume(np.zeros((4, 3, 2), dtype=np.int16), Grid((2, 3, 4)))
    assert repr(volume).startswith("Volume(int16, Grid(2x3x4 at")
