"""`hanseg capacity` chooses cases as the service does, whatever comes when."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from hanseg_lab.capacity.turns import Due, make_queues
from hanseg_shared.documents import Priority
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.claims import Claimed
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.tables.turns import Wish
from tests.jobs.fakes import FakeClock, new_job

OWNERS = ("batch", "batch", "batch", "anna", "bert")
STEPS = 150


@dataclass
class Both:
    """The service's tables and the simulation's queues, given the same things to do."""

    tables: Tables
    clock: FakeClock
    jobs: list[str] = field(default_factory=list)
    working: list[tuple[Claimed, Due]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queues = make_queues()

    def send(self, owner: str, *, urgent: bool) -> None:
        """Send a case, a second after the one before."""
        self.clock.advance(1.0)
        priority = Priority.URGENT if urgent else Priority.ROUTINE
        job = new_job(self.tables, owned_by=owner, priority=priority)
        due = Due(len(self.jobs), Stage.REGISTER, owner, urgent)
        self.queues[QueueName.REGISTRATION].add(due)
        self.jobs.append(job.id)

    def choose(self, queue: QueueName) -> None:
        """Have a free worker of a queue choose; both must choose the same."""
        stages = tuple(stage for stage in Stage if stage.queue is queue)
        wish = Wish(stages)
        claimed = self.tables.claims.claim_next(wish, lease_seconds=1e6)
        due = self.queues[queue].take()
        if claimed is None or due is None:
            assert (claimed, due) == (None, None)
            return
        assert (claimed.job.id, claimed.stage) == (self.jobs[due.number], due.stage)
        self.working.append((claimed, due))

    def finish(self, which: int) -> None:
        """End a stage; the next one is due."""
        claimed, due = self.working.pop(which)
        assert self.tables.claims.finish_stage(
            claimed.job, claimed.stage, StageResult()
        )
        if (following := due.stage.following) is not None:
            later = Due(due.number, following, due.owner, due.urgent)
            self.queues[following.queue].add(later)


@pytest.mark.parametrize("seed", range(3))
def test_the_simulation_chooses_as_the_service_does(tables, clock, seed: int):
    chance = random.Random(seed)
    both = Both(tables, clock)
    for _ in range(STEPS):
        what = chance.choice(["send", "send", "register", "segment", "finish"])
        if what == "send":
            both.send(chance.choice(OWNERS), urgent=chance.random() < 0.2)
        elif what == "finish" and both.working:
            both.finish(chance.randrange(len(both.working)))
        elif what == "register":
            both.choose(QueueName.REGISTRATION)
        elif what == "segment":
            both.choose(QueueName.SEGMENTATION)
    assert len(both.jobs) > 20
