from __future__ import annotations

import gzip
import zlib

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_segmentation.results import mask_files
from hanseg_segmentation.results.mask_files import MaskWriter, require_written
from hanseg_shared.errors import GridMismatchError, StoreError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_mask, write_volume
from hanseg_shared.itk import from_image
from hanseg_shared.volume import Volume
from tests.grids import GRIDS

LABELS = (3, 30)


def label_map(grid: Grid) -> Volume:
    """Return noise of two labels in some slices, with empty ones between."""
    rng = np.random.default_rng(7)
    array = rng.choice([0, *LABELS], size=grid.shape).astype(np.uint8)
    array[[0, 3, 4, -1]] = 0
    array[1][array[1] == LABELS[0]] = 0
    return Volume(array, grid)


@pytest.fixture(params=list(GRIDS.values()), ids=list(GRIDS))
def labels(request) -> Volume:
    grid = request.param
    return label_map(Grid((9, 8, 12), grid.spacing, grid.origin, grid.direction))


@pytest.mark.parametrize("label", LABELS)
def test_a_mask_reads_back_as_its_organ(labels, label, tmp_path):
    path = MaskWriter.of(labels).write(tmp_path / "mask.nii.gz", label)
    stored = from_image(sitk.ReadImage(path))
    assert stored.array.dtype == np.uint8
    assert np.array_equal(stored.array, labels.array == label)
    assert stored.grid.is_same(labels.grid)
    assert np.array_equal(read_mask(path).array, labels.array == label)


@pytest.mark.parametrize("digits", [3, 4, 5])
def test_a_mask_is_written_on_the_grid_of_a_rounded_header(digits, tmp_path):
    a, b, c = np.round(np.array(GRIDS["oblique"].direction), digits).tolist()
    ct = Grid.nearest(
        (9, 8, 12),
        spacing=(0.7, 0.7, 2.0),
        origin=(-120.3, 40.1, -800.7),
        direction=(tuple(a), tuple(b), tuple(c)),
    )
    path = MaskWriter.of(label_map(ct)).write(tmp_path / "mask.nii.gz", LABELS[1])
    assert read_mask(path).grid.is_same(ct)


def test_other_programs_read_it_too(labels, tmp_path):
    path = MaskWriter.of(labels).write(tmp_path / "mask.nii.gz", LABELS[0])
    image = nibabel.Nifti1Image.from_filename(path)
    assert np.array_equal(np.asarray(image.dataobj).T, labels.array == LABELS[0])
    assert zlib.crc32(gzip.decompress(path.read_bytes())[352:]) == zlib.crc32(
        (labels.array == LABELS[0]).tobytes()
    )


def test_it_is_one_gzip_member_for_readers_that_stop_at_the_first(labels, tmp_path):
    path = MaskWriter.of(labels).write(tmp_path / "mask.nii.gz", LABELS[1])
    decoder = zlib.decompressobj(wbits=31)
    content = decoder.decompress(path.read_bytes())
    assert decoder.eof
    assert decoder.unused_data == b""
    assert len(content) == 352 + labels.array.size


def test_its_header_is_the_one_that_itk_writes(labels, tmp_path):
    mask = labels.with_array((labels.array == LABELS[0]).view(np.uint8))
    by_itk = write_volume(mask, tmp_path / "itk.nii.gz")
    ours = MaskWriter.of(labels).write(tmp_path / "mask.nii.gz", LABELS[0])
    assert gzip.decompress(ours.read_bytes()) == gzip.decompress(by_itk.read_bytes())


@pytest.mark.parametrize("shape", [(1, 5, 5), (2, 1, 1), (5, 64, 64)])
def test_small_and_flat_label_maps_have_masks_too(shape, tmp_path):
    array = np.zeros(shape, dtype=np.uint8)
    array[0, 0, 0] = 200
    labels = Volume(array, Grid((shape[2], shape[1], shape[0])))
    path = MaskWriter.of(labels).write(tmp_path / "mask.nii.gz", 200)
    assert gzip.decompress(path.read_bytes())[352:] == (array == 200).tobytes()


def test_the_labels_that_are_there_are_known(labels):
    assert np.flatnonzero(MaskWriter.of(labels).present).tolist() == [0, *LABELS]


@pytest.mark.parametrize("damage", ["voxel", "shorter", "longer", "garbage", "empty"])
def test_a_file_that_was_changed_on_the_way_is_found_out(labels, tmp_path, damage):
    path = MaskWriter.of(labels).write(tmp_path / "mask.nii.gz", LABELS[0])
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[400] ^= 1
    spoilt = {
        "voxel": gzip.compress(content),
        "shorter": gzip.compress(content[:-9]),
        "longer": gzip.compress(content + bytes(9)),
        "garbage": path.read_bytes()[:-20] + bytes(20),
        "empty": b"",
    }
    path.write_bytes(spoilt[damage])
    expected = (part == LABELS[0] for part in labels.array)
    with pytest.raises(StoreError, match=r"mask\.nii\.gz"):
        require_written(path, labels.grid, expected)


def test_a_mask_of_another_grid_is_found_out(labels, tmp_path, monkeypatch):
    x, y, z = labels.grid.origin
    elsewhere = Grid(
        labels.grid.size, labels.grid.spacing, (x + 1, y, z), labels.grid.direction
    )
    header = mask_files._header
    monkeypatch.setattr(mask_files, "_header", lambda _: header(elsewhere))
    with pytest.raises(GridMismatchError, match=r"written to mask\.nii\.gz"):
        MaskWriter.of(labels).write(tmp_path / "mask.nii.gz", LABELS[0])


def test_a_full_disk_is_told(labels, tmp_path):
    with pytest.raises(StoreError, match="could not be written"):
        MaskWriter.of(labels).write(tmp_path / "nowhere" / "mask.nii.gz", LABELS[0])
