"""Working on a stage: claim it, keep the lease, publish the result or the failure.

A stage's body is a plain function of a `Workplace`. It is run at most once at a time
for a job, whatever messages arrive, and what it returns is published as a whole.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from billiard.exceptions import SoftTimeLimitExceeded

from hanseg_shared.documents import Problem, ResultFile
from hanseg_shared.errors import (
    HansegError,
    JobCancelledError,
    LeaseLostError,
    ProcessLostError,
    ServiceUnavailableError,
    StoreError,
)
from hanseg_shared.jobs.lease import Lease, give_back
from hanseg_shared.jobs.memory_watch import MemoryWatch
from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.memory_limits import stage_limit
from hanseg_shared.problems import (
    DEADLINE,
    INTERNAL,
    OUT_OF_MEMORY,
    WORKER_LOST,
    problem_of,
)
from hanseg_shared.settings import Settings

logger = logging.getLogger(__name__)

NOTICE_SECONDS = 1.0
"""How long a worker whose process was killed waits for the notice that it must stop."""

MEDIA_TYPES = {
    ".json": "application/json",
    ".png": "image/png",
    ".gz": "application/gzip",
    ".tfm": "text/plain",
    ".dcm": "application/dicom",
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
            StoreError: One is not in the store any more.
        """
        carried = tuple(f for f in self.job.intermediate if f.name in names)
        for file in carried:
            if not self.services.store.exists(self.job.id, file.sha256):
                raise StoreError(f"{file.name} of {self.job.id} is not in the store")
        return carried

    def publish_files(self, folder: Path) -> tuple[ResultFile, ...]:
        """Copy every file of a folder into the store."""
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


def work_on(stage: Stage, job_id: str, body: Body, services: Services) -> None:
    """Claim a job's stage, run its body and publish what came of it.

    A message that comes twice, too late or for a cancelled job does nothing. An error
    of the product's own fails the job; anything else gives it back to be tried again,
    until the attempts are used up: at once, or after a while when the store or the
    database failed or a process was killed, for want of memory most often. A worker
    that must stop gives the job back at once, and the attempt does not count.
    """
    claims = services.tables.claims
    job = claims.claim(job_id, stage, lease_seconds=services.settings.lease_seconds)
    if job is None:
        logger.info("job %s: nothing to do for %s", job_id, stage.state)
        return
    logger.info("job %s: %s, attempt %d", job_id, stage.state, job.attempts)
    try:
        _publish(job, stage, _run(body, job, stage, services), services)
    except JobCancelledError:
        claims.end_cancelled(job)
        logger.info("job %s: cancelled while %s", job_id, stage.state)
    except LeaseLostError as error:
        logger.warning("%s", error)
    except SystemExit:  # the worker's signal handler: its time of grace is over
        give_back(job, services)
        raise
    except SoftTimeLimitExceeded:
        claims.fail(job, _describe_deadline(stage, services.settings))
    except (ProcessLostError, StoreError, ServiceUnavailableError) as error:
        logger.warning("job %s: %s is put off: %s", job_id, stage.state, error)
        _try_again(job, services, error, later=True)
    except OSError as error:  # the scratch folder's disk is full, most often
        logger.exception("job %s: %s is put off", job_id, stage.state)
        _try_again(job, services, _as_store_error(error), later=True)
    except HansegError as error:
        logger.warning("job %s: failed while %s: %s", job_id, stage.state, error)
        claims.fail(job, problem_of(error, instance=f"/v1/jobs/{job_id}"))
    except Exception as error:
        logger.exception("job %s: an unexpected error while %s", job_id, stage.state)
        _try_again(job, services, error)


def _run(body: Body, job: Job, stage: Stage, services: Services) -> StageResult:
    with (  # the lease last: deleting a large scratch folder takes its time
        Lease(services, job, stage) as lease,
        _watch_memory(services, job, stage),
        _make_scratch(services.settings) as folder,
    ):
        result = body(Workplace(job, folder, services, lease))
        lease.check()
    return result


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


def _publish(job: Job, stage: Stage, result: StageResult, services: Services) -> None:
    if not services.tables.claims.finish_stage(job, stage, result):
        # cancelled at the last moment, or fenced off
        services.tables.claims.end_cancelled(job)
        return
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
        give_back(job, services)
        return
    if job.attempts < services.settings.attempts:
        services.tables.claims.release(job, later=later)
        return
    detail = error.message if isinstance(error, HansegError) else type(error).__name__
    kind = WORKER_LOST if isinstance(error, ProcessLostError) else INTERNAL
    services.tables.claims.fail(
        job,
        kind.problem(
            f"{detail} (tried {job.attempts} times; the worker's log has the details)"
        ),
    )


def _as_store_error(error: OSError) -> StoreError:
    return StoreError(f"a file could not be written: {error.strerror or error}")


@contextmanager
def _make_scratch(settings: Settings) -> Iterator[Path]:
    settings.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="attempt-", dir=settings.scratch, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
