"""Packed frames as they lie in a file: fragments, and which frame each belongs to.

Pixel Data of undefined length (PS3.5 section A.4) is a table of offsets and then items,
each a fragment of a frame. Nothing is unpacked here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from hanseg_shared.errors import ImageError
from hanseg_shared.io.dicom.attributes import describe_tag

_ITEM = 0xFFFEE000
_END = 0xFFFEE0DD
_ITEM_HEAD = struct.Struct("<HHI")


@dataclass(frozen=True, slots=True)
class Fragment:
    """One item of packed pixel data.

    Attributes:
        item: Offset of the item's tag in the file.
        offset: Offset of its first byte.
        length: Its length in bytes.
    """

    item: int
    offset: int
    length: int


def find_frames(
    stream: BinaryIO, offset: int, *, frames: int, name: str
) -> list[list[Fragment]]:
    """Return the fragments of each frame.

    Args:
        stream: The file, read here from `offset` on, the table of offsets.
        offset: Where the value of Pixel Data begins.
        frames: How many the header announces.
        name: What the sender calls the file.

    Raises:
        ImageError: The file ends within, or the fragments are not so many frames.
    """
    table, *fragments = _read_items(stream, offset, name)
    starts = _read_table(stream, table)
    if frames == 1 and fragments:
        return [fragments]
    if len(starts) == frames:
        return _split(fragments, starts, name)
    if len(fragments) != frames:
        _refuse(name, f"holds {len(fragments)} packed fragments for {frames} frames")
    return [[fragment] for fragment in fragments]


def read_packed(stream: BinaryIO, fragments: list[Fragment]) -> bytes:
    """Return a packed frame, its fragments joined."""
    parts = []
    for fragment in fragments:
        stream.seek(fragment.offset)
        parts.append(stream.read(fragment.length))
    return b"".join(parts)


def _read_items(stream: BinaryIO, offset: int, name: str) -> list[Fragment]:
    end = stream.seek(0, 2)
    items: list[Fragment] = []
    while True:
        stream.seek(offset)
        head = stream.read(_ITEM_HEAD.size)
        if len(head) < _ITEM_HEAD.size:
            _refuse(name, "ends before its last fragment: the file is cut off")
        group, element, length = _ITEM_HEAD.unpack(head)
        tag = group << 16 | element
        if tag == _END and items:
            return items
        start = offset + _ITEM_HEAD.size
        if tag != _ITEM:
            _refuse(name, "holds something else than fragments: the file is damaged")
        if length > end - start:
            _refuse(name, "ends within a fragment: the file is cut off")
        items.append(Fragment(offset, start, length))
        offset = start + length


def _read_table(stream: BinaryIO, table: Fragment) -> tuple[int, ...]:
    """Return where frames begin, counted from the first fragment's item."""
    stream.seek(table.offset)
    count = table.length // 4
    return struct.unpack(f"<{count}I", stream.read(4 * count))


def _split(
    fragments: list[Fragment], starts: tuple[int, ...], name: str
) -> list[list[Fragment]]:
    frame_of = {start: k for k, start in enumerate(starts)}
    frames: list[list[Fragment]] = [[] for _ in starts]
    current = -1
    for fragment in fragments:
        current = frame_of.get(fragment.item - fragments[0].item, current)
        if current >= 0:
            frames[current].append(fragment)
    if not all(frames):
        _refuse(name, "has a table of offsets that does not fit its fragments")
    return frames


def _refuse(name: str, fault: str) -> NoReturn:
    raise ImageError(
        f"{name}: {describe_tag('PixelData')} {fault}; export the series again"
    )
