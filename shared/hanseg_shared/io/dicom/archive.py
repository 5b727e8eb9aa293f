"""What a sender packed as DICOM: an archive, a folder or one file becomes files here.

Nothing is written under a sender's name, and nothing but files that begin as DICOM
files do (PS3.10 7.1).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hanseg_shared.errors import ImageTooLargeError, NotAnImageError
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.zip_entries import (
    HEAD_BYTES,
    checked_entries,
    open_archive,
    read_pieces,
)
from hanseg_shared.io.formats import is_dicom, is_zip, start_of
from hanseg_shared.io.header_text import quote
from hanseg_shared.io.limits import Limits

_DIRECTORY_NAME = "DICOMDIR"
"""The index of a medium (PS3.10 8.6), which says nothing that its files do not."""

_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The DICOM files of an archive, a folder or one file.

    Attributes:
        files: At least one.
        packed_bytes: How long they were together as they arrived.
        remarks: What a person should know of what was passed over.
    """

    files: tuple[DicomFile, ...]
    packed_bytes: int
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class _PassedOver:
    """Files that are no DICOM, by name."""

    others: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)

    def add(self, name: str, start: bytes) -> None:
        """Take note of a file that is no DICOM."""
        path = PurePosixPath(name)
        if is_zip(start):
            self.archives.append(name)
        elif path.name.startswith(".") or _LITTER.intersection(path.parts):
            return
        else:
            self.others.append(name)

    def remarks(self, source: str) -> tuple[str, ...]:
        """Return what a person should know of them."""
        found = []
        if self.others:
            found.append(
                f"{source}: {_count(self.others)} no DICOM and passed over (the first "
                f"is {quote(self.others[0])})"
            )
        if self.archives:
            found.append(
                f"{source}: {_count(self.archives)} an archive in the archive and not "
                f"opened (the first is {quote(self.archives[0])})"
            )
        return tuple(found)

    def none_error(self, source: str) -> NotAnImageError:
        """Return what is raised where no DICOM file was found."""
        if self.archives:
            return NotAnImageError(
                f"{source}: it holds no DICOM file but another archive "
                f"({quote(self.archives[0])}), which is not opened; unpack it and send "
                "its files in one zip"
            )
        held = (
            f"; it holds {_files(self.others)}, the first of which is "
            f"{quote(self.others[0])}"
            if self.others
            else ""
        )
        return NotAnImageError(
            f"{source}: it holds no DICOM file{held}; send the files of a DICOM series "
            "as the scanner or archive exports them (NIfTI, NRRD and MHA are sent "
            "unpacked)"
        )


def unpack(path: Path, folder: Path, limits: Limits) -> Unpacked:
    """Return the DICOM files that were sent.

    Args:
        path: A zip archive, a DICOM file, or a folder.
        folder: Exists and is empty; takes what an archive holds, under names of ours.
            Files that are not packed stay where they are.
        limits: Caps on the archive.

    Raises:
        NotAnImageError: There is no DICOM in it.
        ImageTooLargeError: It holds more than the caps allow.
        UnsafeImageError: An archive contradicts itself or leads out of itself.
        ImageError: An archive is damaged, or cannot be unpacked here.
    """
    if path.is_dir():
        return _take_folder(path, limits)
    start = _start(path)
    if is_dicom(start):
        return Unpacked((DicomFile(path, path.name),), path.stat().st_size)
    if is_zip(start):
        return _unpack_zip(path, folder, limits)
    raise NotAnImageError(
        f"{path.name}: it is neither a DICOM file nor a zip archive of DICOM files; "
        "send a zip of the series"
    )


def _start(path: Path) -> bytes:
    try:
        return start_of(path)
    except NotAnImageError as error:
        raise NotAnImageError(f"{path.name}: {error.message}") from None


def _unpack_zip(path: Path, folder: Path, limits: Limits) -> Unpacked:
    packed_bytes = path.stat().st_size
    budget = _Budget(path.name, packed_bytes, limits)
    passed = _PassedOver()
    files: list[DicomFile] = []
    with open_archive(path, limits) as archive:
        for name, info in checked_entries(archive, path, limits).items():
            with closing(read_pieces(archive, info, path)) as pieces:
                head = next(pieces, b"")
                if not is_dicom(head):
                    passed.add(name, head)
                elif PurePosixPath(name).name.upper() != _DIRECTORY_NAME:
                    budget.spend(info.file_size)
                    target = folder / f"{len(files) + 1:06d}.dcm"
                    _write(target, itertools.chain([head], pieces))
                    files.append(DicomFile(target, _shown(path.name, name)))
    if not files:
        raise passed.none_error(path.name)
    return Unpacked(tuple(files), packed_bytes, passed.remarks(path.name))


class _Budget:
    """How much of an archive may still be unpacked."""

    def __init__(self, source: str, packed_bytes: int, limits: Limits) -> None:
        self._source = source
        self._packed_bytes = packed_bytes
        self._limits = limits
        self._spent = 0

    def spend(self, bytes_: int) -> None:
        """Take note of an entry before it is unpacked; refuse one too many."""
        limits = self._limits
        self._spent += bytes_
        if self._spent > limits.max_unpacked_bytes:
            raise ImageTooLargeError(
                f"{self._source}: unpacked, its DICOM files have more than "
                f"{limits.max_unpacked_bytes} bytes; send the CT and MR series alone"
            )
        allowed = max(limits.free_ratio_bytes, limits.max_ratio * self._packed_bytes)
        if self._spent > allowed:
            raise ImageTooLargeError(
                f"{self._source}: unpacked, its {self._packed_bytes} bytes become more "
                f"than {limits.max_ratio} times as much, as no real series does; if it "
                "is one, pack it without compression"
            )


def _write(target: Path, pieces: Iterator[bytes]) -> None:
    with target.open("xb") as file:
        for piece in pieces:
            file.write(piece)


def _take_folder(folder: Path, limits: Limits) -> Unpacked:
    passed = _PassedOver()
    files: list[DicomFile] = []
    for seen, path in enumerate(_walk(folder), 1):
        if seen > limits.max_entries:
            raise ImageTooLargeError(
                f"{folder.name}: it holds more than {limits.max_entries} files; "
                "give the folder of the series alone"
            )
        name = path.relative_to(folder).as_posix()
        start = _head(path)
        if not is_dicom(start):
            passed.add(name, start)
        elif path.name.upper() != _DIRECTORY_NAME:
            files.append(DicomFile(path, _shown(folder.name, name)))
    if not files:
        raise passed.none_error(folder.name)
    size = sum(file.path.stat().st_size for file in files)
    return Unpacked(tuple(files), size, passed.remarks(folder.name))


def _walk(folder: Path) -> Iterator[Path]:
    """Return the files below a folder, sorted; links to folders are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                yield path


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _count(names: list[str]) -> str:
    return f"{_files(names)} {'is' if len(names) == 1 else 'are'}"


def _files(names: list[str]) -> str:
    return "one file" if len(names) == 1 else f"{len(names)} files"


def _shown(source: str, name: str) -> str:
    """Return how messages call a file: its path within what was sent."""
    shown = f"{source}/{name}"
    clean = "".join(letter if letter.isprintable() else "?" for letter in shown)
    return clean if len(clean) <= _SHOWN_CHARACTERS else f"...{clean[-117:]}"
