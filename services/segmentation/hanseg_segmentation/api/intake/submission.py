"""Making a job of a case: prepare it, store its files, insert the row, publish it.

If a step before the insertion fails, nothing is left behind.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from fastapi import Request

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import translate_disk_faults
from hanseg_segmentation.api.intake.admission import queue_bounds, refuse_when_full
from hanseg_segmentation.api.intake.checking import check_and_make
from hanseg_segmentation.api.intake.idempotency import make_once
from hanseg_segmentation.api.intake.images import Image
from hanseg_segmentation.api.intake.preparing import (
    PreparedCase,
    as_intake,
    prepare,
)
from hanseg_segmentation.api.intake.received import Submission
from hanseg_segmentation.api.principal import Principal
from hanseg_segmentation.packages.installed import offered_models
from hanseg_shared.available import require_available, require_installed
from hanseg_shared.documents import JobOptions, ResultFile
from hanseg_shared.errors import (
    HansegError,
    ImageContentError,
    JobNotFoundError,
    JobStateError,
    OptionError,
    ServiceUnavailableError,
    StoreError,
)
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.tables.keys import KeyClaim
from hanseg_shared.traces import step

logger = logging.getLogger(__name__)


async def submit_checked(
    request: Request,
    context: Context,
    principal: Principal,
    submission: Submission,
    folder: Path,
    *,
    owned_by: str,
    key: str | None,
) -> Job:
    """Do what `submit` does in a place for checks, while the client is there.

    Raises:
        ClientDisconnect: The client went away.
        RefusedError: As `submit`, or the check took too long.
        ServiceUnavailableError: As `submit`, or no place was free.
    """
    return await check_and_make(
        request,
        context.checking,
        principal,
        partial(submit, context, submission, folder, owned_by=owned_by, key=key),
        seconds=context.services.settings.check_seconds,
    )


def submit(
    context: Context,
    submission: Submission,
    folder: Path,
    halt: Halt,
    *,
    owned_by: str,
    key: str | None,
) -> Job:
    """Return the job of a submission, made now or when its key was first used.

    Args:
        context: What the application works with.
        submission: The case.
        folder: Where files may lie for the time of the request.
        halt: Ends the conversion and the check.
        owned_by: Whose job it will be.
        key: From `scope_key`.

    Raises:
        ImageError: An image cannot be used.
        OptionError: An option has no such value.
        ServiceUnavailableError: No job can be taken now.
        RefusedError: The key was used for something else.
    """
    tables = context.services.tables

    def make(claim: KeyClaim | None) -> Job:
        refuse_when_full(context, owned_by=owned_by)
        require_possible(context, submission.options)
        case = prepare(context, submission, folder, halt)
        return create(context.services, case, owned_by, key=claim)

    return make_once(
        tables.keys, key, submission.request_hash, make, find=tables.jobs.get
    )


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


def create(
    services: Services, case: PreparedCase, owned_by: str, *, key: KeyClaim | None
) -> Job:
    """Store the case's files, insert the job, publish it, and return it as it was made.

    A worker may have it already. The broker may be down: the row exists, and a
    reconciler sends the message later.

    Raises:
        LeaseLostError: Another request has taken the key over.
        ServiceUnavailableError: The disk or the database does not take the job.
    """
    bounds = queue_bounds(services, owned_by)
    with (
        store_cases(services, [case], owned_by) as [new_job],
        as_intake(services, new_job.id),
        step("insert"),
    ):
        job = services.tables.jobs.create(new_job, key=key, bounds=bounds)
    publish(services, job.id)
    return job


@contextmanager
def store_cases(
    services: Services, cases: Sequence[PreparedCase], owned_by: str
) -> Iterator[list[NewJob]]:
    """Put the files of cases into the store and yield the rows of their jobs.

    All files are removed again when the body raises, unless a job may own them.
    """
    with ExitStack() as stack:
        yield [
            stack.enter_context(_store_case(services, case, owned_by)) for case in cases
        ]


@contextmanager
def _store_case(
    services: Services, case: PreparedCase, owned_by: str
) -> Iterator[NewJob]:
    job_id = case.job_id
    try:
        with as_intake(services, job_id), step("store"), translate_disk_faults():
            for summary in case.inputs:
                _store(services, job_id, case.images[summary.role], summary.sha256)
            attachments = tuple(
                _attach(services, job_id, name, image)
                for name, image in case.attachments.items()
            )
        yield NewJob(
            id=job_id,
            inputs=case.inputs,
            remarks=case.remarks,
            attachments=attachments,
            options=case.options,
            case_name=case.name,
            owned_by=owned_by,
            follows=case.follows,
            priority=case.priority,
        )
    except BaseException:
        if _is_nobodys(services, job_id):
            services.store.purge(job_id)
        raise


def _is_nobodys(services: Services, job_id: str) -> bool:
    """Whether a job was surely not made: a commit's answer may be lost on its way.

    Where nothing is known the files stay; a sweep deletes what has no job.
    """
    try:
        services.tables.jobs.get(job_id)
    except JobNotFoundError:
        return True
    except HansegError:
        return False
    return False


def publish(services: Services, job_id: str) -> None:
    """Send a job to its queue; if that fails, the reconciler does it later."""
    logger.info("job %s is queued", job_id)
    try:
        job = services.tables.jobs.get(job_id)
        services.publish_due(job)
    except HansegError as error:
        logger.warning("job %s: the reconciler will send it: %s", job_id, error)


def _adopt(services: Services, job_id: str, image: Image, owner: str) -> None:
    try:
        services.store.adopt(owner, image.payload.sha256, new_owner=job_id)
    except StoreError:
        if owner in services.tables.jobs.owners().kept:
            raise
        raise JobStateError(
            "an image was deleted while a job was made of it; send the case again"
        ) from None


def _store(services: Services, job_id: str, image: Image, sha256: str) -> None:
    if image.owner is not None:
        _adopt(services, job_id, image, image.owner)
        return
    payload = services.store.put(job_id, image.path)
    if payload.sha256 != sha256:
        raise ImageContentError(
            f"{image.path.name} changed while it was read; send it again"
        )


def _attach(services: Services, job_id: str, name: str, image: Image) -> ResultFile:
    _store(services, job_id, image, image.payload.sha256)
    return ResultFile(
        name=name,
        sha256=image.payload.sha256,
        bytes=image.payload.bytes,
        media_type="application/json",
    )
