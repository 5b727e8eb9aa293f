"""What stands in for the clock, the broker and a stage's body."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from hanseg_shared.documents import InputSummary, Problem
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.brokers.link import DeadLetter
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.keys import KeyClaim
from hanseg_shared.jobs.tables.tables import Tables

EPOCH = 1_700_000_000.0

PROBLEM = Problem(type="urn:hanseg:problem:test", title="A test", detail="by a test")

CT = InputSummary(
    role="ct",
    sha256="c" * 64,
    bytes=3,
    format=".nii.gz",
    size=(4, 5, 6),
    spacing_mm=(1.0, 1.0, 2.5),
)


class FakeClock:
    """Time that passes when a test says so.

    It is the database's time of day, which can be set, and `steady` seconds, which
    nobody can set.
    """

    def __init__(self) -> None:
        self.now = EPOCH
        self.passed = 0.0

    def __call__(self, connection: Connection) -> float:
        return self.now

    def steady(self) -> float:
        return self.passed

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.passed += seconds

    def set_forward(self, seconds: float) -> None:
        """Have somebody set the time of day, by less than nothing to set it back."""
        self.now += seconds


@dataclass
class FakePublisher:
    """A broker whose queues are lists of task and job id; `down` while it is away."""

    queues: dict[QueueName, list[tuple[str, str]]] = field(
        default_factory=lambda: {queue: [] for queue in QueueName}
    )
    down: bool = False
    dead: list[DeadLetter] = field(default_factory=list)

    def publish(self, task: str, queue: QueueName, job_id: str) -> None:
        self._answer()
        self.queues[queue].append((task, job_id))

    def waiting(self, queue: QueueName) -> int:
        self._answer()
        return len(self.queues[queue])

    def take_dead_letters(self, keep: Callable[[DeadLetter], None]) -> int:
        self._answer()
        for letter in self.dead:
            keep(letter)
        taken = len(self.dead)
        self.dead.clear()
        return taken

    def flush(self) -> None:
        for messages in self.queues.values():
            messages.clear()

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Every message that waits, queue by queue."""
        return [message for queue in QueueName for message in self.queues[queue]]

    def _answer(self) -> None:
        if self.down:
            raise ServiceUnavailableError("the broker (Redis) does not answer")


class Gate:
    """Lets a test wait until another thread has come somewhere, but not for ever."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    def wait(self, seconds: float = 10.0) -> None:
        assert self._event.wait(seconds), f"nobody came within {seconds} s"


def new_job(tables: Tables, **values) -> Job:
    """Insert a queued job with a CT."""
    return tables.jobs.create(NewJob(id=uuid.uuid4().hex, inputs=(CT,), **values))


def make_with_key(tables: Tables, key: str, fingerprint: str) -> str:
    """Insert a queued job for an idempotency key; returns its id."""
    held = tables.keys.reserve(key, fingerprint)
    assert isinstance(held, KeyClaim)
    job = NewJob(id=uuid.uuid4().hex, inputs=(CT,))
    return tables.jobs.create(job, key=held).id


def claim(tables: Tables, job: Job, stage: Stage = Stage.REGISTER) -> Job:
    """Claim a stage that must be free, for 30 s."""
    claimed = tables.claims.claim(job.id, stage, lease_seconds=30.0)
    assert claimed is not None
    return claimed


def unsent(tables: Tables) -> list[str]:
    """Return the ids of the jobs whose message was never sent, oldest first."""
    return [job.id for job in tables.outbox.list_waiting() if job.published_at is None]


def release_all(tables: Tables, *, attempts: int = 3) -> tuple[list[str], list[str]]:
    """Take every job that is held now away from its worker."""
    holds = tables.claims.list_holds()
    return tables.claims.release_lost(holds, attempts=attempts, problem=PROBLEM)


class Looks(Protocol):
    """What looks again and again: a reconciler, or a sweeper."""

    def run_once(self) -> None: ...


def watch(reconciler: Looks, clock: FakeClock, seconds: float) -> None:
    """Let it look, let time pass, and let it look again."""
    reconciler.run_once()
    clock.advance(seconds)
    reconciler.run_once()
