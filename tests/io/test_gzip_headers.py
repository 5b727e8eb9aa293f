"""A gzip file is known by what it holds, whatever its own header stores beside it."""

from __future__ import annotations

import gzip
import struct
import zlib

import numpy as np
import pytest

from hanseg_shared.errors import NotAnImageError
from hanseg_shared.io import ImageFormat, read_header, read_image
from tests.io.files import VOXELS, gzipped, nifti, written

HEADER_CRC, EXTRA, NAME, COMMENT = 2, 4, 8, 16
"""Flags of RFC 1952."""


def member(
    data: bytes,
    *,
    name: bytes = b"",
    comment: bytes = b"",
    extra: bytes = b"",
    crc: bool = False,
) -> bytes:
    """Return a gzip member whose header holds what RFC 1952 allows beside the data."""
    flags = NAME * bool(name) | COMMENT * bool(comment) | EXTRA * bool(extra)
    head = b"\x1f\x8b\x08" + bytes([flags | HEADER_CRC * crc]) + bytes(5) + b"\x03"
    if extra:
        head += struct.pack("<H", len(extra)) + extra
    for text in (name, comment):
        head += text + b"\0" if text else b""
    if crc:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(data) + packer.flush()
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


IMAGE = nifti()
HEADERS = {
    "a long name": member(IMAGE, name=b"n" * 500),
    "a name as long as a book": member(IMAGE, name=b"n" * 400_000),
    "a comment": member(IMAGE, comment=b"packed by night " * 99),
    "extra fields": member(IMAGE, extra=b"BC\x02\0" + bytes(65_000)),
    "a check of the header": member(IMAGE, name=b"n" * 505, crc=True),
    "all of them": member(
        IMAGE, name=b"n" * 300, comment=b"c" * 300, extra=bytes(300), crc=True
    ),
    "a short first member": member(IMAGE[:1], name=b"n" * 506) + gzipped(IMAGE[1:]),
    "many short members": b"".join(
        member(IMAGE[n : n + 20], name=b"part") for n in range(0, len(IMAGE), 20)
    ),
    "an empty member first": gzipped(b"") + gzipped(IMAGE),
    "nothing packed": gzip.compress(IMAGE, 0),
}


@pytest.mark.parametrize("name", HEADERS)
def test_any_sound_gzip_header_is_read(tmp_path, name):
    assert gzip.decompress(HEADERS[name]) == IMAGE
    path = written(tmp_path / "ct.nii.gz", HEADERS[name])
    assert read_header(path).format is ImageFormat.NIFTI
    np.testing.assert_array_equal(read_image(path).array, VOXELS)


@pytest.mark.parametrize(
    "content",
    [
        b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 5000,
        gzipped(IMAGE)[:30],
        b"\x1f\x8b\x08\xe0" + bytes(600),
        b"\x1f\x8b",
    ],
    ids=["a name without end", "cut short", "flags that mean nothing", "magic alone"],
)
def test_a_damaged_gzip_header_is_refused_in_one_line(tmp_path, content):
    path = written(tmp_path / "ct.nii.gz", content)
    with pytest.raises(NotAnImageError, match=r"ct\.nii\.gz: the gzip stream cannot"):
        read_header(path)


@pytest.mark.parametrize("inside", [b"text", b"", b"NRRD0004\n" * 99])
def test_what_a_long_header_hides_is_told(tmp_path, inside):
    path = written(tmp_path / "x.gz", member(inside, name=b"n" * 600))
    with pytest.raises(NotAnImageError, match="what the gzip stream holds is no image"):
        read_header(path)
