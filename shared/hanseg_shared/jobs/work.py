"""Working on a stage: claim it, keep the lease, publish the result or the failure.

A stage's body is a plain function of a `Workplace`. It is run at most once at a time
for a job, whatever messages arrive, and what it returns is published as a whole.
"""

from __future__ import annotations

import logging
import math
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from billiard.exceptions import SoftTimeLimitExceeded

from hanseg_shared.documents import Progress, ResultFile
from hanseg_shared.errors import (
    HansegError,
    JobCancelledError,
    LeaseLostError,
    ProcessLostError,
    ServiceUnavailableError,
    StoreError,
)
from hanseg_shared.jobs.memory_watch import MemoryWatch
from hanseg_shared.jobs.messages import Publisher
from hanseg_shared.jobs.reconciler import publish_due
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.repository import JobRepository, StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
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

PROGRESS_SECONDS = 1.0
"""How often progress is written to the row."""

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


class StopNotice:
    """Whether this worker was told to stop, and until when its stage may go on."""

    def __init__(self) -> None:
        self._given = threading.Event()
        self._until = math.inf

    def give(self, *, grace_seconds: float) -> None:
        """Tell the worker to stop, after a time of grace; the shortest one counts."""
        self._until = min(self._until, time.monotonic() + grace_seconds)
        self._given.set()

    def is_given(self, *, within_seconds: float = 0.0) -> bool:
        """Whether it was given, or is within a time that is waited for."""
        return self._given.wait(within_seconds)

    @property
    def is_due(self) -> bool:
        """Whether the time of grace is over."""
        return time.monotonic() >= self._until


@dataclass(frozen=True, slots=True)
class Services:
    """What a worker works with."""

    repository: JobRepository
    store: PayloadStore
    publisher: Publisher
    settings: Settings
    stop: StopNotice = field(default_factory=StopNotice)


class Lease:
    """Keeps a claimed job ours, from a thread of its own.

    The thread renews the lease, writes the progress and learns of a cancel. When the
    worker must stop, it gives the job back, whatever the working thread is busy with.
    The working thread asks `check` between its steps.
    """

    def __init__(self, services: Services, job: Job, stage: Stage) -> None:
        self._services = services
        self._job = job
        self._stage = stage
        self._done = 0.0
        self._written = 0.0
        self._cancelled = False
        self._lost = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def check(self) -> None:
        """Return if the work should go on.

        Raises:
            JobCancelledError: Someone cancelled the job.
            LeaseLostError: The job belongs to another worker now.
        """
        if self._lost:
            raise LeaseLostError(f"job {self._job.id} belongs to another worker now")
        if self._cancelled:
            raise JobCancelledError(f"job {self._job.id} was cancelled")

    def progress(self, done: float) -> None:
        """Note the share of the stage's work that is done, 0..1, and `check`."""
        self._done = done
        self.check()

    def _renew(self) -> None:
        lease_seconds = self._services.settings.lease_seconds
        interval = min(PROGRESS_SECONDS, lease_seconds / 3)
        expires = time.monotonic() + lease_seconds
        while not self._stopping.wait(interval):
            if self._services.stop.is_due and _give_back(self._job, self._services):
                self._lost = True
                return
            asked = time.monotonic()
            try:
                going_on = self._services.repository.renew(
                    self._job.id,
                    self._job.token or "",
                    lease_seconds=lease_seconds,
                    progress=self._changed_progress(),
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, try again
                logger.warning("job %s: cannot renew: %s", self._job.id, error)
                self._lost = time.monotonic() > expires
                continue
            if going_on is None:
                self._lost = True
                return
            expires = asked + lease_seconds
            self._lost = False
            self._cancelled = not going_on

    def _changed_progress(self) -> Progress | None:
        if self._done == self._written:
            return None
        self._written = self._done
        return Progress(stage=self._stage.state, done=round(self._done, 3))


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
    that is told to stop gives the job back at once, and the attempt does not count.
    """
    job = services.repository.claim(
        job_id, stage, lease_seconds=services.settings.lease_seconds
    )
    if job is None:
        logger.info("job %s: nothing to do for %s", job_id, stage.state)
        return
    logger.info("job %s: %s, attempt %d", job_id, stage.state, job.attempts)
    try:
        with (  # the lease last: deleting a large scratch folder takes its time
            Lease(services, job, stage) as lease,
            _memory_watch(services, job, stage),
            _scratch(services.settings) as folder,
        ):
            result = body(Workplace(job, folder, services, lease))
            lease.check()
        _publish(job, stage, result, services)
    except JobCancelledError:
        services.repository.end_cancelled(job)
        logger.info("job %s: cancelled while %s", job_id, stage.state)
    except LeaseLostError as error:
        logger.warning("%s", error)
    except SystemExit:  # the worker's signal handler: its time of grace is over
        _give_back(job, services)
        raise
    except SoftTimeLimitExceeded:
        limit = services.settings.stage_seconds
        services.repository.fail(
            job,
            DEADLINE.problem(
                f"{stage.state} was stopped at its limit of {limit} s for one stage; "
                "HANSEG_STAGE_SECONDS raises it"
            ),
        )
    except (ProcessLostError, StoreError, ServiceUnavailableError) as error:
        logger.warning("job %s: %s is put off: %s", job_id, stage.state, error)
        _try_again(job, services, error, later=True)
    except OSError as error:  # the scratch folder's disk is full, most often
        logger.exception("job %s: %s is put off", job_id, stage.state)
        _try_again(job, services, _as_store_error(error), later=True)
    except HansegError as error:
        logger.warning("job %s: failed while %s: %s", job_id, stage.state, error)
        services.repository.fail(job, problem_of(error, instance=f"/v1/jobs/{job_id}"))
    except Exception as error:
        logger.exception("job %s: an unexpected error while %s", job_id, stage.state)
        _try_again(job, services, error)


def _memory_watch(services: Services, job: Job, stage: Stage) -> MemoryWatch:
    def fail(why: str) -> None:
        logger.error("job %s: %s was stopped: %s", job.id, stage.state, why)
        services.repository.fail(
            job, OUT_OF_MEMORY.problem(f"{stage.state} was stopped: {why}")
        )

    limit = stage_limit(services.settings.stage_memory_bytes)
    return MemoryWatch(limit, fail=fail)


def _publish(job: Job, stage: Stage, result: StageResult, services: Services) -> None:
    if not services.repository.finish_stage(job, stage, result):
        # cancelled at the last moment, or fenced off
        services.repository.end_cancelled(job)
        return
    logger.info("job %s: %s is done", job.id, stage.state)
    try:
        publish_due(
            services.repository.get(job.id), services.repository, services.publisher
        )
    except ServiceUnavailableError as error:
        logger.warning("job %s: the reconciler will send it on: %s", job.id, error)


def _is_stopping(services: Services) -> bool:
    # Who stops a worker may signal all its processes at once, and one that computes
    # may be gone before the notice is here.
    return services.stop.is_given(within_seconds=NOTICE_SECONDS)


def _give_back(job: Job, services: Services) -> bool:
    """Make a claimed stage due again at once, as if it had not been begun.

    Returns:
        False when it could not be done; the lease then lapses.
    """
    try:
        if services.repository.release(job, counted=False):
            logger.warning("job %s is given back: the worker stops", job.id)
            publish_due(
                services.repository.get(job.id), services.repository, services.publisher
            )
    except ServiceUnavailableError as error:  # the reconciler does the rest
        logger.warning("job %s: %s", job.id, error)
        return False
    return True


def _try_again(
    job: Job, services: Services, error: Exception, *, later: bool = False
) -> None:
    if isinstance(error, ProcessLostError) and _is_stopping(services):
        _give_back(job, services)
        return
    if job.attempts < services.settings.attempts:
        services.repository.release(job, later=later)
        return
    detail = error.message if isinstance(error, HansegError) else type(error).__name__
    kind = WORKER_LOST if isinstance(error, ProcessLostError) else INTERNAL
    services.repository.fail(
        job,
        kind.problem(
            f"{detail} (tried {job.attempts} times; the worker's log has the details)"
        ),
    )


def _as_store_error(error: OSError) -> StoreError:
    return StoreError(f"a file could not be written: {error.strerror or error}")


@contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    settings.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="attempt-", dir=settings.scratch, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
