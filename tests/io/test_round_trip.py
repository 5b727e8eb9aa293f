"""A volume that is written and read again is the same volume, on the same grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from hanseg_shared.errors import GridMismatchError, OptionError
from hanseg_shared.grid import Grid, Matrix
from hanseg_shared.io import (
    ImageFormat,
    read_ct,
    read_header,
    read_image,
    read_labels,
    read_mask,
    read_mr,
    write_volume,
)
from hanseg_shared.volume import Volume
from tests.io import patients

SUFFIXES = [".nii.gz", ".nii", ".nrrd", ".mha"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_ct_keeps_its_voxels_and_its_grid(tmp_path, grid, suffix):
    volume = patients.ct(grid)
    back = read_ct(write_volume(volume, tmp_path / f"ct{suffix}"))
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.array.dtype == np.int16
    assert back.grid.is_same(grid)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_mr_keeps_its_voxels_and_its_grid(tmp_path, grid, suffix):
    volume = patients.mr(grid)
    back = read_mr(write_volume(volume, tmp_path / f"mr{suffix}"))
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.array.dtype == np.float32
    assert back.grid.is_same(grid)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_and_masks_keep_their_voxels(tmp_path, grid, suffix):
    volume = patients.labels(grid)
    back = read_labels(write_volume(volume, tmp_path / f"labels{suffix}"))
    np.testing.assert_array_equal(back.array, volume.array)
    mask = volume.with_array(volume.array == 30)
    again = read_mask(write_volume(mask, tmp_path / f"mask{suffix}"))
    np.testing.assert_array_equal(again.array, mask.array)
    assert again.array.dtype == np.bool_


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "u4", "f4", "f8"])
def test_every_type_of_voxel_keeps_its_values(tmp_path, suffix, dtype):
    volume = Volume(np.arange(24).reshape(2, 3, 4).astype(dtype), Grid((4, 3, 2)))
    path = write_volume(volume, tmp_path / f"x{suffix}")
    assert read_header(path).dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read_image(path).array, volume.array)


def rotation(angles: tuple[float, float, float]) -> Matrix:
    euler = sitk.Euler3DTransform()
    euler.SetRotation(*angles)
    rows = np.array(euler.GetMatrix()).reshape(3, 3)
    a, b, c = (tuple(row) for row in rows.tolist())
    return a, b, c


angle = st.floats(-3.1, 3.1)
coordinate = st.floats(-2000, 2000)
spacing = st.floats(0.2, 6)


@settings(max_examples=40, deadline=None)
@given(
    suffix=st.sampled_from(SUFFIXES),
    angles=st.tuples(angle, angle, angle),
    origin=st.tuples(coordinate, coordinate, coordinate),
    spacings=st.tuples(spacing, spacing, spacing),
    flip=st.booleans(),
)
def test_any_oblique_grid_survives_any_format(
    tmp_path_factory, suffix, angles, origin, spacings, flip
):
    rows = np.array(rotation(angles))
    if flip:
        rows[:, 2] *= -1
    a, b, c = (tuple(row) for row in rows.tolist())
    grid = Grid((5, 6, 7), spacings, origin, (a, b, c))
    path = tmp_path_factory.mktemp("oblique") / f"x{suffix}"
    write_volume(Volume(np.zeros(grid.shape, np.int16), grid), path)
    header = read_header(path)
    assert header.grid.is_same(grid)
    assert header.remarks == ()


def test_axes_may_be_stored_in_any_order_without_moving_a_voxel(tmp_path):
    axial = patients.ct()
    image = sitk.GetImageFromArray(axial.array)
    image.SetOrigin(axial.grid.origin)
    image.SetSpacing(axial.grid.spacing)
    coronal = sitk.PermuteAxes(image, (0, 2, 1))
    sitk.WriteImage(coronal, str(tmp_path / "coronal.nii.gz"))
    back = read_ct(tmp_path / "coronal.nii.gz")
    assert back.grid.orientation == "LSP"
    index = (3, 7, 5)
    point = back.grid.index_to_world(index)
    x, y, z = axial.grid.world_to_index(point).round().astype(int)
    assert back.array[index[::-1]] == axial.array[z, y, x]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_format_is_known_by_content_not_by_name(tmp_path, suffix):
    path = write_volume(patients.ct(), tmp_path / f"ct{suffix}")
    blob = path.rename(tmp_path / "3f2a")
    expected = {".nrrd": ImageFormat.NRRD, ".mha": ImageFormat.MHA}
    assert read_header(blob).format is expected.get(suffix, ImageFormat.NIFTI)
    assert read_ct(blob).grid.is_same(patients.SMALL)


def test_a_float_ct_is_rounded_to_whole_hu(tmp_path):
    volume = patients.ct()
    exact = volume.with_array(volume.array + np.float64(0.4))
    back = read_ct(write_volume(exact, tmp_path / "ct.nii.gz"))
    np.testing.assert_array_equal(back.array, volume.array)


def test_equal_volumes_are_written_to_equal_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(patients.labels(), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_nothing_but_the_file_is_left_after_writing(tmp_path):
    write_volume(patients.ct(), tmp_path / "ct.nii.gz")
    assert [left.name for left in tmp_path.iterdir()] == ["ct.nii.gz"]


def test_a_written_file_replaces_the_old_one(tmp_path):
    write_volume(patients.labels(), tmp_path / "x.nrrd")
    write_volume(patients.ct(), tmp_path / "x.nrrd")
    assert read_ct(tmp_path / "x.nrrd").grid.is_same(patients.SMALL)


def test_a_format_that_cannot_hold_the_grid_is_told_and_leaves_nothing(tmp_path):
    far = Grid((3, 3, 3), (0.2, 0.2, 0.2), (1e7 + 0.1, 0.0, 0.0))
    volume = Volume(np.zeros(far.shape, np.int16), far)
    with pytest.raises(GridMismatchError, match=r"written to far\.nii\.gz is not on"):
        write_volume(volume, tmp_path / "far.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_is_told(tmp_path):
    with pytest.raises(OptionError, match=r"x\.dcm: .* must end in one of \.nii\.gz"):
        write_volume(patients.ct(), tmp_path / "x.dcm")


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_volume(patients.ct(), Path(tmp_path, "none", "x.nii.gz"))
