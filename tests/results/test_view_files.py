"""What the viewer shows: the CT's Hounsfield units, the MR where its scan was."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_segmentation.results.view_files import write_view_ct, write_view_mr
from hanseg_shared.errors import GridMismatchError
from hanseg_shared.grid import Grid
from hanseg_shared.itk import from_image
from hanseg_shared.volume import Volume

DATA_TYPE = slice(70, 72)
"""Where NIfTI-1 says what a voxel is (nifti1.h): 4 is int16, 2 uint8."""


def read(path: Path) -> Volume:
    return from_image(sitk.ReadImage(path))


def small(grid: Grid) -> Grid:
    return Grid((6, 5, 4), (1.0, 1.5, 3.0), grid.origin, grid.direction)


def test_the_ct_keeps_its_hounsfield_units_and_its_place(grid, tmp_path):
    grid = small(grid)
    values = np.linspace(-900.4, 2900.4, 120, dtype=np.float32).reshape(grid.shape)
    path = tmp_path / "view" / "ct.nii.gz"
    write_view_ct(path, Volume(values, grid))
    shown = read(path)
    shown.grid.require_same(grid, what="what is shown")
    assert np.abs(shown.array - values).max() <= 0.5
    assert gzip.decompress(path.read_bytes())[DATA_TYPE] == b"\x04\x00"


def test_what_is_no_tissue_and_no_metal_of_this_world_stays_in_int16(grid, tmp_path):
    grid = small(grid)
    values = np.full(grid.shape, -3024.0, dtype=np.float32)
    values[0] = 1e6
    path = tmp_path / "ct.nii.gz"
    write_view_ct(path, Volume(values, grid))
    assert set(np.unique(read(path).array)) == {-1024, 32767}


def test_the_mr_is_nothing_outside_its_scan_and_something_within(grid, tmp_path):
    grid = small(grid)
    inside = np.zeros(grid.shape, dtype=np.uint8)
    inside[1:3] = 1
    values = np.zeros(grid.shape, dtype=np.float32)
    values[2] = 700.0
    path = tmp_path / "mr.nii.gz"
    write_view_mr(path, Volume(values, grid), Volume(inside, grid))
    shown = read(path).array
    assert (shown[inside == 0] == 0).all()
    assert (shown[1] == 1).all()
    assert (shown[2] == 255).all()
    assert gzip.decompress(path.read_bytes())[DATA_TYPE] == b"\x02\x00"


def test_an_mr_that_shows_nothing_is_black(tmp_path):
    grid = Grid((6, 5, 4))
    nothing = np.zeros(grid.shape, dtype=np.uint8)
    path = tmp_path / "mr.nii.gz"
    write_view_mr(path, Volume(nothing.astype(np.float32), grid), Volume(nothing, grid))
    assert not read(path).array.any()


def test_a_field_of_view_of_another_grid_is_refused(tmp_path):
    grid, other = Grid((6, 5, 4)), Grid((6, 5, 4), (2.0, 1.0, 1.0))
    zeros = np.zeros(grid.shape, dtype=np.uint8)
    with pytest.raises(GridMismatchError, match="field of view"):
        write_view_mr(tmp_path / "mr.nii.gz", Volume(zeros, grid), Volume(zeros, other))
