"""The series that a DICOM file of the service's own belongs to.

The service writes little endian with implicit or explicit VR, encapsulated or not. That
is all that is read here; see PS3.5 section 7.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO

from hanseg_shared.errors import OutputError

Tag = tuple[int, int]

TRANSFER_SYNTAX_UID: Tag = (0x0002, 0x0010)
SERIES_INSTANCE_UID: Tag = (0x0020, 0x000E)

IMPLICIT = "1.2.840.10008.1.2"
"""Transfer syntax: implicit VR little endian (PS3.5 A.1)."""

_PREAMBLE = 128
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW"}) | frozenset(
    {b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
"""Value representations whose length has four bytes (PS3.5 7.1.2)."""

_UNDEFINED = 0xFFFFFFFF
_META, _ITEMS = 0x0002, 0xFFFE
_ENDS = frozenset({(_ITEMS, 0xE00D), (_ITEMS, 0xE0DD)})


def series_uid_of(path: Path) -> str:
    """Return the Series Instance UID (0020,000E) of a DICOM file.

    Raises:
        OutputError: The file is no DICOM as the service writes it.
    """
    try:
        with path.open("rb") as file:
            if file.read(_PREAMBLE + 4)[_PREAMBLE:] != b"DICM":
                raise OutputError(f"{path.name} of the results is no DICOM file")
            implicit = _find(file, TRANSFER_SYNTAX_UID) == IMPLICIT
            file.seek(_PREAMBLE + 4)
            return _find(file, SERIES_INSTANCE_UID, implicit=implicit)
    except (struct.error, UnicodeDecodeError) as error:
        raise OutputError(
            f"{path.name} of the results has no SeriesInstanceUID (0020,000E)"
        ) from error


def _find(file: IO[bytes], wanted: Tag, *, implicit: bool = False) -> str:
    """Return a UID from a file that stands behind its prefix.

    Args:
        file: The file.
        wanted: The UID's tag.
        implicit: Whether elements behind the file's meta information do not tell their
            value representation.
    """
    while True:
        tag, length = _header(file, implicit=implicit)
        if tag == wanted:
            return file.read(length).decode("ascii").rstrip("\0 ")
        if tag > wanted:
            raise struct.error("past its place")
        _skip(file, length, implicit=implicit)


def _header(file: IO[bytes], *, implicit: bool) -> tuple[Tag, int]:
    """Read an element's tag and length; the end of the file is a `struct.error`."""
    group, element = struct.unpack("<HH", file.read(4))
    if group == _ITEMS or (implicit and group != _META):
        return (group, element), struct.unpack("<I", file.read(4))[0]
    kind = file.read(2)
    if kind in _LONG:
        return (group, element), struct.unpack("<2xI", file.read(6))[0]
    return (group, element), struct.unpack("<H", file.read(2))[0]


def _skip(file: IO[bytes], length: int, *, implicit: bool) -> None:
    """Pass over a value; one of undefined length is a sequence of items."""
    if length != _UNDEFINED:
        file.seek(length, 1)
        return
    depth = 1
    while depth:
        tag, length = _header(file, implicit=implicit)
        if tag in _ENDS:
            depth -= 1
        elif length == _UNDEFINED:
            depth += 1
        else:
            file.seek(length, 1)
