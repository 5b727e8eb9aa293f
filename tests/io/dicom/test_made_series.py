"""The series that tests make are DICOM that pydicom reads back as it was meant."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from tests.io.dicom.made_series import (
    INTERCEPT,
    POSES,
    made_grid,
    made_volume,
    make_enhanced,
    write_files,
    write_series,
)


def test_a_made_slice_holds_the_volumes_values(tmp_path):
    volume = made_volume()
    files = write_series(tmp_path, volume)
    read = pydicom.dcmread(files[3].path)
    stored = read.pixel_array.astype(int) + INTERCEPT
    assert np.array_equal(stored, volume.array[3])


@pytest.mark.parametrize("pose", POSES)
def test_a_head_first_series_runs_upwards_and_a_feet_first_one_does_not(pose):
    grid = made_grid(axes=POSES[pose])
    up = np.array(grid.direction)[2, 2]
    assert up == (1.0 if pose.startswith("HF") else -1.0)


def test_an_enhanced_series_is_one_file_with_a_frame_for_each_slice(tmp_path):
    volume = made_volume(lowest=0)
    (file,) = write_files(tmp_path, [make_enhanced(volume, "MR")])
    read = pydicom.dcmread(file.path)
    assert np.array_equal(read.pixel_array, volume.array)


def test_equal_volumes_make_equal_files(tmp_path):
    (tmp_path / "again").mkdir()
    first = write_series(tmp_path, made_volume())
    second = write_series(tmp_path / "again", made_volume())
    assert first[0].path.read_bytes() == second[0].path.read_bytes()
