"""Frames packed by RLE (PS3.5 annex G), unpacked to their cells.

A frame is a segment for each byte of a cell, the highest first; a segment is bytes as
they are and bytes that are repeated, each stretch after a byte that says which.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hanseg_shared.errors import ImageError

_HEADER = struct.Struct("<16I")
_NOTHING = 128
"""The byte that stands for no stretch at all."""


def unpack_run_lengths(
    packed: bytes, *, cells: int, cell_type: np.dtype[np.unsignedinteger], name: str
) -> npt.NDArray[np.unsignedinteger]:
    """Return the cells of a frame, one after the other.

    Args:
        packed: The frame, its fragments joined.
        cells: Their number.
        cell_type: Their type, little endian.
        name: What messages call the frame.

    Raises:
        ImageError: The frame has another number of segments than a cell has bytes, or
            a segment ends early.
    """
    count, *offsets = _HEADER.unpack_from(packed.ljust(_HEADER.size, b"\0"))
    if count != cell_type.itemsize:
        raise _damaged(name)
    planes = np.empty((cells, count), dtype=np.uint8)
    bounds = [*offsets[:count], len(packed)]
    for k, (start, end) in enumerate(pairwise(bounds)):
        segment = _unpack_segment(packed[start:end], cells)
        if len(segment) < cells:
            raise _damaged(name)
        planes[:, count - 1 - k] = np.frombuffer(segment, dtype=np.uint8)
    return planes.view(cell_type).reshape(cells)


def _unpack_segment(packed: bytes, length: int) -> bytes:
    """Return the first `length` bytes that a segment stands for; fewer if it ends."""
    found = bytearray()
    at, end = 0, len(packed)
    while at < end and len(found) < length:
        head = packed[at]
        if head < _NOTHING:
            found += packed[at + 1 : at + 2 + head]
            at += 2 + head
        elif head > _NOTHING:
            found += packed[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    return bytes(found[:length])


def _damaged(name: str) -> ImageError:
    return ImageError(
        f"{name}: its RLE Lossless data is damaged or cut off; export the series "
        "again, uncompressed if you can"
    )
