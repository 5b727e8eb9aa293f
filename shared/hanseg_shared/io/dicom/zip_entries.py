"""A sender's zip archive: its list of entries, checked before anything is unpacked.

Python's zipfile reads the archive. What it does not check is checked here: how long
the list is before it is read, entries that lie on each other, links, names, and local
headers that say something else than the list.
"""

from __future__ import annotations

import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hanseg_shared.errors import ImageError, ImageTooLargeError, UnsafeImageError
from hanseg_shared.io.header_text import quote
from hanseg_shared.io.limits import Limits

_END = b"PK\x05\x06"
_END_BYTES = 22
_END64_LOCATOR = b"PK\x06\x07"
_END64_LOCATOR_BYTES = 20
_END64 = b"PK\x06\x06"
_END64_BYTES = 56
_LONGEST_COMMENT = 0xFFFF
_ENTRY_BYTES = 46
_LOCAL_HEADER = struct.Struct("<4sHHH")
_LOCAL_HEADER_BYTES = 30
_MOST_EXTRA_BYTES = 1024
"""Most bytes of an entry in the list beside its name; times and owners take tens."""

HEAD_BYTES = 132
"""Length of what tells a DICOM file: preamble and magic (PS3.10 7.1)."""

_PIECE_BYTES = 1 << 18
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1 | 0x40
_PATCHED = 0x20
_UNPRINTABLE = {"Cc", "Cf", "Cs"}
_DRIVE = re.compile(r"[A-Za-z]:")

_ZIPFILE_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error, ValueError,
    NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip
"""What zipfile raises over damaged archives; UnicodeDecodeError is a ValueError."""


@contextmanager
def open_archive(path: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose list of entries is of bounded length.

    Raises:
        ImageTooLargeError: It has too many entries.
        ImageError: It is damaged.
    """
    _require_short_list(path, limits)
    with _naming_damage(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield archive


def read_pieces(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path
) -> Generator[bytes, None, None]:
    """Unpack one entry, piece by piece: `HEAD_BYTES` first, then more at a time.

    No more comes out of it than the list of entries says.

    Raises:
        ImageError: It is damaged, or not what the list says.
    """
    with _naming_damage(path):
        _require_same_local_header(info, path)
        entry = archive.open(info)
    left = info.file_size
    with entry:
        while True:
            with _naming_damage(path):
                piece = entry.read(
                    HEAD_BYTES if left == info.file_size else _PIECE_BYTES
                )
                if not piece and left:
                    raise zipfile.BadZipFile(f"{info.filename} lacks {left} bytes")
            if not piece:
                return
            left -= len(piece)
            yield piece


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except _ZIPFILE_ERRORS as error:
        raise ImageError(
            f"{path.name}: the zip archive is damaged or cut off "
            f"({quote(str(error))}); pack and send it again"
        ) from None


def checked_entries(
    archive: zipfile.ZipFile, path: Path, limits: Limits
) -> dict[str, zipfile.ZipInfo]:
    """Return an archive's files by name, in the list's order.

    Raises:
        UnsafeImageError: A name leads out of the archive or is given twice, or an
            entry is a link, or not what its local header says.
        ImageError: An entry cannot be unpacked here.
    """
    _require_apart(archive, path)
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = _checked_name(info, path, limits)
        _require_plain(info, name, path)
        if name.endswith("/"):
            continue
        if name in found:
            raise UnsafeImageError(
                f"{path.name}: two entries are called {quote(name)}; pack the series "
                "again, each file under a name of its own"
            )
        found[name] = info
    return found


def _require_short_list(path: Path, limits: Limits) -> None:
    with path.open("rb") as file:
        count, list_bytes = _end_record(file, path)
    if count > limits.max_entries:
        raise ImageTooLargeError(
            f"{path.name}: the zip archive has {count} entries, more than "
            f"{limits.max_entries}; send the CT and MR series alone"
        )
    longest = _ENTRY_BYTES + 4 * limits.max_name + _MOST_EXTRA_BYTES
    if not count * _ENTRY_BYTES <= list_bytes <= count * longest:
        raise ImageError(
            f"{path.name}: the zip archive is damaged: its list of {count} entries has "
            f"{list_bytes} bytes; pack and send it again"
        )


def _end_record(file: BinaryIO, path: Path) -> tuple[int, int]:
    """Return the number of entries and the length of their list, as zipfile will.

    APPNOTE.TXT 4.3.14 to 4.3.16 of PKWARE. The values of a Zip64 record, where there
    is one, replace the others.
    """
    size = file.seek(0, 2)
    start = max(0, size - _END_BYTES - _LONGEST_COMMENT)
    file.seek(start)
    tail = file.read()
    at = len(tail) - _END_BYTES
    if at < 0 or not (tail.startswith(_END, at) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END)
    if at < 0 or at + _END_BYTES > len(tail):
        raise ImageError(
            f"{path.name}: the zip archive is cut off: its list of entries is missing; "
            "send it again"
        )
    count, list_bytes = struct.unpack_from("<HL", tail, at + 10)
    file.seek(max(0, start + at - _END64_LOCATOR_BYTES - _END64_BYTES))
    before = file.read(_END64_BYTES + _END64_LOCATOR_BYTES)
    if before.startswith(_END64_LOCATOR, _END64_BYTES) and before.startswith(_END64):
        count, list_bytes = struct.unpack_from("<QQ", before, 32)
    return count, list_bytes


def _require_apart(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse entries that share bytes: a bomb of many entries made of one."""
    if any(info.header_offset < 0 for info in archive.infolist()):
        raise ImageError(
            f"{path.name}: the zip archive is damaged: its list of entries is not "
            "where it should be; pack and send it again"
        )
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise UnsafeImageError(
                f"{path.name}: the entry {quote(info.filename)} lies on another one; "
                "pack the series again"
            )
        name_bytes = len(info.orig_filename)
        end = info.header_offset + _LOCAL_HEADER_BYTES + name_bytes + info.compress_size
    if end > archive.start_dir:
        raise ImageError(
            f"{path.name}: the zip archive is damaged: an entry ends behind the list "
            "of entries; pack and send it again"
        )


def _checked_name(info: zipfile.ZipInfo, path: Path, limits: Limits) -> str:
    """Return an entry's name with forward slashes."""
    name = info.orig_filename.replace("\\", "/")
    what = None
    if len(name) > limits.max_name:
        what = f"longer than {limits.max_name} characters"
    elif any(unicodedata.category(letter) in _UNPRINTABLE for letter in name):
        what = "with control characters"
    elif not name or name.startswith("/") or _DRIVE.match(name):
        what = "that is no relative path"
    elif ".." in name.split("/"):
        what = "that leads out of the archive"
    if what is None:
        return name
    raise UnsafeImageError(
        f"{path.name}: it has an entry with a name {what}: {quote(name)}; pack the "
        "series again"
    )


def _require_plain(info: zipfile.ZipInfo, name: str, path: Path) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise UnsafeImageError(
            f"{path.name}: the entry {quote(name)} is a link or a device, no file; "
            "pack the files themselves"
        )
    if info.flag_bits & _ENCRYPTED:
        raise ImageError(
            f"{path.name}: the entry {quote(name)} is encrypted; pack the series "
            "without a password"
        )
    if info.compress_type not in _METHODS or info.flag_bits & _PATCHED:
        raise ImageError(
            f"{path.name}: the entry {quote(name)} is compressed by a method that is "
            f"not read here (number {info.compress_type}); pack the series as an "
            "ordinary zip (deflate)"
        )


def _require_same_local_header(info: zipfile.ZipInfo, path: Path) -> None:
    """Refuse an entry whose own header says something else than the list.

    zipfile compares the names only; another program would go by the rest.
    """
    with path.open("rb") as file:
        file.seek(info.header_offset)
        head = file.read(_LOCAL_HEADER_BYTES).ljust(_LOCAL_HEADER_BYTES)
    _, _, flags, method = _LOCAL_HEADER.unpack_from(head)
    if method != info.compress_type or flags & _ENCRYPTED:
        raise UnsafeImageError(
            f"{path.name}: the entry {quote(info.filename)} contradicts the list of "
            "entries; pack the series again"
        )
