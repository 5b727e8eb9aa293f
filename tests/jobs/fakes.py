"""What stands in for the clock, the broker and a stage's body."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field

from sqlalchemy import Connection

from hanseg_shared.documents import InputSummary, Problem
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.stages import Stage
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
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = EPOCH

    def __call__(self, connection: Connection) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakePublisher:
    """A broker whose queues are lists of task and job id; `down` while it is away."""

    queues: dict[QueueName, list[tuple[str, str]]] = field(
        default_factory=lambda: {queue: [] for queue in QueueName}
    )
    down: bool = False

    def publish(self, task: str, queue: QueueName, job_id: str) -> None:
        self._answer()
        self.queues[queue].append((task, job_id))

    def waiting(self, queue: QueueName) -> int:
        self._answer()
        return len(self.queues[queue])

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


def claim(tables: Tables, job: Job, stage: Stage = Stage.REGISTER) -> Job:
    """Claim a stage that must be free, for 30 s."""
    claimed = tables.claims.claim(job.id, stage, lease_seconds=30.0)
    assert claimed is not None
    return claimed
