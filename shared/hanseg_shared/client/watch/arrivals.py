"""What lies in a watched folder, and whether all of a case has arrived.

The folder is looked at again and again, which works on every disk and share. A case is
a sub-folder, a zip archive, or image files side by side whose names begin alike. It has
arrived when nothing of it has changed for a while, or when the sender says so by a file
``NAME.done``.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hanseg_shared.errors import InputError
from hanseg_shared.io.cases import CaseFiles, case_of_files, find_cases
from hanseg_shared.io.names import image_stem, is_printable, normalise, parse_name

DONE = ".done"
"""Ending of the file by which a sender says that a case has arrived."""

UNFINISHED = frozenset(
    {".part", ".partial", ".tmp", ".filepart", ".crdownload", ".uploading"}
)
"""Endings under which programs write a file that they rename when it is whole."""

FileState = tuple[str, int, int]
"""A file's path, its length, and when it was changed, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something that was put into the folder, as it is now.

    Attributes:
        name: The sub-folder's or archive's name, or what the images' names share.
        paths: What lies in the folder itself: one thing, or the images.
        files: All files, also those in a sub-folder.
        markers: What says that it has arrived.
        is_unfinished: Whether a file of it is still being written, by its name.
        fault: Why it cannot be a case, whatever its files hold.
    """

    name: str
    paths: tuple[Path, ...]
    files: tuple[FileState, ...] = ()
    markers: tuple[Path, ...] = ()
    is_unfinished: bool = False
    fault: str = ""

    @property
    def signature(self) -> str:
        """A hash of its files' names, lengths and times: it changes when they do."""
        told = "\n".join(f"{name}\0{size}\0{time}" for name, size, time in self.files)
        return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()

    def case(self) -> CaseFiles:
        """Return which file of it is the CT, and which the MR.

        Raises:
            InputError: It is no case, or more than one.
        """
        if self.fault:
            raise InputError(self.fault)
        first = self.paths[0]
        if len(self.paths) > 1 and any(_is_whole_case(path) for path in self.paths):
            named = ", ".join(path.name for path in self.paths)
            raise InputError(
                f"{named}: they are of one name, {self.name}, and each may be a case; "
                "rename all but one"
            )
        if first.is_dir():
            return _only_case(self.name, first)
        if first.suffix.lower() == ".zip":
            return CaseFiles(self.name, first)
        return case_of_files(self.name, self.paths)


def _is_whole_case(path: Path) -> bool:
    """Whether something is a case by itself, and not an image of one."""
    return path.is_dir() or path.suffix.lower() == ".zip"


def _only_case(name: str, folder: Path) -> CaseFiles:
    found = find_cases(folder).cases
    if len(found) > 1:
        named = ", ".join(case.name for case in found[:5])
        raise InputError(
            f"{folder}: it holds {len(found)} cases ({named} …); put each into the "
            "watched folder itself"
        )
    return CaseFiles(name, found[0].ct, found[0].mr)


@dataclass(slots=True)
class _Watched:
    """What is remembered of an arrival from look to look."""

    signature: str
    since: float
    has_changed: bool = False
    not_before: float = -math.inf


@dataclass(slots=True)
class Arrivals:
    """The watched folder, from look to look.

    Attributes:
        folder: Where cases are put.
        settle_seconds: For how long nothing may have changed.
        needs_marker: Whether only what has its ``NAME.done`` has arrived.
        clock: Steady seconds.
    """

    folder: Path
    settle_seconds: float
    needs_marker: bool
    clock: Callable[[], float]
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _over: dict[tuple[Path, ...], tuple[FileState, ...]] = field(default_factory=dict)

    def look(self) -> list[Arrival]:
        """Return what has arrived and was not seen to yet.

        Raises:
            OSError: The folder cannot be read: its disk is away, perhaps.
        """
        now = self.clock()
        found = list(self._scan())
        names = {arrival.name for arrival in found}
        self._watched = {k: v for k, v in self._watched.items() if k in names}
        return [arrival for arrival in found if self._has_arrived(arrival, now)]

    def dismiss(self, arrival: Arrival) -> None:
        """Leave an arrival alone from now on, until something of it changes.

        Of a sub-folder only what lies in it directly counts then, so that a folder full
        of cases that were seen to is looked at quickly.
        """
        self._over[arrival.paths] = _states(arrival.paths)

    def postpone(self, arrival: Arrival) -> None:
        """Take an arrival for one that is still being written."""
        self._watched[arrival.name].has_changed = True

    def put_off(self, arrival: Arrival, seconds: float) -> None:
        """Leave an arrival alone for so long, or until something of it changes."""
        self.postpone(arrival)
        self._watched[arrival.name].not_before = self.clock() + seconds

    def is_unchanged(self, arrival: Arrival) -> bool:
        """Whether an arrival is still what it was when it was looked at."""
        return _walk(arrival.paths, self.folder) == arrival.files

    @property
    def is_waiting(self) -> bool:
        """Whether something will have arrived if nothing of it changes any more."""
        return any(
            not (self.needs_marker or each.has_changed)
            for each in self._watched.values()
        )

    def _has_arrived(self, arrival: Arrival, now: float) -> bool:
        known = self._watched.get(arrival.name)
        if known is None or known.signature != arrival.signature:
            known = _Watched(arrival.signature, now, has_changed=known is not None)
            self._watched[arrival.name] = known
        if arrival.is_unfinished or not arrival.files:
            known.has_changed = True
            return False
        if now < known.not_before:
            return False
        if arrival.markers:
            return True
        return not self.needs_marker and now - known.since >= self.settle_seconds

    def _scan(self) -> Iterator[Arrival]:
        """Yield what lies in the folder, but what was dismissed."""
        entries = sorted(self.folder.iterdir(), key=lambda path: path.name)
        markers = [path for path in entries if path.name.endswith(DONE)]
        groups: dict[tuple[str, str], list[Path]] = {}
        for path in entries:
            if path.name.startswith(".") or path.name.endswith(DONE):
                continue
            groups.setdefault(_group(path), []).append(path)
        for (name, fault), group in groups.items():
            paths = tuple(group)
            if self._over.get(paths) == _states(paths):
                continue
            self._over.pop(paths, None)
            yield self._make(name, fault, paths, markers)

    def _make(
        self, name: str, fault: str, paths: tuple[Path, ...], markers: list[Path]
    ) -> Arrival:
        files = _walk(paths, self.folder)
        named = {f"{each}{DONE}" for each in (name, *(path.name for path in paths))}
        inner = [path / DONE for path in paths if (path / DONE).is_file()]
        return Arrival(
            name,
            paths,
            files,
            markers=(*(each for each in markers if each.name in named), *inner),
            is_unfinished=any(_is_unfinished(each) for each, _, _ in files),
            fault=fault,
        )


def _group(path: Path) -> tuple[str, str]:
    """Return the name under which something belongs together, and what is amiss."""
    name = normalise(path.name)
    if not is_printable(path.name):
        return ascii(path.name), f"{path.name!a}: its name is not UTF-8; rename it"
    if path.is_symlink() and path.is_dir():
        return name, f"{path}: links to folders are not followed; move the folder here"
    if path.is_dir():
        return name, ""
    plain = path.with_suffix("") if path.suffix.lower() in UNFINISHED else path
    if plain.suffix.lower() == ".zip":
        return normalise(plain.stem), ""
    stem = image_stem(plain)
    if stem is None:
        why = "it is no image by its name; .nii.gz, .nii, .nrrd, .mha, .zip and folders"
        return name, f"{path}: {why} are taken"
    case = parse_name(stem).case
    if not case:
        return name, f"{path}: its name says no case; call it NAME_{path.name}"
    return case, ""


def _is_unfinished(name: str) -> bool:
    return Path(name).suffix.lower() in UNFINISHED


def _states(paths: tuple[Path, ...]) -> tuple[FileState, ...]:
    """Return how things are, without what is in them; what is gone is left out."""
    return tuple(found for path in paths if (found := _state(path, path.name)))


def _walk(paths: tuple[Path, ...], folder: Path) -> tuple[FileState, ...]:
    """Return how all files of some things are, by their paths in the folder."""
    found = [_state(path, _within(path, folder)) for path in _files(paths)]
    return tuple(sorted(each for each in found if each is not None))


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir() or path.is_symlink():
            yield path
            continue
        for parent, folders, names in os.walk(path):
            folders.sort()
            yield from (Path(parent, name) for name in names if name != DONE)


def _state(path: Path, name: str) -> FileState | None:
    try:
        told = path.stat()
    except OSError:  # gone meanwhile, or a link to nothing
        return None
    return name, told.st_size, told.st_mtime_ns


def _within(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
