"""Images that were seen to, moved out of the watched folder; nothing is overwritten.

Killed in the middle, what is left in the watched folder is no case any more: of several
images the CT goes first, and a folder under a hidden name.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from hanseg_shared.client.watch.arrivals import DONE, Arrival
from hanseg_shared.errors import InputError


def move_away(arrival: Arrival, target: Path, *, reason: str | None = None) -> Path:
    """Move an arrival into a folder of its own, which appears whole, and its markers.

    Args:
        arrival: What is moved.
        target: Where the new folder is made, called as the arrival is; a number is
            added if there is one already.
        reason: Written beside it, if there is one.

    Returns:
        The new folder.

    Raises:
        OSError: It cannot be written, or a source not removed.
    """
    source = arrival.paths[0].parent
    if not os.access(source, os.W_OK | os.X_OK):  # nothing is copied for nothing
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(source))
    target.mkdir(parents=True, exist_ok=True)
    place = _free_path(target, arrival.name)
    if reason is not None:
        _note_of(place).write_text(f"{reason}\n", encoding="utf-8")
    only = arrival.paths[0]
    if only.is_dir() and not only.is_symlink():
        _move_folder(only, place)
    else:
        _move_files(_ct_first(arrival), place)
    for marker in (*arrival.markers, place / DONE):
        marker.unlink(missing_ok=True)
    return place


def _move_folder(folder: Path, place: Path) -> None:
    try:
        folder.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        draft = _new_draft(place)
        shutil.copytree(folder, draft)
        draft.rename(place)
        hidden = folder.with_name(f".{folder.name}.moved")
        folder.rename(hidden)
        shutil.rmtree(hidden)


def _move_files(files: Sequence[Path], place: Path) -> None:
    draft = _new_draft(place)
    draft.mkdir()
    for path in files:
        shutil.copy2(path, draft / path.name)
    draft.rename(place)
    for path in files:
        path.unlink()


def _new_draft(place: Path) -> Path:
    """Return where a folder is made; what a move that was killed has copied goes."""
    draft = place.with_name(f".{place.name}.partial")
    if draft.exists():
        shutil.rmtree(draft)
    return draft


def _ct_first(arrival: Arrival) -> list[Path]:
    try:
        ct = arrival.case().ct
    except InputError:
        return list(arrival.paths)
    return sorted(arrival.paths, key=lambda path: path != ct)


def _free_path(folder: Path, name: str) -> Path:
    """Return a path in a folder at which there is nothing, nor a note on it."""
    place, number = folder / name, 1
    while place.exists() or _note_of(place).exists():
        number += 1
        place = folder / f"{name}-{number}"
    return place


def _note_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.txt")
