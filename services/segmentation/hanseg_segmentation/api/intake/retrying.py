"""Trying a failed or cancelled job again with the images the service still has."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import (
    RefusedError,
    translate_disk_faults,
)
from hanseg_segmentation.api.intake.images import Image
from hanseg_segmentation.api.intake.submission import Submission
from hanseg_shared.documents import InputSummary, JobState
from hanseg_shared.errors import JobStateError, StoreError
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.store import Payload
from hanseg_shared.problems import EXPIRED

RETRIED = frozenset({JobState.FAILED, JobState.CANCELLED})
"""States that a job can be tried again from."""


def fetch_submission(context: Context, job_id: str, folder: Path) -> Submission:
    """Return the submission that a job was made of, its images in a folder.

    Raises:
        JobNotFoundError: There is no such job.
        JobStateError: It has not ended, or has its results.
        RefusedError: Its images are gone.
    """
    services = context.services
    job = services.tables.jobs.get(job_id)
    _require_over(job)
    images = {
        image.role: _fetch_image(services, job, image, folder) for image in job.inputs
    }
    return Submission(
        ct=images["ct"],
        mr=images.get("mr"),
        options=job.options,
        case=job.case_name,
    )


def retry_key(job_id: str) -> str:
    """Return the idempotency key under which a job is tried again once."""
    return hashlib.sha256(f"retry\n{job_id}".encode()).hexdigest()


def _require_over(job: Job) -> None:
    if job.state is JobState.EXPIRED:
        raise _images_gone(job)
    if job.state not in RETRIED:
        raise JobStateError(
            f"job {job.id} is {job.state}; only a failed or cancelled job can be "
            "tried again"
        )


def _fetch_image(
    services: Services, job: Job, image: InputSummary, folder: Path
) -> Image:
    target = folder / image.role
    try:
        with translate_disk_faults():
            services.store.fetch(job.id, image.sha256, target)
    except StoreError as error:
        if services.store.exists(job.id, image.sha256):
            raise
        raise _images_gone(services.tables.jobs.get(job.id)) from error
    return Image(target, Payload(image.sha256, image.bytes), owner=job.id)


def _images_gone(job: Job) -> RefusedError:
    """Return the refusal for a job whose images were deleted."""
    detail = job.error.detail if job.state is JobState.EXPIRED and job.error else ""
    why = f" ({detail})" if detail else ""
    return RefusedError(
        EXPIRED, f"the images of job {job.id} are gone{why}; send the case again"
    )
