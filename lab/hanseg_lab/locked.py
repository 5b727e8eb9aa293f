"""A folder in which one command is at work at a time."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hanseg_shared.errors import JobStateError

LOCK = ".lock"

logger = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold a folder's lock; give its descriptor, for children to inherit.

    Raises:
        JobStateError: Another run, or a command that it left behind, is at work there.
    """
    with _lock_of(folder) as lock:
        if not _take(lock, fcntl.LOCK_NB):
            raise JobStateError(
                f"{folder}: another run, or a command that it left behind, is at work"
                " there; wait for its end, or end it"
            )
        yield lock


@contextmanager
def waiting_for(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, once whoever has it is done."""
    with _lock_of(folder) as lock:
        if not _take(lock, fcntl.LOCK_NB):
            logger.info("waiting for another run, which is at work in %s", folder)
            _take(lock)
        yield


@contextmanager
def _lock_of(folder: Path) -> Iterator[int]:
    """Make a folder, and open its lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        yield file.fileno()


def _take(lock: int, how: int = 0) -> bool:
    """Return whether nobody else has a lock; on a share without locks nobody has."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | how)
    except BlockingIOError:
        return False
    except OSError:  # a share without locks
        pass
    return True
