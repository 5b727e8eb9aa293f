"""Removing what the service has of a job or a batch, now."""

from __future__ import annotations

from contextlib import suppress

from hanseg_shared.errors import JobError
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.tables.worklist import JobFilter
from hanseg_shared.problems import EXPIRED

PAGE = 200
"""Jobs of a batch that are looked up at a time."""


def remove_job(services: Services, job_id: str) -> None:
    """Delete a job's images and results, also while it is being worked on.

    A tombstone stays, without anything of the patient. What a worker still writes is
    fenced off, and swept.

    Raises:
        JobNotFoundError: There is no such job.
    """
    named: set[str] = set()
    with suppress(JobError):  # there is none, or its row cannot be read
        named = services.tables.named_payloads(services.tables.jobs.get(job_id))
    services.tables.jobs.expire(
        job_id, EXPIRED.problem("the job's files were deleted on request")
    )
    Scratch(services.settings.scratch).purge(job_id)
    services.store.purge(job_id, named)


def remove_batch(services: Services, batch_id: str) -> None:
    """Delete the images and results of all jobs of a batch, and its name.

    Raises:
        JobNotFoundError: There is no such batch.
    """
    services.tables.batches.get(batch_id)
    position = None
    while True:
        page = services.tables.jobs.list_page(
            limit=PAGE, before=position, found_by=JobFilter(batch_id=batch_id)
        )
        for job in page.jobs:
            remove_job(services, job.id)
        position = page.next_position
        if position is None:
            return
