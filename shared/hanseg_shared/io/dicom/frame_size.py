"""What a compressed frame says of its own size, read before it is decoded.

A decoder allocates what the stream says, not what the DICOM header says, so both must
agree.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hanseg_shared.errors import ImageError

HEAD_BYTES = 1 << 16
"""How much of a frame is looked at; JPEG's tables and comments come before its size."""

MOST_TILES = 1024
"""Most tiles of a JPEG 2000 frame: decoders keep several kilobytes for each."""

_FRAME_MARKERS = {0xC0, 0xC1, 0xC3, 0xF7}
"""JPEG baseline, extended and lossless, and JPEG-LS (start of frame)."""

_LONE_MARKERS = {0x01, 0xFF, *range(0xD0, 0xD9)}
_END_MARKERS = {0xD9, 0xDA}
_SIZE_MARKER = b"\xff\x4f\xff\x51"
_JP2_START = b"\x00\x00\x00\x0cjP"
_MOST_JP2_BYTES = 1024
_RLE_HEADER = struct.Struct("<16L")


@dataclass(frozen=True, slots=True)
class FrameSize:
    """What a frame holds.

    Attributes:
        rows: Pixels down a column.
        columns: Pixels along a row.
        samples: Numbers of a pixel.
    """

    rows: int
    columns: int
    samples: int

    def __str__(self) -> str:
        """Return it as messages give it, such as ``512 rows x 256 columns``."""
        colours = "" if self.samples == 1 else f" x {self.samples} samples"
        return f"{self.rows} rows x {self.columns} columns{colours}"


def read_jpeg_size(head: bytes) -> FrameSize:
    """Return the size that a JPEG or JPEG-LS stream gives (ISO 10918-1 annex B).

    Args:
        head: Its first bytes, `HEAD_BYTES` at most.

    Raises:
        ImageError: It is no such stream, or its size does not come early.
    """
    if not head.startswith(b"\xff\xd8"):
        raise ImageError("a frame does not begin as a JPEG stream")
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF and head[at + 1] not in _END_MARKERS:
        marker = head[at + 1]
        if marker in _LONE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_MARKERS and at + 10 <= len(head):
            _, rows, columns, samples = struct.unpack_from(">BHHB", head, at + 4)
            return FrameSize(rows, columns, samples)
        at += 2 + int.from_bytes(head[at + 2 : at + 4])
    raise ImageError("a JPEG stream does not say its size, or not as DICOM allows")


def read_jpeg_2000_size(head: bytes) -> FrameSize:
    """Return the size that a JPEG 2000 stream gives (ISO 15444-1 A.5.1).

    Args:
        head: Its first bytes; boxes of the file format JP2 may come before.

    Raises:
        ImageError: It is no such stream, or is cut in too many tiles.
    """
    at = head.find(_SIZE_MARKER, 0, _MOST_JP2_BYTES)
    if at != 0 and not (at > 0 and head.startswith(_JP2_START)):
        raise ImageError("a frame does not begin as a JPEG 2000 stream")
    if at + 42 > len(head):
        raise ImageError("a JPEG 2000 stream does not say its size")
    right, bottom, left, top, *tile, samples = struct.unpack_from(
        ">8LH", head, at + len(_SIZE_MARKER) + 4
    )
    columns, rows = right - left, bottom - top
    _require_few_tiles((columns, rows), (tile[0], tile[1]))
    return FrameSize(rows, columns, samples)


def _require_few_tiles(size: tuple[int, int], tile: tuple[int, int]) -> None:
    if min(tile) < 1 or min(size) < 1:
        raise ImageError("a JPEG 2000 stream has no pixels, or tiles without any")
    across, down = (-(-whole // part) for whole, part in zip(size, tile, strict=True))
    if across * down > MOST_TILES:
        raise ImageError(
            f"a JPEG 2000 stream has {across * down} tiles, more than {MOST_TILES}"
        )


def require_rle_header(head: bytes, length: int, segments: int) -> None:
    """Refuse a frame whose RLE header points outside it (PS3.5 annex G).

    Args:
        head: The frame's first bytes.
        length: Of the frame, in bytes.
        segments: How many its pixels need: one for each byte of a pixel.

    Raises:
        ImageError: It has other segments, or they do not lie in it one after another.
    """
    if len(head) < _RLE_HEADER.size:
        raise ImageError("a frame is too short for its RLE header")
    count, *offsets = _RLE_HEADER.unpack_from(head)
    if count != segments:
        raise ImageError(f"a frame has {count} RLE segments where {segments} belong")
    used = offsets[:count]
    if used != sorted(set(used)) or used[0] != _RLE_HEADER.size or used[-1] > length:
        raise ImageError("a frame's RLE header points outside the frame")
