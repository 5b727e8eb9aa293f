"""The lease of a claimed job: kept from a thread of its own while a stage works.

When the worker must stop, the thread gives the job back, whatever else goes on.
"""

from __future__ import annotations

import logging
import threading

from hanseg_shared.documents import Progress
from hanseg_shared.errors import (
    JobCancelledError,
    LeaseLostError,
    ServiceUnavailableError,
)
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.logs import keep_fields

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
"""How often progress is written to the row."""


class Lease:
    """Keeps a claimed job ours, from a thread of its own.

    The thread renews the lease, writes the progress and notices a cancel. When the
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
        self._thread = threading.Thread(
            target=keep_fields(self._renew), name="lease", daemon=True
        )

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
        while not self._stopping.wait(interval):
            if self._services.stop.is_due and give_back(self._job, self._services):
                self._lost = True
                return
            try:
                going_on = self._services.tables.claims.renew(
                    self._job.id,
                    self._job.token or "",
                    lease_seconds=lease_seconds,
                    progress=self._take_progress(),
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, try again
                # while the database is away, nobody else can have the job; and what a
                # worker writes that has lost it is fenced off
                logger.warning("job %s: cannot renew: %s", self._job.id, error)
                continue
            if going_on is None:
                self._lost = True
                return
            self._cancelled = not going_on

    def _take_progress(self) -> Progress | None:
        if self._done == self._written:
            return None
        self._written = self._done
        return Progress(stage=self._stage.state, done=round(self._done, 3))


def give_back(job: Job, services: Services) -> bool:
    """Make a claimed stage due again at once, as if it had not been begun.

    Returns:
        False when it could not be done; the lease then lapses.
    """
    try:
        if services.tables.claims.release(job, counted=False):
            logger.warning("job %s is given back: the worker stops", job.id)
            services.publish_due(services.tables.jobs.get(job.id))
    except ServiceUnavailableError as error:  # the reconciler does the rest
        logger.warning("job %s: %s", job.id, error)
        return False
    return True
