"""Which faults of a registration are the machine's, and which are the images'.

A killed process, too little memory or a full disk may not happen again at the next
attempt, so the MR must not be rejected for them. What elastix or ANTs raise about two
images they raise again for the same images: that becomes a verdict.
"""

from __future__ import annotations

import logging
import shutil
import signal
from pathlib import Path

from hanseg_shared.errors import (
    HansegError,
    ProcessLostError,
    RegistrationError,
    StoreError,
)
from hanseg_shared.memory_faults import is_out_of_memory, says_no_memory

logger = logging.getLogger(__name__)

FULL_BYTES = 1 << 20
"""A disk with less free space is full: what a run writes there takes a few kB."""


def as_fault(error: Exception) -> HansegError:
    """Return an exception raised in a registration as one of this project's errors."""
    if isinstance(error, HansegError):
        return error
    if is_out_of_memory(error):
        return ProcessLostError("the registration ran out of memory")
    if isinstance(error, OSError):
        return StoreError(
            f"the registration could not be written: {error.strerror or error}"
        )
    logger.error("the registration failed unexpectedly", exc_info=error)
    return RegistrationError(f"the registration failed unexpectedly: {error!r}")


def library_fault(library: str, cause: str, folder: Path) -> HansegError:
    """Return why a library gave up: for a fault of the machine, or of the images.

    Args:
        library: ``elastix`` or ``ants``.
        cause: What it said.
        folder: Where it wrote; on a full disk it may fail with any message.
    """
    if says_no_memory(cause):
        return ProcessLostError(f"{library} ran out of memory: {cause}")
    if shutil.disk_usage(folder).free < FULL_BYTES:
        return StoreError(f"{library} gave up on a full disk: {cause}")
    return RegistrationError(f"{library} gave up: {cause}")


def death_by_signal(what: str, number: int) -> ProcessLostError:
    """Return the error for a process that was killed by a signal.

    Args:
        what: The process, as the subject of a sentence.
        number: The signal.
    """
    known = number in signal.valid_signals() and number < signal.SIGRTMIN
    name = f" ({signal.Signals(number).name})" if known else ""
    remark = "; memory may have run out" if number == signal.SIGKILL else ""
    return ProcessLostError(f"{what} was killed by signal {number}{name}{remark}")
