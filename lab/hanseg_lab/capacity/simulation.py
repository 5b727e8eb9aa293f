"""Cases go through simulated workers: a discrete-event simulation by SimPy.

Nothing here is random: what arrives when, and how long its stages take, is given.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simpy

from hanseg_lab.capacity.turns import FOLLOWING, Case, Due, make_queues
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.stages import Stage

Seconds = npt.NDArray[np.float64]
"""One value a case, in the order in which they were sent; shape ``(cases,)``."""

Events = Generator[simpy.Event, object, None]

_INDEX = {stage: index for index, stage in enumerate(Stage)}


@dataclass(frozen=True, slots=True)
class Pool:
    """What does the work.

    Attributes:
        registration: Registration workers, of all hosts together.
        segmentation: Segmentation workers, of all hosts together.
        claim_seconds: What the database takes to choose a case; one worker at a time
            chooses, whatever their number.
        between_seconds: From a stage's end until the next one is due: messages travel.
    """

    registration: int
    segmentation: int
    claim_seconds: float = 0.0
    between_seconds: float = 0.0

    def workers(self, queue: QueueName) -> int:
        """Return how many workers a queue has."""
        of_registration = queue is QueueName.REGISTRATION
        return self.registration if of_registration else self.segmentation


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of the cases.

    Attributes:
        cases: As they were sent.
        done_at: When each one's results were there; shape ``(cases,)``.
        waits: How long each stage waited for a worker; shape ``(cases, 3)``.
        busy_seconds: Of all workers of a kind together, by their queue.
    """

    cases: Sequence[Case]
    done_at: Seconds
    waits: npt.NDArray[np.float64]
    busy_seconds: dict[QueueName, float]

    @property
    def sent_at(self) -> Seconds:
        """When each case was sent."""
        return np.array([case.at for case in self.cases])

    @property
    def turnaround(self) -> Seconds:
        """From submission to results."""
        return self.done_at - self.sent_at

    @property
    def waiting(self) -> Seconds:
        """What of it was no stage's work."""
        worked = np.array([sum(case.seconds) for case in self.cases])
        return self.turnaround - worked


def simulate(cases: Sequence[Case], pool: Pool) -> Outcome:
    """Send cases to a pool of workers and return what became of them.

    Args:
        cases: By the time at which they are sent.
        pool: The workers; none of them fails.

    Raises:
        ValueError: The cases are not in the order of time, or a kind has no worker.
    """
    if any(later.at < each.at for each, later in itertools.pairwise(cases)):
        raise ValueError("cases must be in the order in which they are sent")
    if min(pool.registration, pool.segmentation) < 1:
        raise ValueError(f"each kind needs a worker, got {pool}")
    return _Simulation(cases, pool).run()


class _Simulation:
    def __init__(self, cases: Sequence[Case], pool: Pool) -> None:
        self._cases = cases
        self._pool = pool
        self._environment = simpy.Environment()
        self._choosing_until = 0.0
        self._queues = make_queues()
        self._idle: dict[QueueName, list[simpy.Event]] = {q: [] for q in self._queues}
        self._due_since = np.zeros((len(cases), len(_INDEX)))
        self._waits = np.zeros((len(cases), len(_INDEX)))
        self._done_at = np.zeros(len(cases))
        self._busy = dict.fromkeys(self._queues, 0.0)

    def run(self) -> Outcome:
        self._environment.process(self._send())
        for queue in self._queues:
            for _ in range(self._pool.workers(queue)):
                self._environment.process(self._work(queue))
        self._environment.run()
        return Outcome(self._cases, self._done_at, self._waits, self._busy)

    def _send(self) -> Events:
        for number, case in enumerate(self._cases):
            if case.at > self._environment.now:
                yield self._environment.timeout(case.at - self._environment.now)
            self._make_due(number, Stage.REGISTER)

    def _make_due(self, number: int, stage: Stage) -> None:
        case = self._cases[number]
        self._due_since[number, _INDEX[stage]] = self._environment.now
        self._queues[stage.queue].add(Due(number, stage, case.owner, case.urgent))
        self._wake(stage.queue)

    def _wake(self, queue: QueueName) -> None:
        if self._idle[queue]:
            self._idle[queue].pop().succeed()

    def _work(self, queue: QueueName) -> Events:
        """Be a worker: take whatever is due, do it, and wait if nothing is."""
        environment = self._environment
        while True:
            if self._pool.claim_seconds:
                yield environment.timeout(self._queue_to_choose())
            due = self._queues[queue].take()
            if due is None:
                woken = environment.event()
                self._idle[queue].append(woken)
                yield woken
                continue
            index = _INDEX[due.stage]
            waited = environment.now - self._due_since[due.number, index]
            self._waits[due.number, index] = waited
            seconds = self._cases[due.number].seconds[index]
            self._busy[queue] += seconds
            yield environment.timeout(seconds)
            self._finish(due)

    def _queue_to_choose(self) -> float:
        """Return in how many seconds a worker that comes now will have chosen."""
        begin = max(self._environment.now, self._choosing_until)
        self._choosing_until = begin + self._pool.claim_seconds
        return self._choosing_until - self._environment.now

    def _finish(self, due: Due) -> None:
        following = FOLLOWING[due.stage]
        if following is None:
            self._done_at[due.number] = self._environment.now
            return
        if not self._pool.between_seconds:
            self._make_due(due.number, following)
            return
        later = self._environment.timeout(self._pool.between_seconds)
        assert later.callbacks is not None
        later.callbacks.append(lambda _: self._make_due(due.number, following))
