"""Puts right what was lost: leases of dead workers, messages, files past their time.

Every step is idempotent and conditional, so that any number of reconcilers may run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hanseg_shared.errors import HansegError, ServiceUnavailableError, StoreError
from hanseg_shared.jobs.messages import Publisher, QueueName
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.repository import JobRepository
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.problems import EXPIRED, WORKER_LOST
from hanseg_shared.settings import Settings

logger = logging.getLogger(__name__)

UPLOAD_SECONDS = 24 * 3600.0
"""How long an upload that no job has used is kept."""

ORPHAN_SECONDS = 24 * 3600.0
"""How long payloads of nobody are kept: a request may be about to name their job."""

KEY_SECONDS = 7 * 24 * 3600.0
"""How long an idempotency key is remembered."""

DEAD_WORKER_SECONDS = 24 * 3600.0
"""How long a worker that died without a word stays in the table."""

SWEEP_SECONDS = 600.0
"""How often the store is searched for what nobody needs."""

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
        """Release lost leases, send lost messages again, delete what has expired.

        A step that fails does not keep the others from their work.

        Raises:
            HansegError: What the first failing step raised, after all were tried.
        """
        _do_all(self._release_lost_leases, self._publish_due, self._expire)

    def sweep(self) -> None:
        """Delete what nobody needs: orphaned payloads, old keys, dead workers.

        Payloads lose their owner when a process dies between two steps, or when a
        worker still writes while its job is being deleted.

        Raises:
            HansegError: What the first failing step raised, after all were tried.
        """
        _do_all(self._purge_orphans, self._forget_the_past)

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
        overdue = self.repository.due(
            published_before_seconds=self.settings.republish_seconds
        )
        for job in self._without_message(overdue):
            logger.warning("job %s: its message is sent again", job.id)
            publish_due(job, self.repository, self.publisher)

    def _without_message(self, overdue: list[Job]) -> list[Job]:
        # While a queue holds messages, those of the overdue jobs are probably among
        # them; sending them again and again would only fill the queue. The queues are
        # asked before anything is sent, so that all lost messages are sent in one pass.
        if not overdue:
            return []
        expected: Counter[QueueName] = Counter()
        for state, count in self.repository.count_unclaimed().items():
            stage = Stage.due_in(state)
            if stage is not None:
                expected[stage.queue] += count
        waiting = {queue: self.publisher.waiting(queue) for queue in expected}
        now = self.repository.now()
        patience = PATIENCE * self.settings.republish_seconds

        def lost(job: Job) -> bool:
            stage = Stage.due_in(job.state)
            if stage is None:
                return False
            there = waiting.get(stage.queue, 0)
            impatient = now - (job.published_at or 0.0) > patience
            return there == 0 or (impatient and there < expected[stage.queue])

        return [job for job in overdue if lost(job)]

    def _expire(self) -> None:
        for job in self.repository.expired():
            self.repository.mark_expired(
                job.id, EXPIRED.problem("the job's files were kept for their time")
            )
            logger.info("job %s expired, its files are deleted", job.id)
            self._purge(job.id)
        for upload in self.repository.drop_old_uploads(
            older_than_seconds=UPLOAD_SECONDS
        ):
            self._purge(upload.owner)

    def _purge(self, owner: str) -> None:
        try:
            self.store.purge(owner)
        except StoreError as error:
            logger.error("%s; the next sweep will try again", error)  # noqa: TRY400

    def _purge_orphans(self) -> None:
        stored = self.store.owners()  # before the rows: what is stored later is young
        known = self.repository.owners()
        limit = time.time() - ORPHAN_SECONDS
        ours = self.store.bind(self.repository.identity())
        for owner in stored:
            if owner in known.expired:
                logger.warning("job %s has expired, its late files are deleted", owner)
                self._purge(owner)
            elif owner not in known.kept and self.store.last_written(owner) < limit:
                self._purge_unknown(owner, ours=ours)

    def _purge_unknown(self, owner: str, *, ours: bool) -> None:
        if not ours:
            # another database may know it: deleting would lose that one's patients
            logger.warning("%s is unknown, but the store is not ours: kept", owner)
            return
        logger.warning("what %s has in the store is nobody's: deleted", owner)
        self._purge(owner)

    def _forget_the_past(self) -> None:
        self.repository.drop_old_keys(older_than_seconds=KEY_SECONDS)
        self.repository.drop_dead_workers(unseen_for_seconds=DEAD_WORKER_SECONDS)


def _do_all(*steps: Callable[[], None]) -> None:
    failures: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - raised below, after the others
            failures.append(error)
    if failures:
        for failure in failures[1:]:
            logger.warning("the reconciler also met this: %s", failure)
        raise failures[0]


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
        self._sweep_at = time.monotonic()
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
            self._attempt(self._reconciler.run_once)
            if time.monotonic() >= self._sweep_at:
                self._sweep_at = time.monotonic() + SWEEP_SECONDS
                self._attempt(self._reconciler.sweep)

    @staticmethod
    def _attempt(step: Callable[[], None]) -> None:
        try:
            step()
        except ServiceUnavailableError as error:
            logger.warning("the reconciler waits: %s", error)
        except HansegError:
            logger.exception("the reconciler could not finish its pass")
        except Exception:
            # it must outlive any fault: without it, lost jobs stay lost
            logger.exception("the reconciler failed and will try again")
