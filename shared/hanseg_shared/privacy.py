"""Files that nobody but their owner reads: patients' images, results and names."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

OTHERS = 0o077
"""What group and others may do: nothing."""

OF_THE_SERVICE = (
    "audit.head",
    "ballast",
    "cache",
    "jobs.sqlite*",
    "lock",
    "logs",
    "payload-cache",
    "payloads",
    "redis",
    "scratch",
    "signing_key.pem*",
)
"""What the service makes in its data folder; whatever else is there is not its own."""


def open_private(path: str | Path, flags: int) -> int:
    """Open a file that only its owner reads, as an opener for `open`."""
    return os.open(path, flags, 0o600)


def keep_private(data: Path) -> None:
    """Have this process make files for its owner only, and close those that are there.

    Args:
        data: The service's data folder.
    """
    os.umask(OTHERS)
    close_to_others(data)


def close_to_others(data: Path) -> None:
    """Take from group and others what an earlier version or a mount gave them."""
    closed = sum(_close(path) for path in _list_own(data))
    if closed:
        logger.warning(
            "%d files and folders in %s were open to other users of this machine: they "
            "are its owner's alone now",
            closed,
            data,
        )


def _list_own(data: Path) -> Iterator[Path]:
    if not _is_shared(data):
        yield data
    for pattern in OF_THE_SERVICE:
        for path in data.glob(pattern):
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from path.rglob("*")


def _is_shared(folder: Path) -> bool:
    """Whether the folder is used by more than the service, such as /tmp or a home."""
    with suppress(OSError):
        if folder.stat().st_mode & stat.S_ISVTX:
            return True
    return folder in {Path.home(), Path(folder.anchor)}


def _close(path: Path) -> bool:
    with suppress(OSError):  # it is gone, or not ours
        found = path.lstat()
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISLNK(found.st_mode) or not mode & OTHERS:
            return False
        path.chmod(mode & ~OTHERS)
        return True
    return False
