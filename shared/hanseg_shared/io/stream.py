"""A file's voxel bytes, read piece by piece and never more than the header says."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from hanseg_shared.errors import ImageError
from hanseg_shared.io.layout import Encoding, VoxelLayout

PIECE_BYTES = 1 << 22
"""Most bytes of decoded voxels held at a time."""

_READ_BYTES = 1 << 14
"""Packed bytes taken at a time; what is left of them is copied at each member's end."""

MAX_SMALL_MEMBERS = 64
"""Most members of a gzip file beyond one for each `MEMBER_BYTES` it inflates to. Tools
that make many members (bgzip, pgzip) fill them with 64 KiB and more."""

MEMBER_BYTES = 1 << 12

MAX_SILENT_BYTES = 1 << 20
"""Most packed bytes from which nothing comes: a gzip header's fields have no end of
their own, and a stream may consist of empty blocks."""

_MAX_DEFLATE_RATIO = 1032
"""Deflate's best (https://zlib.net/zlib_tech.html): 258 bytes from 2 bits."""

_GZIP_OR_ZLIB = 47
"""zlib's ``wbits`` for "either, look at the magic"."""


def require_enough_bytes(path: Path, layout: VoxelLayout) -> None:
    """Refuse a file that is too short for what its header claims; reads nothing.

    Raises:
        ImageError: It is; or it is not compressed and longer than it claims.
    """
    there = path.stat().st_size - layout.offset
    if layout.encoding is Encoding.RAW:
        _require_length(there, layout)
        return
    packed = path.stat().st_size if layout.encoding is Encoding.GZIP_FILE else there
    if packed * _MAX_DEFLATE_RATIO < layout.expected_bytes:
        raise ImageError(
            f"the image is cut short: {max(packed, 0)} compressed bytes cannot hold "
            f"{layout.expected_bytes} bytes of voxels; send the file again"
        )


def values(path: Path, layout: VoxelLayout) -> Iterator[npt.NDArray[np.generic]]:
    """Yield all values of a file, in stored order, as one-dimensional arrays.

    Raises:
        ImageError: There are fewer or more bytes than the header says, or they are
            damaged.
    """
    rest = b""
    for piece in pieces(path, layout):
        data = rest + piece if rest else piece
        whole = len(data) - len(data) % layout.dtype.itemsize
        rest = data[whole:]
        yield layout.values(np.frombuffer(data[:whole], dtype=layout.dtype))


def pieces(path: Path, layout: VoxelLayout) -> Iterator[bytes]:
    """Yield the voxels' bytes, decoded, `PIECE_BYTES` or fewer at a time.

    Raises:
        ImageError: As `values`.
    """
    if layout.encoding is Encoding.RAW:
        return _raw_pieces(path, layout)
    return _inflate_pieces(path, layout)


def inflate_head(path: Path, count: int) -> bytes:
    """Return the first `count` bytes (or fewer) of what a gzip file holds.

    Raises:
        ImageError: The gzip stream is damaged.
    """
    head = bytearray()
    with path.open("rb") as file:
        for piece in _inflate(file, most=count):
            head += piece
            if len(head) >= count:
                break
    return bytes(head[:count])


def _raw_pieces(path: Path, layout: VoxelLayout) -> Iterator[bytes]:
    require_enough_bytes(path, layout)
    with path.open("rb") as file:
        file.seek(layout.offset)
        left = layout.expected_bytes
        while left:
            piece = file.read(min(left, PIECE_BYTES))
            if not piece:
                raise _cut_short_error(layout.expected_bytes - left, layout)
            left -= len(piece)
            yield piece


def _inflate_pieces(path: Path, layout: VoxelLayout) -> Iterator[bytes]:
    whole_file = layout.encoding is Encoding.GZIP_FILE
    skip = layout.offset if whole_file else 0
    count = 0
    with path.open("rb") as file:
        file.seek(0 if whole_file else layout.offset)
        for inflated in _inflate(file, most=PIECE_BYTES):
            piece = inflated[skip:]
            skip = max(0, skip - len(inflated))
            count += len(piece)
            if count > layout.expected_bytes:
                _require_length(count, layout)
            if piece:
                yield piece
    _require_length(count, layout)


def _inflate(file: BinaryIO, *, most: int) -> Iterator[bytes]:
    """Yield what the gzip members (or the zlib stream) from here on hold."""
    decoder = zlib.decompressobj(wbits=_GZIP_OR_ZLIB)
    account = _Account()
    data = file.read(_READ_BYTES)
    while True:
        piece = _decompress(decoder, data, most)
        account.note(len(data) - len(decoder.unconsumed_tail), len(piece))
        if piece:
            yield piece
        data = decoder.unconsumed_tail
        if decoder.eof:
            data = decoder.unused_data or file.read(_READ_BYTES)
            if not data.strip(b"\0"):  # padding after the last member
                return
            account.note_member()
            decoder = zlib.decompressobj(wbits=_GZIP_OR_ZLIB)
        elif not data and len(piece) < most:
            data = file.read(_READ_BYTES)
            if not data:
                raise ImageError(
                    "the image is cut short: its compressed stream has no end; send "
                    "the file again"
                )


class _Account:
    """Counts what a compressed stream costs against what comes out of it."""

    def __init__(self) -> None:
        self._members = 1
        self._inflated = 0
        self._silent = 0

    def note(self, packed: int, inflated: int) -> None:
        """Note that so many packed bytes became so many.

        Raises:
            ImageError: Too many became nothing.
        """
        self._inflated += inflated
        self._silent = 0 if inflated else self._silent + packed
        if self._silent > MAX_SILENT_BYTES:
            raise ImageError(
                f"the compressed stream holds nothing in {self._silent} bytes, more "
                f"than the {MAX_SILENT_BYTES} allowed; save the image again"
            )

    def note_member(self) -> None:
        """Note that a further member begins.

        Raises:
            ImageError: There are too many for what they held.
        """
        self._members += 1
        if self._members > MAX_SMALL_MEMBERS + self._inflated // MEMBER_BYTES:
            raise ImageError(
                f"the file has {self._members} gzip members and they hold only "
                f"{self._inflated} bytes; save the image again"
            )


def _decompress(decoder: zlib._Decompress, data: bytes, most: int) -> bytes:
    try:
        return decoder.decompress(data, most)
    except zlib.error as error:
        raise ImageError(
            f"the compressed voxels are damaged ({error}); send the file again"
        ) from None


def _require_length(count: int, layout: VoxelLayout) -> None:
    if count < layout.expected_bytes:
        raise _cut_short_error(count, layout)
    if count > layout.expected_bytes:
        raise ImageError(
            "the file holds more than its header says: more than "
            f"{layout.expected_bytes} bytes of voxels; save the image again"
        )


def _cut_short_error(count: int, layout: VoxelLayout) -> ImageError:
    return ImageError(
        f"the image is cut short: {max(count, 0)} of {layout.expected_bytes} bytes of "
        "voxels are there; send the file again"
    )
