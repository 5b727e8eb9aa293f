"""Making a job of images: check them, store them, insert the row, publish it.

If a step before the insertion fails, nothing is left behind.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import translate_disk_faults
from hanseg_segmentation.api.intake.admission import refuse_when_full
from hanseg_segmentation.api.intake.checking import check_images
from hanseg_segmentation.api.intake.idempotency import fingerprint, make_once
from hanseg_segmentation.api.intake.images import Image
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
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.services import Services

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """A case to contour, received but not yet checked."""

    ct: Image
    mr: Image | None
    options: JobOptions
    case: str | None = None

    @property
    def request_hash(self) -> str:
        """A hash that two submissions share if they ask for the same."""
        return fingerprint(
            resource="job",
            ct=self.ct.payload.sha256,
            mr=self.mr.payload.sha256 if self.mr else None,
            options=self.options.model_dump(mode="json"),
            case=self.case,
        )

    def check_images(self, context: Context, halt: Halt) -> CaseCheck:
        """Return what the images are; see `check_images`."""
        ct, mr = self.ct, self.mr
        return check_images(
            context,
            ct.path,
            mr.path if mr else None,
            halt,
            limits=context.limits(self.options.model),
            sha256=(ct.payload.sha256, mr.payload.sha256 if mr else None),
        )


@dataclass(frozen=True, slots=True)
class CheckedCase:
    """A case that was checked and can be used."""

    submission: Submission
    check: CaseCheck


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
    tables = context.services.tables

    def make() -> str:
        refuse_when_full(context.services)
        require_possible(context, submission.options)
        case = CheckedCase(submission, submission.check_images(context, halt))
        return create(context.services, case).id

    return tables.jobs.get(make_once(tables.keys, key, submission.request_hash, make))


def require_possible(context: Context, options: JobOptions) -> None:
    """Raise unless the options can be done and the model is installed.

    Raises:
        OptionError: They cannot, or it is not; the message says what is available.
        ServiceUnavailableError: The model cannot be used, or none is installed.
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


def create(services: Services, case: CheckedCase) -> Job:
    """Store the images, insert the job and publish it.

    The broker may be down: the row exists, and a reconciler sends the message later.

    Raises:
        ServiceUnavailableError: The disk or the database does not take the job.
    """
    with store_cases(services, [case]) as [new_job]:
        job = services.tables.jobs.create(new_job)
    publish(services, job.id)
    return job


@contextmanager
def store_cases(
    services: Services, cases: Sequence[CheckedCase]
) -> Iterator[list[NewJob]]:
    """Put the images of cases into the store and yield the rows of their jobs.

    All images are removed again when the body raises.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_store_case(services, case)) for case in cases]


@contextmanager
def _store_case(services: Services, case: CheckedCase) -> Iterator[NewJob]:
    job_id = uuid.uuid4().hex
    submission = case.submission
    images = {"ct": submission.ct, "mr": submission.mr}
    try:
        with translate_disk_faults():
            for summary in case.check.inputs:
                image = images[summary.role]
                assert image is not None
                _store(services, job_id, image, summary)
        yield NewJob(
            id=job_id,
            inputs=case.check.inputs,
            remarks=case.check.remarks,
            options=submission.options,
            case_name=submission.case,
        )
    except BaseException:
        services.store.purge(job_id)
        raise


def publish(services: Services, job_id: str) -> None:
    """Send a job to its queue; if that fails, the reconciler does it later."""
    logger.info("job %s is queued", job_id)
    try:
        job = services.tables.jobs.get(job_id)
        services.publish_due(job)
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
