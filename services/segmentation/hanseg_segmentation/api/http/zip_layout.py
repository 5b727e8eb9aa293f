"""Files as one zip archive, of which every byte has its place before any is read.

Nothing is compressed: nearly all of a result is already, and an archive whose length is
known can be sent with it, resumed, and measured without being made. The format is
PKWARE's APPNOTE 6.3: sections 4.3.7 (local headers), 4.3.12 (the directory), 4.3.14 to
16 (its end) and 4.5.3 (zip64, for what 32 bits do not hold).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

MEDIA_TYPE = "application/zip"

_MOST_32 = 0xFFFFFFFF
"""A length or place of so much, or more, stands in the zip64 field."""

_MOST_16 = 0xFFFF

_PLAIN, _ZIP64 = 20, 45
"""Versions of the format that a reader needs, times ten."""

_UNIX = 3
_MODE = 0o100644 << 16
"""What an unpacked file is: a plain one, which its owner may write."""

_UTF8 = 0x800
"""Says that names are in UTF-8."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")

ReadEntry = Callable[[int, int, int], Iterator[bytes]]
"""Yields, of the file of a position, the bytes from one place up to another."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive: its name there, its length and its CRC-32."""

    name: str
    size: int
    crc32: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an archive from `start` on: its own, or those of a file."""

    start: int
    size: int
    own: bytes | None = None
    entry: int = -1

    @property
    def stop(self) -> int:
        """Where the next piece starts."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive as the pieces that it is made of."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Its length."""
        return self.pieces[-1].stop

    def read(self, start: int, stop: int, read_entry: ReadEntry) -> Iterator[bytes]:
        """Yield its bytes from `start` up to but without `stop`."""
        for piece in self.pieces:
            first = max(start, piece.start) - piece.start
            last = min(stop, piece.stop) - piece.start
            if first >= last:
                continue
            if piece.own is not None:
                yield piece.own[first:last]
            else:
                yield from read_entry(piece.entry, first, last)


def lay_out(entries: Sequence[Entry], made_at: datetime) -> Archive:
    """Return the archive of some files, in their order.

    Args:
        entries: The files. Their CRC-32 changes no place and no length.
        made_at: The time of each, which is written down in UTC.
    """
    stamp = _dos_time(made_at)
    pieces: list[Piece] = []
    offsets: list[int] = []
    place = 0
    for position, entry in enumerate(entries):
        head = _local_header(entry, stamp)
        offsets.append(place)
        pieces.append(Piece(place, len(head), own=head))
        place += len(head)
        pieces.append(Piece(place, entry.size, entry=position))
        place += entry.size
    tail = b"".join(
        _central_header(entry, offset, stamp)
        for entry, offset in zip(entries, offsets, strict=True)
    )
    tail += _end(len(entries), place, len(tail))
    return Archive((*pieces, Piece(place, len(tail), own=tail)))


def _local_header(entry: Entry, stamp: tuple[int, int]) -> bytes:
    name = entry.name.encode()
    is_long = entry.size >= _MOST_32
    # a local header has both lengths there, or neither (4.5.3)
    more = struct.pack("<2H2Q", 1, 16, entry.size, entry.size) if is_long else b""
    length = _MOST_32 if is_long else entry.size
    version = _ZIP64 if is_long else _PLAIN
    fields = (version, _UTF8, 0, *stamp, entry.crc32, length, length)
    return _LOCAL.pack(b"PK\3\4", *fields, len(name), len(more)) + name + more


def _central_header(entry: Entry, offset: int, stamp: tuple[int, int]) -> bytes:
    name = entry.name.encode()
    long = [each for each in (entry.size,) * 2 + (offset,) if each >= _MOST_32]
    more = struct.pack(f"<2H{len(long)}Q", 1, 8 * len(long), *long) if long else b""
    length, place = min(entry.size, _MOST_32), min(offset, _MOST_32)
    version = _ZIP64 if long else _PLAIN
    fields = (_UNIX << 8 | _ZIP64, version, _UTF8, 0, *stamp, entry.crc32)
    lengths = (length, length, len(name), len(more))
    return (
        _CENTRAL.pack(b"PK\1\2", *fields, *lengths, 0, 0, 0, _MODE, place) + name + more
    )


def _end(count: int, place: int, size: int) -> bytes:
    """Return what ends an archive, whose directory is `size` bytes from `place` on."""
    found = b""
    if count >= _MOST_16 or place >= _MOST_32 or size >= _MOST_32:
        needed = (_UNIX << 8 | _ZIP64, _ZIP64, 0, 0)
        found += _END64.pack(
            b"PK\6\6", _END64.size - 12, *needed, count, count, size, place
        )
        found += _LOCATOR.pack(b"PK\6\7", 0, place + size, 1)
    told = min(count, _MOST_16)
    ending = (told, told, min(size, _MOST_32), min(place, _MOST_32))
    return found + _END.pack(b"PK\5\6", 0, 0, *ending, 0)


def _dos_time(moment: datetime) -> tuple[int, int]:
    """Return time and date as the format has them, to two seconds, from 1980 on."""
    at = moment.astimezone(UTC)
    time = at.hour << 11 | at.minute << 5 | at.second // 2
    return time, max(at.year - 1980, 0) << 9 | at.month << 5 | at.day
