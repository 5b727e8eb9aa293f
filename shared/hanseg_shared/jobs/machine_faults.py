"""Which faults are the machine's and will pass, so that no job is to blame for them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hanseg_shared.errors import ServiceUnavailableError

ERRNOS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENODEV,
        errno.ENXIO,
        errno.ENOTCONN,
        errno.ESTALE,
    }
)
"""No room, a disk that is read-only, broken or away, or no more open files."""

FULL_BYTES = 1 << 20
"""A disk with less free space is full: libraries then fail with any message."""

_SAYINGS = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
"""What remains of the fault in an error that came from another process."""


def is_machine_fault(error: BaseException, folder: Path | None = None) -> bool:
    """Whether an error comes from the machine, not from what was being done.

    Args:
        error: With what it was raised from.
        folder: Where was written; on a full disk any error is the machine's.
    """
    if isinstance(error, ServiceUnavailableError):
        return True
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in ERRNOS:
            return True
        if any(saying in str(each) for saying in _SAYINGS):
            return True
    return folder is not None and _is_full(folder)


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:  # the disk is away
        return True
