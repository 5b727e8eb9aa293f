"""Our decoder and ITK's readers see the same voxels in files that are whole."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_shared.io import read_image, write_volume
from hanseg_shared.itk import from_image
from hanseg_shared.volume import Volume
from tests.io.files import VOXELS, gzipped, mha, nifti, nrrd, written, zlibbed
from tests.real_data import real_data

DATA = VOXELS.tobytes()
SWAPPED = VOXELS.astype(">i2").tobytes()
FILES = {
    "plain.nii": nifti(),
    "packed.nii.gz": gzipped(nifti()),
    "swapped.nii": nifti(SWAPPED, order=">"),
    "scaled.nii": nifti(scaling=(2.0, -1024.0)),
    "shifted.nii": nifti(scaling=(1.0, -1024.0)),
    "raw.nrrd": nrrd(),
    "swapped.nrrd": nrrd(SWAPPED, endian="big"),
    "packed.nrrd": nrrd(gzipped(DATA), encoding="gzip"),
    "windows.nrrd": nrrd(b"").replace(b"\n", b"\r\n") + DATA,
    "raw.mha": mha(),
    "swapped.mha": mha(SWAPPED, BinaryDataByteOrderMSB="True"),
    "packed.mha": mha(
        zlibbed(DATA),
        CompressedData="True",
        CompressedDataSize=str(len(zlibbed(DATA))),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_both_read_the_same(tmp_path, name):
    path = written(tmp_path / name, FILES[name])
    ours, itks = read_image(path), from_image(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(ours.array, itks.array)
    assert ours.array.dtype == itks.array.dtype
    assert ours.grid == itks.grid


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
def test_itk_reads_what_we_write(tmp_path, grid, suffix, dtype):
    array = np.arange(grid.voxels).reshape(grid.shape).astype(dtype)
    path = write_volume(Volume(array, grid), tmp_path / f"x{suffix}")
    itks = from_image(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(itks.array, array)
    assert itks.grid.is_same(grid)


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["head/ct.nii.gz", "rire_001/t1.nii.gz", "head/t1_other_subject.nii.gz"]
)
def test_both_read_a_real_image_alike(name):
    path = real_data(*name.split("/"))
    ours, itks = read_image(path), from_image(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(ours.array, itks.array)
    assert ours.grid == itks.grid
