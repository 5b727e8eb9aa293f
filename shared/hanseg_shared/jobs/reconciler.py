"""Restores what was lost (leases, messages) and deletes what nobody needs any more.

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
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.problems import EXPIRED, WORKER_LOST

logger = logging.getLogger(__name__)

UPLOAD_SECONDS = 24 * 3600.0
"""How long an upload that no job has used is kept."""

ORPHAN_SECONDS = 24 * 3600.0
"""How long payloads without an owner are kept: a request may be about to own them."""

KEY_SECONDS = 7 * 24 * 3600.0
"""How long an idempotency key is remembered."""

DEAD_WORKER_SECONDS = 24 * 3600.0
"""How long a worker that died without reporting it stays in the table."""

SWEEP_SECONDS = 600.0
"""How often the store is searched for what nobody needs."""

PATIENCE = 10
"""A message is sent again, even to a queue that is not empty, after so many times
the time after which it may be presumed lost."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """One pass looks at every unfinished job; see `run_once`."""

    services: Services

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
        tries = self.services.settings.attempts
        problem = WORKER_LOST.problem(
            f"the worker died or hung {tries} times while it had this job; the last "
            "cause is in the worker's log, most often too little memory"
        )
        released, failed = self.services.tables.claims.release_lost(
            attempts=tries, problem=problem
        )
        for job_id in released:
            logger.warning("job %s lost its worker and is due again", job_id)
        for job_id in failed:
            logger.error(
                "job %s lost its worker %d times and has failed", job_id, tries
            )

    def _publish_due(self) -> None:
        for job in self.services.tables.outbox.list_due(published_before_seconds=None):
            self.services.publish_due(job)
        overdue = self.services.tables.outbox.list_due(
            published_before_seconds=self.services.settings.republish_seconds
        )
        for job in self._find_without_message(overdue):
            logger.warning("job %s: its message is sent again", job.id)
            self.services.publish_due(job)

    def _find_without_message(self, overdue: list[Job]) -> list[Job]:
        # While a queue holds messages, those of the overdue jobs are probably among
        # them; sending them again and again would only fill the queue. The queues are
        # asked before anything is sent, so that all lost messages are sent in one pass.
        if not overdue:
            return []
        expected: Counter[QueueName] = Counter()
        for state, count in self.services.tables.outbox.count_waiting().items():
            stage = Stage.due_in(state)
            if stage is not None:
                expected[stage.queue] += count
        waiting = {queue: self.services.publisher.waiting(queue) for queue in expected}
        now = self.services.tables.database.now()
        patience = PATIENCE * self.services.settings.republish_seconds

        def is_lost(job: Job) -> bool:
            stage = Stage.due_in(job.state)
            if stage is None:
                return False
            there = waiting.get(stage.queue, 0)
            impatient = now - (job.published_at or 0.0) > patience
            return there == 0 or (impatient and there < expected[stage.queue])

        return [job for job in overdue if is_lost(job)]

    def _expire(self) -> None:
        for job in self.services.tables.jobs.list_expired():
            self.services.tables.jobs.expire(
                job.id, EXPIRED.problem("the job's files were kept for their time")
            )
            logger.info("job %s expired, its files are deleted", job.id)
            self._purge(job.id)
        for upload in self.services.tables.uploads.drop_old(
            older_than_seconds=UPLOAD_SECONDS
        ):
            self._purge(upload.owner)

    def _purge(self, owner: str) -> None:
        try:
            self.services.store.purge(owner)
        except StoreError as error:
            logger.error("%s; the next sweep will try again", error)  # noqa: TRY400

    def _purge_orphans(self) -> None:
        stored = (
            self.services.store.owners()
        )  # before the rows: what is stored later is young
        known = self.services.tables.jobs.owners()
        limit = time.time() - ORPHAN_SECONDS
        ours = self.services.store.bind(self.services.tables.installation.identity())
        for owner in stored:
            if owner in known.expired:
                logger.warning("job %s has expired, its late files are deleted", owner)
                self._purge(owner)
            elif (
                owner not in known.kept
                and self.services.store.last_written(owner) < limit
            ):
                self._purge_unknown(owner, ours=ours)

    def _purge_unknown(self, owner: str, *, ours: bool) -> None:
        if not ours:
            # another database may know it: deleting would lose that one's patients
            logger.warning("%s is unknown, but the store is not ours: kept", owner)
            return
        logger.warning("what %s has in the store is nobody's: deleted", owner)
        self._purge(owner)

    def _forget_the_past(self) -> None:
        self.services.tables.keys.drop_old(older_than_seconds=KEY_SECONDS)
        self.services.tables.workers.drop_dead(unseen_for_seconds=DEAD_WORKER_SECONDS)


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
