"""Folders that a process holds; one that nobody holds was left by a dead process.

The kernel lets go of the lock when the process dies, however it dies: see flock(2). So
whoever shares the disk learns of the death at once, without waiting for anything.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold_new_folder(path: Path) -> Iterator[Path]:
    """Make a folder that only its user can enter, hold it, and remove it at the end.

    Args:
        path: The folder; its parent is made as well. What is there already goes.

    Raises:
        OSError: It cannot be made.
    """
    descriptor = _make_held(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _make_held(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        descriptor = _open(path)
        if descriptor is None:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a disk without locks: then nobody can tell, and all wait
            return descriptor
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # a sweep was faster than the lock


def is_abandoned(path: Path) -> bool:
    """Whether the folder is there and nobody holds it; False where none can tell."""
    with trying_to_hold(_open(path), fcntl.LOCK_SH) as is_free:
        return is_free


def remove_abandoned(path: Path, *, only_contents: bool = False) -> bool:
    """Remove a folder that nobody holds; return whether anything was removed.

    Args:
        path: The folder.
        only_contents: Leaves the folder itself, which says that its process is dead.
    """
    with trying_to_hold(_open(path), fcntl.LOCK_EX) as is_free:
        if not is_free:
            return False
        if only_contents:
            return _empty(path)
        shutil.rmtree(path, ignore_errors=True)
        return True


@contextmanager
def trying_to_hold(descriptor: int | None, how: int) -> Iterator[bool]:
    """Lock what is open, if nobody holds it, and close it at the end.

    Args:
        descriptor: What it was opened as; None if it is not there.
        how: `fcntl.LOCK_SH` to look, `fcntl.LOCK_EX` to remove.

    Yields:
        Whether it is there and nobody held it; False where none can tell.
    """
    if descriptor is None:
        yield False
        return
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        is_free = False
    else:
        is_free = True
    try:
        yield is_free
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> bool:
    found = list(folder.iterdir())
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return bool(found)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the folder that is open has not been removed meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
