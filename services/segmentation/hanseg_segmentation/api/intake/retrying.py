"""Making a job of images that the service still has: tried again, or without the MR."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import (
    RefusedError,
    translate_disk_faults,
)
from hanseg_segmentation.api.intake.images import Image
from hanseg_segmentation.api.intake.received import EarlierJob, Submission
from hanseg_shared.dicom.template import TEMPLATE_FILE
from hanseg_shared.documents import InputSummary, JobState, ResultFile
from hanseg_shared.errors import JobStateError, StoreError
from hanseg_shared.io.dicom.source import IDENTITY_FILE, SOURCE_FILE, DicomSource
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stores.files import Payload, hash_file
from hanseg_shared.problems import EXPIRED

ATTACHMENTS = frozenset({SOURCE_FILE, IDENTITY_FILE, TEMPLATE_FILE})
"""Files of a job that its images are of no use without."""

RETRIED = frozenset({JobState.FAILED, JobState.CANCELLED})
"""States that a job can be tried again from."""


def fetch_submission(context: Context, job_id: str, folder: Path) -> Submission:
    """Return the submission that a job was made of, its images in a folder.

    Raises:
        JobNotFoundError: There is no such job.
        JobStateError: It has not ended, or has its results.
        RefusedError: Its images are gone.
        DiskFullError: There is no room for copies of them.
    """
    job = context.services.tables.jobs.get(job_id)
    _require_over(job)
    return _fetch_submission(context, job, folder)


def fetch_without_mr(context: Context, job_id: str, folder: Path) -> Submission:
    """Return the submission of a job's CT alone, its image in a folder.

    Raises:
        JobNotFoundError: There is no such job.
        RefusedError: Its images are gone.
        DiskFullError: There is no room for copies of them.
    """
    job = context.services.tables.jobs.get(job_id)
    if job.state is JobState.EXPIRED or job.removed:
        raise _images_gone(job)
    whole = _fetch_submission(context, job, folder)
    assert whole.earlier is not None
    attachments = dict(whole.earlier.attachments)
    if SOURCE_FILE in attachments:
        attachments[SOURCE_FILE] = _without_mr(attachments[SOURCE_FILE])
    earlier = replace(whole.earlier, attachments=attachments, follows=job.id)
    return replace(whole, mr=None, earlier=earlier)


def retry_key(job_id: str) -> str:
    """Return the idempotency key under which a job is tried again once."""
    return hashlib.sha256(f"retry\n{job_id}".encode()).hexdigest()


def ct_only_key(job_id: str) -> str:
    """Return the idempotency key under which a job is done once without its MR."""
    return hashlib.sha256(f"ct only\n{job_id}".encode()).hexdigest()


def _fetch_submission(context: Context, job: Job, folder: Path) -> Submission:
    services = context.services
    sizes = [image.bytes for image in job.inputs]
    sizes += [each.bytes for each in job.intermediate if each.name in ATTACHMENTS]
    context.room.take(sum(sizes), by=folder)
    images = {
        image.role: _fetch(services, job, image, folder / image.role)
        for image in job.inputs
    }
    attachments = {
        file.name: _fetch(services, job, file, folder / file.name)
        for file in job.intermediate
        if file.name in ATTACHMENTS
    }
    return Submission(
        ct=images["ct"],
        mr=images.get("mr"),
        options=job.options,
        case=job.case_name,
        earlier=EarlierJob(job.inputs, job.remarks, attachments),
        priority=job.priority,
    )


def _without_mr(source: Image) -> Image:
    """Return where a case's slices came from, without those of the MR."""
    known = DicomSource.model_validate_json(source.path.read_bytes())
    alone = known.model_copy(update={"mr": None, "registration": None})
    path = source.path.with_name(f"ct_only_{source.path.name}")
    with translate_disk_faults():
        path.touch(mode=0o600)
        path.write_text(alone.model_dump_json(), encoding="utf-8")
    return Image(path, hash_file(path))


def _require_over(job: Job) -> None:
    if job.state is JobState.EXPIRED:
        raise _images_gone(job)
    if job.state in RETRIED and job.removed:
        raise _images_gone(job)
    if job.state not in RETRIED:
        raise JobStateError(
            f"job {job.id} is {job.state}; only a failed or cancelled job can be "
            "tried again"
        )


def _fetch(
    services: Services, job: Job, file: InputSummary | ResultFile, target: Path
) -> Image:
    try:
        with translate_disk_faults():
            services.store.fetch(job.id, file.sha256, target)
    except StoreError as error:
        if services.store.exists(job.id, file.sha256):
            raise
        raise _images_gone(services.tables.jobs.get(job.id)) from error
    return Image(target, Payload(file.sha256, file.bytes), owner=job.id)


def _images_gone(job: Job) -> RefusedError:
    """Return the refusal for a job whose images were deleted."""
    detail = job.error.detail if job.state is JobState.EXPIRED and job.error else ""
    if job.removed and not detail:
        detail = f"they were kept until {job.removed[0].at:%Y-%m-%d %H:%M} UTC"
    why = f" ({detail})" if detail else ""
    return RefusedError(
        EXPIRED, f"the images of job {job.id} are gone{why}; send the case again"
    )
