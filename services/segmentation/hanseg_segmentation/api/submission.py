"""Making a job of images: look at them, store them, insert the row, tell the queue.

Whatever fails before the row is there leaves nothing behind.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hanseg_segmentation.api.admission import refuse_when_full
from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import disk_faults_translated
from hanseg_segmentation.api.idempotency import fingerprint, once
from hanseg_segmentation.api.looking import look_at
from hanseg_segmentation.packages.installed import offered_models
from hanseg_shared.available import require_available, require_installed
from hanseg_shared.documents import InputSummary, JobOptions
from hanseg_shared.errors import (
    HansegError,
    ImageContentError,
    OptionError,
    ServiceUnavailableError,
)
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs import Job, NewJob
from hanseg_shared.jobs.reconciler import publish_due
from hanseg_shared.jobs.store import Payload
from hanseg_shared.jobs.work import Services

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Image:
    """A file that was received: where it lies, and who has it in the store if anyone.

    Attributes:
        path: Where it lies for the time of the request.
        payload: Its hash and size.
        owner: The upload or job that it was copied from.
    """

    path: Path
    payload: Payload
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller wants to be contoured, received but not yet looked at."""

    ct: Image
    mr: Image | None
    options: JobOptions
    case: str | None = None

    @property
    def request_hash(self) -> str:
        """What two submissions share when they ask for the same."""
        return fingerprint(
            resource="job",
            ct=self.ct.payload.sha256,
            mr=self.mr.payload.sha256 if self.mr else None,
            options=self.options.model_dump(mode="json"),
            case=self.case,
        )

    def look(self, context: Context, halt: Halt) -> CaseCheck:
        """Return what the images are; see `look_at`."""
        ct, mr = self.ct, self.mr
        return look_at(
            context,
            ct.path,
            mr.path if mr else None,
            halt,
            limits=context.limits(self.options.model),
            sha256=(ct.payload.sha256, mr.payload.sha256 if mr else None),
        )


def submit(
    context: Context, submission: Submission, halt: Halt, *, key: str | None
) -> Job:
    """Return the job of a submission, made now or when its key was first used.

    Raises:
        ImageError: An image cannot be used.
        OptionError: An option has no such value.
        ServiceUnavailableError: No job can be taken now.
        RefusedError: The key was used for something else.
    """
    repository = context.services.repository

    def make() -> str:
        refuse_when_full(context.services)
        require_possible(context, submission.options)
        check = submission.look(context, halt)
        return create(context.services, submission, check).id

    return repository.get(once(repository, key, submission.request_hash, make))


def require_possible(context: Context, options: JobOptions) -> None:
    """Raise unless the options can be done and the model is installed.

    Raises:
        OptionError: They cannot, or it is not; the message says what can be had.
        ServiceUnavailableError: The model is left out, or none is installed.
    """
    require_available(options.registration, options.backend)
    require_installed(options.backend, context.services.settings.ants_python)
    found = offered_models(context.model_folders)
    if options.model in found.names:
        return
    if reason := found.reason_against(options.model):
        raise ServiceUnavailableError(f"model {options.model} cannot be used: {reason}")
    if not found.names:
        raise ServiceUnavailableError("no model is installed; install one")
    raise OptionError(
        f"no model is called {options.model!r}; installed: {', '.join(found.names)}"
    )


def create(services: Services, submission: Submission, check: CaseCheck) -> Job:
    """Store the images, insert the job and tell the queue.

    The broker may be out: the row is there, and a reconciler sends the message later.

    Raises:
        ServiceUnavailableError: The disk or the database does not take the job.
    """
    with stored(services, submission, check) as job_id:
        job = services.repository.create(new_job(submission, check, job_id))
    publish(services, job.id)
    return job


@contextmanager
def stored(
    services: Services, submission: Submission, check: CaseCheck
) -> Iterator[str]:
    """Put the images into the store and yield the id of the job that owns them.

    They are removed again when the body raises.
    """
    job_id = uuid.uuid4().hex
    images = {"ct": submission.ct, "mr": submission.mr}
    try:
        with disk_faults_translated():
            for summary in check.inputs:
                image = images[summary.role]
                assert image is not None
                _store(services, job_id, image, summary)
        yield job_id
    except BaseException:
        services.store.purge(job_id)
        raise


def new_job(submission: Submission, check: CaseCheck, job_id: str) -> NewJob:
    """Return the row of a job whose images are in the store."""
    return NewJob(
        id=job_id,
        inputs=check.inputs,
        remarks=check.remarks,
        options=submission.options,
        case_name=submission.case,
    )


def publish(services: Services, job_id: str) -> None:
    """Tell the queue of a job; the reconciler does it later where that fails."""
    logger.info("job %s is queued", job_id)
    try:
        job = services.repository.get(job_id)
        publish_due(job, services.repository, services.publisher)
    except HansegError as error:
        logger.warning("job %s: the reconciler will send it: %s", job_id, error)


def _store(
    services: Services, job_id: str, image: Image, summary: InputSummary
) -> None:
    if image.owner is not None:
        services.store.adopt(image.owner, image.payload.sha256, new_owner=job_id)
        return
    payload = services.store.put(job_id, image.path)
    if payload.sha256 != summary.sha256:
        raise ImageContentError(
            f"{image.path.name} changed while it was read; send it again"
        )
