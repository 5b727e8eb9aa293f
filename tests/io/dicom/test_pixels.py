"""Stored values become HU or MR signal, whatever bits they are stored in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import ImplicitVRLittleEndian, JPEGExtended12Bit, RLELossless

from hanseg_shared.errors import ImageError
from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.volume import Volume, Voxels
from tests.io.dicom.made_jpeg import encode_flat_blocks
from tests.io.dicom.made_series import (
    INTERCEPT,
    made_grid,
    made_volume,
    make_series,
    set_pixels,
    write_files,
    write_series,
)

MADE = made_volume()


def make_signed(**attributes: Any) -> list[FileDataset]:
    """Return a CT whose HU are stored as they are, in two's complement."""
    slices = make_series(MADE, PixelRepresentation=1, RescaleIntercept=0, **attributes)
    for k, each in enumerate(slices):
        set_pixels(each, MADE.array[k])
    return slices


def read(folder: Path, slices: list[FileDataset]) -> Voxels:
    return read_case(write_files(folder, slices)).ct.array


def test_unsigned_values_get_their_intercept(tmp_path):
    ct = read(tmp_path, make_series(MADE))
    assert ct.dtype == np.int16
    assert np.array_equal(ct, MADE.array)


def test_signed_values_stay_as_they_are(tmp_path):
    assert np.array_equal(read(tmp_path, make_signed()), MADE.array)


def test_implicit_vr_is_read(tmp_path):
    slices = make_series(MADE, PixelPaddingValue=0)
    for each in slices:
        each.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert np.array_equal(read(tmp_path, slices), MADE.array)


def test_twelve_signed_bits_are_extended(tmp_path):
    slices = make_signed(BitsStored=12, HighBit=11)
    for k, each in enumerate(slices):
        each.PixelRepresentation = 0
        set_pixels(each, MADE.array[k] & 0x0FFF)  # no sign in the upper bits
        each.PixelRepresentation = 1
    assert np.array_equal(read(tmp_path, slices), MADE.array)


def test_overlays_in_the_upper_bits_are_ignored(tmp_path):
    slices = make_series(MADE, BitsStored=12, HighBit=11)
    for k, each in enumerate(slices):
        set_pixels(each, (MADE.array[k].astype(int) - INTERCEPT) | 0xA000)
    assert np.array_equal(read(tmp_path, slices), MADE.array)


def test_values_in_the_upper_bits_are_shifted_down(tmp_path):
    slices = make_series(MADE, BitsStored=12, HighBit=15)
    for k, each in enumerate(slices):
        set_pixels(each, (MADE.array[k].astype(int) - INTERCEPT) << 4 | 0xF)
    assert np.array_equal(read(tmp_path, slices), MADE.array)


def test_each_slice_has_its_own_rescale(tmp_path):
    slices = make_series(MADE)
    slices[2].RescaleSlope, slices[2].RescaleIntercept = 2, -1000
    ct = read(tmp_path, slices)
    stored = MADE.array[2].astype(int) - INTERCEPT
    assert np.array_equal(ct[2], 2 * stored - 1000)
    assert np.array_equal(ct[3], MADE.array[3])


def test_fractions_are_kept(tmp_path):
    slices = make_series(MADE)
    slices[5].RescaleSlope = "0.5"
    ct = read(tmp_path, slices)
    stored = MADE.array[5].astype(int) - INTERCEPT
    assert ct.dtype == np.float32
    assert np.array_equal(ct[5], 0.5 * stored + INTERCEPT)
    assert np.array_equal(ct[4], MADE.array[4])


def test_values_beyond_16_bits_are_kept(tmp_path):
    slices = make_series(MADE, RescaleSlope=100)
    ct = read(tmp_path, slices)
    assert ct.dtype == np.float32
    assert ct.max() == 100.0 * (1700 - INTERCEPT) + INTERCEPT


def test_bytes_are_read(tmp_path):
    slices = make_series(MADE, BitsAllocated=8, BitsStored=8, HighBit=7)
    for k, each in enumerate(slices):
        each.add_new("PixelData", "OB", (MADE.array[k] & 0xFF).astype("u1").tobytes())
    ct = read(tmp_path, slices)
    assert np.array_equal(ct, (MADE.array & 0xFF) + INTERCEPT)


def pad(slices: list[FileDataset], value: int) -> list[FileDataset]:
    """Write a padding value into the upper half of each slice."""
    for each in slices:
        kind = "<i2" if each.PixelRepresentation else "<u2"
        stored = np.frombuffer(each.PixelData, kind).reshape(each.Rows, each.Columns)
        padded = stored.astype(np.int64)
        padded[: each.Rows // 2] = value
        set_pixels(each, padded)
    return slices


def test_padding_becomes_air(tmp_path):
    slices = pad(make_series(MADE, PixelPaddingValue=5000), 5000)
    case = read_case(write_files(tmp_path, slices))
    assert case.source.ct.padded
    assert (case.ct.array[:, :5] == -1024).all()
    assert np.array_equal(case.ct.array[:, 5:], MADE.array[:, 5:])


def test_a_range_of_padding_becomes_air(tmp_path):
    slices = make_series(MADE, PixelPaddingValue=0, PixelPaddingRangeLimit=600)
    ct = read(tmp_path, slices)
    expected = np.where(MADE.array <= 600 + INTERCEPT, -1024, MADE.array)
    assert (expected == -1024).any()
    assert np.array_equal(ct, expected)


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_signed_padding_may_be_written_as_unsigned(tmp_path, vr):
    slices = pad(make_signed(), -2000)
    for each in slices:
        each.add_new("PixelPaddingValue", vr, 63536 if vr == "US" else -2000)
    assert (read(tmp_path, slices)[:, :5] == -1024).all()


def test_signed_padding_is_found_in_implicit_vr(tmp_path):
    slices = pad(make_signed(), -2000)
    for each in slices:
        each.add_new("PixelPaddingValue", "SS", -2000)
        each.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert (read(tmp_path, slices)[:, :5] == -1024).all()


def test_padding_in_bits_beyond_those_stored_is_found(tmp_path):
    slices = make_series(MADE, BitsStored=12, HighBit=11, PixelPaddingValue=63536)
    assert (read(tmp_path, pad(slices, 63536))[:, :5] == -1024).all()


def test_padding_that_occurs_nowhere_changes_nothing(tmp_path):
    case = read_case(write_series(tmp_path, MADE, PixelPaddingValue=9999))
    assert not case.source.ct.padded
    assert np.array_equal(case.ct.array, MADE.array)


def test_padding_of_an_mr_becomes_its_lowest_signal(tmp_path):
    made = made_volume(lowest=30)
    slices = pad(make_series(made, "MR", PixelPaddingValue=65535), 65535)
    mr = write_files(tmp_path, slices, start="mr")
    case = read_case(write_series(tmp_path, MADE), mr)
    assert case.mr is not None
    assert case.mr.array.dtype == np.int16
    assert (case.mr.array[:, :5] == made.array[:, 5:].min()).all()


def test_an_mr_without_rescale_keeps_its_signal(tmp_path):
    made = made_volume(lowest=0)
    case = read_case(write_series(tmp_path, MADE), write_series(tmp_path, made, "MR"))
    assert case.mr is not None
    assert np.array_equal(case.mr.array, made.array)


def test_an_mr_is_rescaled_if_it_says_so(tmp_path):
    made = made_volume(lowest=0)
    mr = write_series(
        tmp_path, made, "MR", RescaleSlope="3.774114", RescaleIntercept="0.5"
    )
    case = read_case(write_series(tmp_path, MADE), mr)
    assert case.mr is not None
    assert np.allclose(case.mr.array, 3.774114 * made.array + 0.5, rtol=1e-6)


def test_what_is_meant_to_be_shown_inverted_keeps_its_hu(tmp_path):
    slices = make_series(MADE, PhotometricInterpretation="MONOCHROME1")
    case = read_case(write_files(tmp_path, slices))
    assert np.array_equal(case.ct.array, MADE.array)
    assert "MONOCHROME1" in case.source.ct.remarks[0]


def pack(slices: list[FileDataset]) -> list[FileDataset]:
    """Pack slices with RLE."""
    for each in slices:
        each.compress(RLELossless, generate_instance_uid=False)
    return slices


def test_packed_slices_are_unpacked(tmp_path):
    assert np.array_equal(read(tmp_path, pack(make_series(MADE))), MADE.array)


def test_a_packed_slice_in_several_fragments_is_unpacked(tmp_path):
    slices = pack(make_series(MADE))
    frame = get_frame(slices[0].PixelData, 0)
    slices[0].PixelData = encapsulate([frame], fragments_per_frame=3)
    assert np.array_equal(read(tmp_path, slices), MADE.array)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_packed_slice_that_is_cut_off_is_refused(tmp_path, kept):
    slices = pack(make_series(MADE))
    frame = get_frame(slices[1].PixelData, 0)
    slices[1].PixelData = encapsulate([frame[: int(kept * len(frame))]])
    files = write_files(tmp_path, slices)
    with pytest.raises(
        ImageError, match=r"slice002\.dcm: its RLE Lossless data is dam"
    ):
        read_case(files)


def test_a_packed_file_that_ends_early_is_refused(tmp_path):
    files = write_files(tmp_path, pack(make_series(MADE)))
    path = files[3].path
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ImageError, match=r"slice004\.dcm: PixelData .* cut off"):
        read_case(files)


def set_jpeg(dataset: FileDataset, frame: bytes) -> None:
    """Set a frame of JPEG extended."""
    dataset.add_new("PixelData", "OB", encapsulate([frame]))
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGExtended12Bit


def test_jpeg_extended_of_12_bits_is_unpacked(tmp_path):
    blocks = np.random.default_rng(5).integers(0, 4096, (3, 2, 3))
    stored = np.kron(blocks, np.ones((1, 8, 8), int))
    made = Volume((stored + INTERCEPT).astype(np.int16), made_grid((24, 16, 3)))
    slices = make_series(made, BitsStored=12, HighBit=11)
    for k, each in enumerate(slices):
        set_jpeg(each, encode_flat_blocks(stored[k]))
    case = read_case(write_files(tmp_path, slices))
    assert np.array_equal(case.ct.array, made.array)
    assert "compressed with loss" in case.source.ct.remarks[0]


def test_a_jpeg_frame_of_another_size_is_refused(tmp_path):
    slices = make_series(made_volume(made_grid((24, 16, 3))), BitsStored=12, HighBit=11)
    for each in slices:
        set_jpeg(each, encode_flat_blocks(np.zeros((800, 80), int)))
    files = write_files(tmp_path, slices)
    with pytest.raises(ImageError, match="has 800 rows x 80 columns"):
        read_case(files)


def test_a_jpeg_frame_whose_end_was_made_up_is_refused(tmp_path):
    made = made_volume(made_grid((24, 16, 3)))
    slices = make_series(made, BitsStored=12, HighBit=11)
    blocks = np.kron(np.arange(6).reshape(2, 3) * 500, np.ones((8, 8), int))
    whole = encode_flat_blocks(blocks)
    for each in slices:
        set_jpeg(each, whole)
    set_jpeg(slices[1], whole[:-6] + b"\xff\xd9")
    files = write_files(tmp_path, slices)
    with pytest.raises(ImageError, match=r"slice002\.dcm: its JPEG Ext.* damaged"):
        read_case(files)


def test_a_value_that_tissue_has_is_no_padding(tmp_path):
    noise = np.random.default_rng(4).integers(-5, 6, MADE.array.shape)
    slices = make_signed(PixelPaddingValue=0)
    for k, each in enumerate(slices):
        set_pixels(each, noise[k])
    case = read_case(write_files(tmp_path, slices))
    assert np.array_equal(case.ct.array, noise)
    assert not case.source.ct.padded
    assert "not taken for padding" in case.source.ct.remarks[0]
