"""Voxel bytes that are too few, too many or damaged."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest

from hanseg_shared.errors import ImageError, ImageTooLargeError
from hanseg_shared.io import read_header, read_image, stream
from tests.io.files import VOXELS, gzipped, mha, nifti, nrrd, written, zlibbed

DATA = VOXELS.tobytes()
HALF = DATA[:120]
LONGER = DATA + b"more"

CUT_SHORT = {
    "plain nifti": nifti(HALF),
    "nifti without a voxel": nifti(b""),
    "nifti cut in its extensions": nifti(b"", vox_offset=416.0),
    "nifti cut before packing": gzipped(nifti(HALF)),
    "nifti cut after packing": gzipped(nifti())[:-30],
    "nifti cut in its checksum": gzipped(nifti())[:-4],
    "raw nrrd": nrrd(HALF),
    "nrrd cut before packing": nrrd(gzipped(HALF), encoding="gzip"),
    "nrrd cut after packing": nrrd(gzipped(DATA)[:-30], encoding="gzip"),
    "packed nrrd without a voxel": nrrd(b"", encoding="gzip"),
    "raw mha": mha(HALF),
    "mha cut before packing": mha(zlibbed(HALF), CompressedData="True"),
    "mha cut after packing": mha(zlibbed(DATA)[:-30], CompressedData="True"),
    "mha shorter than it announces": mha(
        zlibbed(DATA)[:-30],
        CompressedData="True",
        CompressedDataSize=str(len(zlibbed(DATA))),
    ),
}
TOO_MUCH = {
    "plain nifti": nifti(LONGER),
    "packed nifti": gzipped(nifti(LONGER)),
    "a second gzip member": gzipped(nifti()) + gzipped(b"more"),
    "raw nrrd": nrrd(LONGER),
    "packed nrrd": nrrd(gzipped(LONGER), encoding="gzip"),
    "raw mha": mha(LONGER),
    "packed mha": mha(zlibbed(LONGER), CompressedData="True"),
}


@pytest.mark.parametrize("name", CUT_SHORT)
def test_an_image_that_is_cut_short_is_refused(tmp_path, name):
    path = written(tmp_path / "scan", CUT_SHORT[name])
    with pytest.raises(ImageError, match="scan: the image is cut short"):
        read_image(path)


@pytest.mark.parametrize("name", TOO_MUCH)
def test_an_image_that_holds_more_than_its_header_says_is_refused(tmp_path, name):
    path = written(tmp_path / "scan", TOO_MUCH[name])
    with pytest.raises(ImageError, match="holds more than its header says"):
        read_image(path)


def test_a_gzip_bomb_is_left_as_soon_as_too_much_arrives(tmp_path):
    bomb = zlib.compressobj(9, wbits=31)
    packed = bomb.compress(nifti())
    packed += b"".join(bomb.compress(bytes(1 << 20)) for _ in range(100))
    path = written(tmp_path / "bomb.nii.gz", packed + bomb.flush())
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    with pytest.raises(ImageError, match="holds more than its header says"):
        read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_an_image_that_only_claims_to_be_large_allocates_nothing(tmp_path):
    path = written(tmp_path / "claim.nrrd", nrrd(sizes="1200 1200 200"))
    tracemalloc.start()
    with pytest.raises(ImageError, match="240 of 576000000 bytes"):
        read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_packed_image_that_only_claims_to_be_large_is_refused_unread(tmp_path):
    content = gzipped(nifti(dim=(3, 1000, 1000, 100, 1, 1, 1, 1)))
    path = written(tmp_path / "claim.nii.gz", content)
    with pytest.raises(ImageError, match="cannot hold 200000000 bytes of voxels"):
        read_header(path)


@pytest.mark.parametrize("piece", [1, 7, 240, 1000])
@pytest.mark.parametrize("read", [1, 50, 10_000])
def test_the_length_of_pieces_changes_nothing(tmp_path, monkeypatch, piece, read):
    monkeypatch.setattr(stream, "PIECE_BYTES", piece)
    monkeypatch.setattr(stream, "_READ_BYTES", read)
    for content in (nifti(), gzipped(nifti()), nrrd(gzipped(DATA), encoding="gz")):
        path = written(tmp_path / "x", content)
        np.testing.assert_array_equal(read_image(path).array, VOXELS)


def test_zeros_after_the_last_gzip_member_are_padding(tmp_path):
    path = written(tmp_path / "x.nii.gz", gzipped(nifti()) + bytes(512))
    assert read_image(path).array.shape == (6, 5, 4)


def test_a_damaged_gzip_stream_is_told(tmp_path):
    noise = np.random.default_rng(0).bytes(64 * 64 * 64 * 2)
    packed = bytearray(gzipped(nifti(noise, dim=(3, 64, 64, 64, 1, 1, 1, 1))))
    packed[-6] ^= 0xFF  # the checksum
    with pytest.raises(ImageError, match="the compressed voxels are damaged"):
        read_image(written(tmp_path / "x.nii.gz", bytes(packed)))


def test_the_stated_length_of_compressed_voxels_must_be_true(tmp_path):
    packed = zlibbed(DATA)
    path = written(
        tmp_path / "x.mha",
        mha(packed, CompressedData="True", CompressedDataSize="999999999999"),
    )
    with pytest.raises(ImageError, match="announces 999999999999 bytes"):
        read_header(path)


def test_a_header_that_never_ends_is_read_up_to_the_cap(tmp_path):
    endless = b"NRRD0004\n" + b"# a comment\n" * 200_000
    with pytest.raises(ImageError, match="does not end within 1048576 bytes"):
        read_header(written(tmp_path / "x.nrrd", endless))


def test_extensions_beyond_the_cap_are_refused(tmp_path):
    path = written(tmp_path / "x.nii", nifti(vox_offset=float(1 << 21)))
    with pytest.raises(ImageTooLargeError, match="without extensions"):
        read_header(path)
