"""Restores what was lost: leases and messages.

Every step is idempotent and conditional, so that any number of reconcilers may run.
What is lost is judged by how long it has not changed, never by the time of day.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from hanseg_shared.documents import JobState
from hanseg_shared.jobs.attempts import tell_lease_lost
from hanseg_shared.jobs.brokers.link import DeadLetter
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.passes import do_all
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.claims import Hold
from hanseg_shared.jobs.tables.outbox import WaitingJob
from hanseg_shared.jobs.unchanged import Unchanged
from hanseg_shared.problems import WORKER_LOST

logger = logging.getLogger(__name__)

PATIENCE = 10
"""A message is sent again, even to a queue that is not empty, after so many times
the time after which it may be presumed lost."""


class Reconciler:
    """One pass looks at every unfinished job; see `run_once`.

    Args:
        services: Database, store, broker and settings.
        steady: Seconds that only ever grow; by default those of this machine.
        most_step_seconds: See `Unchanged`; by default a third of a lease, in which a
            worker that was cut off as well renews it.
    """

    def __init__(
        self,
        services: Services,
        *,
        steady: Callable[[], float] | None = None,
        most_step_seconds: float | None = None,
    ) -> None:
        self.services = services
        step = most_step_seconds or services.settings.lease_seconds / 3
        monotonic = steady or time.monotonic
        self._leases = Unchanged(most_step_seconds=step, clock=monotonic)
        self._messages = Unchanged(most_step_seconds=step, clock=monotonic)
        self._scratch = Scratch(services.settings.scratch)
        self._judged: set[tuple[str, int]] = set()
        self._sent: dict[str, tuple[JobState, int]] = {}
        """What this reconciler sent last for each waiting job: state and attempt."""

    def run_once(self) -> None:
        """Release lost leases, send lost messages again, sweep the scratch folder.

        A step that fails does not keep the others from their work.

        Raises:
            HansegError: What the first failing step raised, after all were tried.
        """
        do_all(
            self.services.tables.reader.put_aside_unknown_states,
            self._release_lost_leases,
            self._publish_due,
            self._take_dead_letters,
            self._sweep_scratch,
            self._forget_deleted,
            self._load_ballast,
        )

    def _release_lost_leases(self) -> None:
        tries = self.services.settings.attempts
        problem = WORKER_LOST.problem(
            f"the worker died or hung {tries} times while it had this job; the last "
            "cause is in the worker's log, most often too little memory"
        )
        released, failed = self.services.tables.claims.release_lost(
            self._find_lost(), attempts=tries, problem=problem
        )
        for job_id in released:
            self._tell_lease_lost(job_id, failed=False)
            logger.warning("job %s lost its worker and is due again", job_id)
        for job_id in failed:
            self._tell_lease_lost(job_id, failed=True)
            logger.error(
                "job %s lost its worker %d times and has failed", job_id, tries
            )

    def _tell_lease_lost(self, job_id: str, *, failed: bool) -> None:
        tracer = self.services.tracer
        if tracer.is_on:
            tell_lease_lost(
                tracer, self.services.tables.jobs.get(job_id), failed=failed
            )

    def _find_lost(self) -> list[Hold]:
        holds = self.services.tables.claims.list_holds()
        self._judged = {(hold.job_id, hold.attempt) for hold in holds}
        silent = self._leases.look(
            {hold.job_id: (hold.token, hold.lease_until) for hold in holds}
        )
        lease_seconds = self.services.settings.lease_seconds
        return [
            hold
            for hold in holds
            if silent[hold.job_id] > lease_seconds
            or self._scratch.is_attempt_dead(hold.job_id, hold.attempt)
        ]

    def _publish_due(self) -> None:
        waiting = self.services.tables.outbox.list_waiting()
        ages = self._messages.look(
            {job.id: (job.state, job.attempt) for job in waiting}
        )
        self._sent = {job.id: self._sent[job.id] for job in waiting if self._knows(job)}
        overdue = []
        for job in waiting:
            if job.published_at is None and not self._knows(job):
                self._send(job)
            elif ages[job.id] > self.services.settings.republish_seconds:
                overdue.append(job)
        for job in self._find_without_message(self._leave_held_back(overdue), ages):
            logger.warning("job %s: its message is sent again", job.id)
            self._send(job)

    def _knows(self, job: WaitingJob) -> bool:
        return self._sent.get(job.id) == (job.state, job.attempt)

    def _send(self, job: WaitingJob) -> None:
        self.services.publish(job.id, job.state)
        # remembered, as a database that is full would not note it: one message a job
        self._sent[job.id] = (job.state, job.attempt)
        self._messages.restart(job.id)
        self.services.tables.outbox.mark_published(job.id, job.state)

    def _leave_held_back(self, overdue: list[WaitingJob]) -> list[WaitingJob]:
        """Return what may be begun: no more jobs of an owner than are free to them.

        The others have no message, and need none before a place is free.
        """
        if not overdue:
            return []
        places = self.services.tables.turns.free_places(
            {job.owned_by for job in overdue},
            self.services.settings.max_running_jobs_a_caller or None,
        )
        taken: Counter[str] = Counter()
        allowed = []
        for job in overdue:
            taken[job.owned_by] += 1
            if taken[job.owned_by] <= places.get(job.owned_by, len(overdue)):
                allowed.append(job)
        return allowed

    def _take_dead_letters(self) -> None:
        """Write down what the broker gave up; the jobs' rows have the truth."""
        tables = self.services.tables

        def keep(letter: DeadLetter) -> None:
            logger.error(
                "the broker gave up a message of queue %s (%s), job %s",
                letter.queue,
                letter.reason,
                letter.job_id or "unknown",
            )
            tables.dead_letters.keep(letter)
            if letter.job_id is not None:
                self._sent.pop(letter.job_id, None)
                tables.outbox.mark_unpublished(letter.job_id)

        self.services.publisher.take_dead_letters(keep)

    def _find_without_message(
        self, overdue: list[WaitingJob], ages: dict[str, float]
    ) -> list[WaitingJob]:
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
        patience = PATIENCE * self.services.settings.republish_seconds

        def is_lost(job: WaitingJob) -> bool:
            stage = Stage.due_in(job.state)
            if stage is None:
                return False
            there = waiting.get(stage.queue, 0)
            impatient = ages[job.id] > patience
            return there == 0 or (impatient and there < expected[stage.queue])

        return [job for job in overdue if is_lost(job)]

    def _sweep_scratch(self) -> None:
        # the claims as this pass has judged them: who died since is found by the next
        self._scratch.sweep(self._judged)

    def _forget_deleted(self) -> None:
        if self.services.tables.database.owes_forgetting:
            self.services.tables.database.forget_deleted()

    def _load_ballast(self) -> None:
        ballast = self.services.tables.database.ballast
        if ballast is not None:
            ballast.load()
