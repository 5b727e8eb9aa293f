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
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobStateError(
                f"{folder}: another run, or a command that it left behind, is at work"
                " there; wait for its end, or end it"
            ) from None
        except OSError:  # a share without locks
            pass
        yield file.fileno()


@contextmanager
def waiting_for(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, once whoever has it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting for another run, which is at work in %s", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a share without locks
            pass
        yield
