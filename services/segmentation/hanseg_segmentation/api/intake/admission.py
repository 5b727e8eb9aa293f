"""Whether new jobs are accepted: not when queue or disk are full or the broker is out.

Refusing early with 503 is kinder than accepting what cannot be done.
"""

from __future__ import annotations

import shutil

from hanseg_shared.errors import OptionError, ServiceUnavailableError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.services import Services


def refuse_when_full(services: Services, *, jobs: int = 1) -> None:
    """Return if so many new jobs may be made now.

    Raises:
        OptionError: There are more of them than may ever wait.
        ServiceUnavailableError: Too many jobs wait, the disk is nearly full, or the
            broker does not answer.
    """
    refuse_when_crowded(services, jobs=jobs)
    refuse_when_disk_is_full(services)
    for queue in QueueName:
        services.publisher.waiting(queue)


def refuse_when_crowded(services: Services, *, jobs: int = 1) -> None:
    """Raise unless so many more jobs may be unfinished."""
    most = services.settings.max_unfinished_jobs
    if jobs > most:
        raise OptionError(
            f"{jobs} jobs at once are more than the {most} that may be unfinished; "
            "send them in parts"
        )
    unfinished = services.tables.jobs.count_unfinished()
    if unfinished + jobs > most:
        raise ServiceUnavailableError(
            f"{unfinished} jobs are unfinished and {most} may be; try again later"
        )


def refuse_when_disk_is_full(services: Services, *, needed: int = 0) -> None:
    """Raise unless enough disk space is left after the bytes that are needed now."""
    least = services.settings.min_free_bytes
    free = free_bytes(services)
    if free < least + needed:
        wanted = f"{needed} are needed and " if needed else ""
        raise ServiceUnavailableError(
            f"the disk has {free} bytes free, {wanted}{least} must be left; delete "
            "finished jobs or try again later"
        )


def free_bytes(services: Services) -> int:
    """Return the free space where it is shortest: scratch, or a local store."""
    scratch = services.settings.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    places = [shutil.disk_usage(scratch).free, services.store.free_bytes()]
    return min(free for free in places if free is not None)
