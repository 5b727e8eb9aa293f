"""Working on a stage: claim it, keep the lease, publish the result or the failure.

A stage's body is a plain function of a `Workplace`. It is run at most once at a time
for a job, whatever messages arrive, and what it returns is published as a whole.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from billiard.exceptions import SoftTimeLimitExceeded

from hanseg_shared.documents import Problem, ResultFile
from hanseg_shared.errors import (
    HansegError,
    JobCancelledError,
    JobError,
    LeaseLostError,
    ProcessLostError,
    ServiceUnavailableError,
    StoreError,
)
from hanseg_shared.jobs.attempts import (
    tell_findings,
    tell_outcome,
    trace_attempt,
)
from hanseg_shared.jobs.lease import Lease, give_back
from hanseg_shared.jobs.machine_faults import is_machine_fault
from hanseg_shared.jobs.memory_watch import MemoryWatch
from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.turns import Wish
from hanseg_shared.log_filter import keep_out_of_log
from hanseg_shared.logs import log_fields
from hanseg_shared.memory_faults import is_out_of_memory
from hanseg_shared.memory_limits import stage_limit
from hanseg_shared.problems import (
    DEADLINE,
    INTERNAL,
    OUT_OF_MEMORY,
    WORKER_LOST,
    problem_of,
)
from hanseg_shared.settings import Settings
from hanseg_shared.traces import step

logger = logging.getLogger(__name__)

T = TypeVar("T")

NOTICE_SECONDS = 1.0
"""How long a worker whose process was killed waits for the notice that it must stop."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
"""Between two tries to write to a database that does not take it."""

MOST_BEGINNINGS = 30
"""A job that was begun so often is itself at fault for what it meets."""

MEDIA_TYPES = {
    ".json": "application/json",
    ".png": "image/png",
    ".gz": "application/gzip",
    ".tfm": "text/plain",
    ".dcm": "application/dicom",
    ".pdf": "application/pdf",
    ".sig": "application/json",
}
"""Media types of result files by their last suffix."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a stage's body sees: the job, a scratch folder, the store, the lease."""

    job: Job
    folder: Path
    services: Services
    lease: Lease

    @property
    def is_last_attempt(self) -> bool:
        """Whether the stage is not tried again should this attempt fail now."""
        used_up = self.job.attempts >= self.services.settings.attempts
        return used_up and not _is_stopping(self.services)

    def fetch_input(self, role: str) -> Path | None:
        """Copy an input into the folder; None when the job has none of that role."""
        image = self.job.input(role)
        if image is None:
            return None
        target = self.folder / role
        with step("fetch", role=role):
            self.services.store.fetch(self.job.id, image.sha256, target)
        return target

    def fetch_intermediate(self, name: str) -> Path | None:
        """Copy an earlier stage's file into the folder; None when there is none."""
        file = next((f for f in self.job.intermediate if f.name == name), None)
        if file is None:
            return None
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        self.services.store.fetch(self.job.id, file.sha256, target)
        return target

    def carry(self, names: Collection[str]) -> tuple[ResultFile, ...]:
        """Return those files of earlier stages, which the store has, to be results.

        Raises:
            StoreError: One is not in the store any more, or was altered there.
        """
        carried = tuple(f for f in self.job.intermediate if f.name in names)
        for file in carried:
            self.services.store.verify(self.job.id, file.sha256)
        return carried

    def publish_files(self, folder: Path) -> tuple[ResultFile, ...]:
        """Copy every file of a folder into the store."""
        with step("store"):
            return tuple(
                self.publish_file(path, path.relative_to(folder).as_posix())
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            )

    def publish_file(self, path: Path, name: str) -> ResultFile:
        """Copy a file into the store; it becomes a result when the stage ends."""
        payload = self.services.store.put(self.job.id, path)
        return ResultFile(
            name=name,
            sha256=payload.sha256,
            bytes=payload.bytes,
            media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        )


Body = Callable[[Workplace], StageResult]


def work_on_next(
    bodies: Mapping[Stage, Body],
    wish: Wish,
    services: Services,
    *,
    named: str | None = None,
) -> None:
    """Claim the job whose turn it is, do its stage and publish what came of it.

    Args:
        bodies: What is done for each stage of the wish.
        wish: What this worker can take.
        services: Those of the worker.
        named: The job that the message named.
    """
    claimed = services.tables.claims.claim_next(
        wish, lease_seconds=services.settings.lease_seconds, named=named
    )
    if claimed is None:
        logger.info("nothing is due for this worker")
        return
    job, stage = claimed.job, claimed.stage
    with log_fields(job=job.id, stage=stage.state.value):
        _work_on_claimed(job, stage, bodies[stage], services)
    _wake_workers(job.owned_by, services)


def _wake_workers(owned_by: str, services: Services) -> None:
    """Send messages for what an owner's limit held back, of whom a stage has ended.

    The messages were sent before, and came when the owner had no place free.
    """
    turns = services.tables.turns
    most = services.settings.max_running_jobs_a_caller or None
    try:
        if owned_by in turns.free_places([owned_by], most):
            for job_id, state in turns.list_first_due(owned_by):
                services.publish(job_id, state)
    except ServiceUnavailableError as error:
        logger.warning("the reconciler will wake the workers: %s", error)


def work_on(stage: Stage, job_id: str, body: Body, services: Services) -> None:
    """Claim one job's stage, run its body and publish what came of it.

    If there is nothing to do for that job, nothing is done. An error of the product's
    own fails the job; anything else gives it back to be tried again, until the attempts
    are used up: at once, or after a while when the store failed or a process was
    killed, for want of memory most often. A fault of the machine, such as a full disk,
    costs no attempt; neither does a worker that must stop.
    """
    with log_fields(job=job_id, stage=stage.state.value):
        job = services.tables.claims.claim(
            job_id, stage, lease_seconds=services.settings.lease_seconds
        )
        if job is None:
            logger.info("job %s: nothing to do for %s", job_id, stage.state)
            return
        _work_on_claimed(job, stage, body, services)


def _work_on_claimed(job: Job, stage: Stage, body: Body, services: Services) -> None:
    keep_out_of_log(job.case_name)
    with log_fields(attempt=job.total_attempts):
        logger.info("job %s: %s, attempt %d", job.id, stage.state, job.attempts)
        with trace_attempt(services.tracer, job, stage):
            _settle(job, stage, body, services)


def _settle(job: Job, stage: Stage, body: Body, services: Services) -> None:
    """Run the body of a stage that was claimed, and write down what came of it."""
    claims, job_id = services.tables.claims, job.id
    try:
        _run(body, job, stage, services)
    except JobCancelledError:
        insist(lambda: claims.end_cancelled(job), services)
        tell_outcome("cancelled")
        logger.info("job %s: cancelled while %s", job_id, stage.state)
    except LeaseLostError as error:
        tell_outcome("lease lost")
        logger.warning("%s", error)
    except SystemExit:  # the worker's signal handler: its time of grace is over
        tell_outcome("given back")
        give_back(job, services)
        raise
    except SoftTimeLimitExceeded:
        _fail(job, services, _describe_deadline(stage, services.settings))
    except MachineFaultError as fault:
        logger.warning("job %s: %s waits: %s", job_id, stage.state, fault)
        _wait_for_machine(job, services, fault)
    except (ProcessLostError, StoreError, OSError) as error:
        what = _say_what_failed(error)
        logger.warning("job %s: %s is put off: %s", job_id, stage.state, what)
        _try_again(job, services, error, later=True)
    except HansegError as error:
        logger.warning("job %s: failed while %s: %s", job_id, stage.state, error)
        _fail(job, services, problem_of(error, instance=f"/v1/jobs/{job_id}"))
    except Exception as error:
        logger.exception("job %s: an unexpected error while %s", job_id, stage.state)
        _try_again(job, services, error)


def _run(body: Body, job: Job, stage: Stage, services: Services) -> None:
    scratch, began = Scratch(services.settings.scratch), time.monotonic()
    with (  # the folder says that this worker lives: it stays until all is published
        Lease(services, job, stage) as lease,
        _watch_memory(services, job, stage),
        _find_machine_faults(services.settings),
        scratch.hold_attempt(job.id, job.total_attempts) as folder,
        _find_machine_faults(services.settings),  # while the disk is as full as it was
        _keep_temporary_files_in(folder),
    ):
        with step("body"):
            result = body(Workplace(job, folder, services, lease))
        tell_findings(result)
        lease.check()
        _publish(job, stage, result, services, seconds=time.monotonic() - began)


@contextmanager
def _keep_temporary_files_in(folder: Path) -> Iterator[None]:
    """Have what libraries write go with the attempt's folder, whoever removes it."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


class MachineFaultError(ServiceUnavailableError):
    """The machine kept a stage from being done: the disk is full, most often."""


@contextmanager
def _find_machine_faults(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (JobError, SoftTimeLimitExceeded, MachineFaultError):
        raise
    except Exception as error:
        if is_machine_fault(error, settings.scratch):
            raise MachineFaultError(_say_what_failed(error)) from error
        if isinstance(error, HansegError) or not is_out_of_memory(error):
            raise
        raise ProcessLostError("the worker ran out of memory") from error


def insist(write: Callable[[], T], services: Services) -> T:
    """Do a write to the database as soon as it can be done: it may be away, or full.

    Raises:
        ServiceUnavailableError: It could not, until this worker had to stop.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return write()
        except ServiceUnavailableError as error:
            logger.warning("the worker waits for the database: %s", error)
            try:
                if services.stop.is_given(within_seconds=pause):
                    raise
            except SoftTimeLimitExceeded:  # this was no time of the stage's own
                raise error from None
        pause = min(2.0 * pause, LONGEST_PAUSE_SECONDS)


def _describe_deadline(stage: Stage, settings: Settings) -> Problem:
    return DEADLINE.problem(
        f"{stage.state} was stopped at its limit of {settings.stage_seconds} s for one "
        "stage; HANSEG_STAGE_SECONDS raises it"
    )


def _watch_memory(services: Services, job: Job, stage: Stage) -> MemoryWatch:
    def fail(why: str) -> None:
        logger.error("job %s: %s was stopped: %s", job.id, stage.state, why)
        services.tables.claims.fail(
            job, OUT_OF_MEMORY.problem(f"{stage.state} was stopped: {why}")
        )

    limit = stage_limit(services.settings.stage_memory_bytes)
    return MemoryWatch(limit, fail=fail)


def _publish(
    job: Job, stage: Stage, result: StageResult, services: Services, *, seconds: float
) -> None:
    claims = services.tables.claims
    with step("publish"):
        is_published = insist(
            lambda: claims.finish_stage(job, stage, result, attempt_seconds=seconds),
            services,
        )
    if not is_published:  # cancelled at the last moment, or fenced off
        is_cancelled = insist(lambda: claims.end_cancelled(job), services)
        tell_outcome("cancelled" if is_cancelled else "lease lost")
        return
    tell_outcome("done")
    logger.info("job %s: %s is done", job.id, stage.state)
    try:
        services.publish_due(services.tables.jobs.get(job.id))
    except ServiceUnavailableError as error:
        logger.warning("job %s: the reconciler will send it on: %s", job.id, error)


def _is_stopping(services: Services) -> bool:
    # Who stops a worker may signal all its processes at once, and one that computes
    # may be gone before the notice is here.
    return services.stop.is_given(within_seconds=NOTICE_SECONDS)


def _try_again(
    job: Job, services: Services, error: Exception, *, later: bool = False
) -> None:
    if isinstance(error, ProcessLostError) and _is_stopping(services):
        tell_outcome("given back")
        give_back(job, services)
        return
    if job.attempts < services.settings.attempts:
        tell_outcome("put off", again_later=later)
        insist(lambda: services.tables.claims.release(job, later=later), services)
        return
    detail = _say_what_failed(error)
    kind = WORKER_LOST if isinstance(error, ProcessLostError) else INTERNAL
    tried = f"tried {job.attempts} times; the worker's log has the details"
    _fail(job, services, kind.problem(f"{detail} ({tried})"))


def _fail(job: Job, services: Services, problem: Problem) -> None:
    tell_outcome("failed", problem=problem.type)
    insist(lambda: services.tables.claims.fail(job, problem), services)


def _wait_for_machine(job: Job, services: Services, fault: MachineFaultError) -> None:
    """Give a job back without counting the attempt, unless it was begun too often.

    Workers wait before they claim while the machine is at fault; so a job that meets
    such faults again and again brings them about: it is too large for the disk.
    """
    if job.total_attempts >= MOST_BEGINNINGS:
        _try_again(job, services, fault, later=True)
        return
    tell_outcome("waits for the machine")
    claims = services.tables.claims
    insist(lambda: claims.release(job, later=True, counted=False), services)


def _say_what_failed(error: Exception) -> str:
    """Return an error without the paths that an exception of Python's names."""
    if isinstance(error, HansegError):
        return error.message
    if isinstance(error, OSError):
        return f"a file could not be written: {error.strerror or 'no reason given'}"
    return type(error).__name__
