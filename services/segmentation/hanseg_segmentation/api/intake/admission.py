"""Whether new jobs are accepted: not when queue or disk are full or the broker is out.

Refusing early is kinder than accepting what cannot be done.
"""

from __future__ import annotations

import os
import shutil

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import FORBIDDEN, RefusedError
from hanseg_segmentation.api.principal import Principal
from hanseg_shared.access import LOCAL_OWNER, Scope
from hanseg_shared.documents import Priority
from hanseg_shared.errors import DiskFullError, ServiceUnavailableError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.tables.queue_bounds import QueueBounds


def require_priority(principal: Principal, priority: Priority) -> None:
    """Return if somebody may have a case done with a priority.

    Raises:
        RefusedError: They may not.
    """
    if priority is Priority.ROUTINE or Scope.URGENT in principal.scopes:
        return
    raise RefusedError(
        FORBIDDEN,
        "the key lacks the scope urgent; send the case as routine, or ask for a key "
        "that has it",
    )


def refuse_when_full(context: Context, *, owned_by: str, jobs: int = 1) -> None:
    """Return if an owner may have so many new jobs now.

    Raises:
        OptionError: There are more of them than may ever wait.
        ServiceUnavailableError: Too many jobs wait, the disk is nearly full, or the
            broker does not answer.
    """
    services = context.services
    refuse_when_crowded(services, owned_by=owned_by, jobs=jobs)
    refuse_when_disk_is_full(context)
    for queue in QueueName:
        services.publisher.waiting(queue)


def queue_bounds(services: Services, owned_by: str) -> QueueBounds:
    """Return how many jobs an owner may have unfinished, and all together.

    The one person who needs no key shares the queue with nobody. Others have what their
    keys allow, or else the settings.
    """
    settings = services.settings
    if owned_by == LOCAL_OWNER and not settings.needs_key:
        return QueueBounds(settings.max_unfinished_jobs)
    a_caller = services.tables.api_keys.most_unfinished(owned_by)
    if a_caller is None:
        a_caller = settings.max_unfinished_jobs_a_caller
    return QueueBounds(settings.max_unfinished_jobs, a_caller)


def refuse_when_crowded(services: Services, *, owned_by: str, jobs: int = 1) -> None:
    """Raise unless an owner may have so many more jobs unfinished."""
    bounds = queue_bounds(services, owned_by)
    services.tables.jobs.require_room(bounds, owned_by, jobs)


def refuse_when_disk_is_full(context: Context) -> None:
    """Raise unless enough disk space is left, with all that is promised of it.

    Nor is anything taken when the data folder was emptied under the service, or cannot
    be written.
    """
    _require_data_folder(context.services)
    with context.room.checked():
        return


def require_free_space(services: Services) -> None:
    """Raise unless enough disk space is left now, whatever is promised of it."""
    _require_data_folder(services)
    least = services.settings.min_free_bytes
    free = free_bytes(services)
    cache = services.store.cache
    if free < least and cache is not None:
        cache.give_way(least)  # copies of what the store has: they can be had again
        free = free_bytes(services)
    if free < least:
        raise DiskFullError(
            f"the disk has {free} bytes free, {least} must be left; delete finished "
            "jobs or try again later"
        )


def _require_data_folder(services: Services) -> None:
    services.tables.database.require_file()
    services.store.require_mark()
    _require_writable(services)


def free_bytes(services: Services) -> int:
    """Return the free space where it is shortest: scratch, or a local store.

    Raises:
        ServiceUnavailableError: The disk does not work, or is away.
    """
    scratch = services.settings.scratch
    try:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        places = [shutil.disk_usage(scratch).free, services.store.free_bytes()]
    except OSError as error:
        raise _no_disk(error.strerror or str(error)) from error
    return min(free for free in places if free is not None)


def _require_writable(services: Services) -> None:
    folders = [services.settings.scratch, services.store.local_folder]
    for folder in folders:
        if folder and folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise _no_disk(f"{folder.name} cannot be written; is its disk read-only?")


def _no_disk(why: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(f"the data folder cannot be used: {why}")
