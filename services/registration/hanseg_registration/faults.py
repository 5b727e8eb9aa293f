"""Which faults of a registration are the machine's, and which say something of the MR.

A process that is killed, too little memory or a full disk may be otherwise at the next
try; the MR must not be judged by it. What elastix or ANTs raise about two images is
raised again by the same images, and becomes a verdict.
"""

from __future__ import annotations

import logging
import re
import shutil
import signal
from pathlib import Path

from hanseg_shared.errors import (
    HansegError,
    ProcessLostError,
    RegistrationError,
    StoreError,
)

logger = logging.getLogger(__name__)

NO_MEMORY = re.compile(r"bad_alloc|[Ff]ailed to allocate|[Oo]ut of memory")
"""How the C++ of ITK says that it got no memory; there is no class for it in Python."""

FULL_BYTES = 1 << 20
"""A disk with less free space is full: what a run writes there takes a few kB."""


def as_fault(error: Exception) -> HansegError:
    """Return an error that a registration's process met as one of ours."""
    if isinstance(error, HansegError):
        return error
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return ProcessLostError("the registration ran out of memory")
    if isinstance(error, OSError):
        return StoreError(
            f"the registration could not be written: {error.strerror or error}"
        )
    logger.error("the registration failed unexpectedly", exc_info=error)
    return RegistrationError(f"the registration failed unexpectedly: {error!r}")


def library_fault(library: str, cause: str, folder: Path) -> HansegError:
    """Return why a library gave up that wrote to a folder: the machine, or the images.

    Args:
        library: ``elastix`` or ``ants``.
        cause: What it said.
        folder: Where it wrote; a full disk there makes it fail with any message.
    """
    if NO_MEMORY.search(cause):
        return ProcessLostError(f"{library} ran out of memory: {cause}")
    if shutil.disk_usage(folder).free < FULL_BYTES:
        return StoreError(f"{library} gave up on a full disk: {cause}")
    return RegistrationError(f"{library} gave up: {cause}")


def killed(what: str, number: int) -> ProcessLostError:
    """Return what became of a process that died by a signal.

    Args:
        what: The process, as the subject of a sentence.
        number: The signal.
    """
    known = number in signal.valid_signals() and number < signal.SIGRTMIN
    name = f" ({signal.Signals(number).name})" if known else ""
    remark = "; memory may have run out" if number == signal.SIGKILL else ""
    return ProcessLostError(f"{what} was killed by signal {number}{name}{remark}")
