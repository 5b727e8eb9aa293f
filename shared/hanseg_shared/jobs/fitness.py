"""Whether a worker can work: its disks have room, and the payload store answers.

A worker that cannot does not claim jobs, so that an outage costs no attempts: it waits,
says why, and looks again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from hanseg_shared.errors import HansegError
from hanseg_shared.jobs.services import Services

ROOM_SHARE = 1 / 8
"""Share of `min_free_bytes` that a stage wants to find; jobs that were accepted above
it are done with what is left."""

LOOK_SECONDS = 2.0
"""How often a worker that waits looks again."""

WAIT_SECONDS = 60.0
"""How long a message is held meanwhile; after that it is sent again."""

_PROBE = b"\0" * 65536


def wait_until_fit(services: Services, tell: Callable[[str | None], None]) -> bool:
    """Return True as soon as this worker can work; False to leave the message alone.

    Args:
        services: Those of the worker.
        tell: Called with what is wrong, and with None when nothing is any more.
    """
    waited = 0.0
    while (complaint := find_complaint(services)) is not None:
        tell(complaint)
        if services.stop.is_given(within_seconds=LOOK_SECONDS):
            return False
        waited += LOOK_SECONDS
        if waited >= WAIT_SECONDS:
            return False
    tell(None)
    return True


def find_complaint(services: Services) -> str | None:
    """Return why no stage can be done now, None if it can."""
    settings = services.settings
    try:
        least = int(ROOM_SHARE * settings.min_free_bytes)
        free = _measure_free(services, least)
        if free < least:
            return f"the disk is full: {free} bytes free, a stage wants {least}"
        _try_writing(settings.scratch)
        stored = services.store.free_bytes()
        if stored is not None and stored < least:
            return f"the payload store's disk is full: {stored} bytes free"
        services.store.ping()
    except HansegError as error:
        return error.message
    except OSError as error:
        return f"nothing can be written to the data folder: {error.strerror or error}"
    return None


def _measure_free(services: Services, least: int) -> int:
    scratch, cache = services.settings.scratch, services.store.cache
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(scratch).free
    if free >= least or cache is None:
        return free
    cache.give_way(least)  # copies of what the store has: they can be had again
    return shutil.disk_usage(scratch).free


def _try_writing(scratch: Path) -> None:
    probe = scratch / f"hanseg-probe-{id(scratch)}"
    try:
        probe.write_bytes(_PROBE)
    finally:
        probe.unlink(missing_ok=True)
