"""Puts right what was lost: leases of dead workers, messages, files past their time.

Every step is idempotent and conditional, so that any number of reconcilers may run.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from hanseg_shared.errors import HansegError, ServiceUnavailableError
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.repository import JobRepository
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.messages import Publisher
from hanseg_shared.problems import EXPIRED, WORKER_LOST
from hanseg_shared.settings import Settings
from hanseg_shared.store import PayloadStore

logger = logging.getLogger(__name__)

UPLOAD_SECONDS = 24 * 3600.0
"""How long an upload that no job has used is kept."""

PATIENCE = 10
"""A message is sent again, even to a queue that is not empty, after so many times
the time after which it may be presumed lost."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """One pass looks at every unfinished job; see `run_once`."""

    repository: JobRepository
    store: PayloadStore
    publisher: Publisher
    settings: Settings

    def run_once(self) -> None:
        """Release lost leases, send lost messages again, delete what has expired."""
        self._release_lost_leases()
        self._publish_due()
        self._expire()

    def _release_lost_leases(self) -> None:
        tries = self.settings.attempts
        problem = WORKER_LOST.problem(
            f"the worker died or hung {tries} times while it had this job; the last "
            "cause is in the worker's log, most often too little memory"
        )
        released, failed = self.repository.release_lost_leases(
            attempts=tries, problem=problem
        )
        for job_id in released:
            logger.warning("job %s lost its worker and is due again", job_id)
        for job_id in failed:
            logger.error(
                "job %s lost its worker %d times and has failed", job_id, tries
            )

    def _publish_due(self) -> None:
        for job in self.repository.due(published_before_seconds=None):
            publish_due(job, self.repository, self.publisher)
        for job in self.repository.due(
            published_before_seconds=self.settings.republish_seconds
        ):
            if self._message_may_be_lost(job):
                logger.warning("job %s: its message is sent again", job.id)
                publish_due(job, self.repository, self.publisher)

    def _message_may_be_lost(self, job: Job) -> bool:
        # While the queue holds messages, this one is probably among them; sending
        # it again and again would only fill the queue.
        stage = Stage.due_in(job.state)
        if stage is None or self.publisher.waiting(stage.queue) == 0:
            return True
        patience = PATIENCE * self.settings.republish_seconds
        return self.repository.now() - (job.published_at or 0.0) > patience

    def _expire(self) -> None:
        for job in self.repository.expired():
            self.repository.mark_expired(
                job.id, EXPIRED.problem("the job's files were kept for their time")
            )
            self.store.purge(job.id)
            logger.info("job %s expired, its files are deleted", job.id)
        for upload in self.repository.drop_old_uploads(
            older_than_seconds=UPLOAD_SECONDS
        ):
            self.store.purge(upload.owner)


def publish_due(job: Job, repository: JobRepository, publisher: Publisher) -> None:
    """Send the message of the job's due stage and note that it was sent.

    Raises:
        ServiceUnavailableError: The broker does not answer; the row stays due, and a
            reconciler will send the message later.
    """
    stage = Stage.due_in(job.state)
    if stage is None:
        return
    publisher.publish(stage.task, stage.queue, job.id)
    repository.mark_published(job)


class ReconcilerThread:
    """Runs a reconciler at intervals until it is stopped."""

    def __init__(self, reconciler: Reconciler, *, interval_seconds: float) -> None:
        self._reconciler = reconciler
        self._interval = interval_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="reconciler", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the pass that is running."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self._reconciler.run_once()
            except ServiceUnavailableError as error:
                logger.warning("the reconciler waits: %s", error)
            except HansegError:
                logger.exception("the reconciler could not finish its pass")
            except Exception:
                # it must outlive any fault: without it, lost jobs stay lost
                logger.exception("the reconciler failed and will try again")
