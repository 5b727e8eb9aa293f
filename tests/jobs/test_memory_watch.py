"""A stage that holds too much memory fails with its reason, and alone."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.jobs import work
from hanseg_shared.jobs.memory_watch import MemoryWatch
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import work_on
from hanseg_shared.memory_limits import (
    STAGE_SHARE,
    available,
    held_bytes,
    stage_limit,
    tree_held_bytes,
)
from hanseg_shared.problems import OUT_OF_MEMORY
from tests.jobs.fakes import new_job

GB = 10**9


class Told:
    """What a watch did, in order."""

    def __init__(self) -> None:
        self.deeds: list[str] = []
        self.ended = threading.Event()

    def fail(self, why: str) -> None:
        self.deeds.append(why)

    def end(self) -> None:
        self.deeds.append("ended")
        self.ended.set()


def watch(told: Told, held, limit: int = 2 * GB) -> MemoryWatch:
    return MemoryWatch(
        limit, fail=told.fail, held=held, end=told.end, poll_seconds=0.001
    )


def test_the_reason_is_written_before_the_process_ends():
    told, growing = Told(), itertools.count(GB, GB // 2)
    with watch(told, lambda: next(growing)):
        assert told.ended.wait(10)
    why, end = told.deeds
    assert end == "ended"
    assert "it held 2.50 GB of memory, more than the 2.00 GB allowed" in why
    assert "HANSEG_STAGE_MEMORY_BYTES" in why


def test_a_process_ends_even_where_its_reason_cannot_be_written():
    told = Told()

    def fails(_: str) -> None:
        raise OSError("the database is away")

    with MemoryWatch(1, fail=fails, held=lambda: 2, end=told.end, poll_seconds=0.001):
        assert told.ended.wait(10)


def test_up_to_the_limit_nothing_happens():
    told, looks = Told(), threading.Semaphore(0)

    def held() -> int:
        looks.release()
        return 2 * GB

    with watch(told, held):
        for _ in range(5):
            assert looks.acquire(timeout=10)
    assert told.deeds == []


def test_a_stage_beyond_its_limit_fails_its_job(services, monkeypatch):
    """The watch's end is a fake here: the job's row must be right before it."""
    ended = threading.Event()
    monkeypatch.setattr(
        work,
        "MemoryWatch",
        lambda limit, fail: MemoryWatch(
            limit, fail=fail, held=lambda: 3 * GB, end=ended.set, poll_seconds=0.001
        ),
    )
    settings = services.settings.model_copy(update={"stage_memory_bytes": GB})
    services = Services(services.tables, services.store, services.publisher, settings)
    job = new_job(services.tables)

    def body(_: work.Workplace) -> StageResult:
        assert ended.wait(10)
        return StageResult()

    work_on(Stage.REGISTER, job.id, body, services)
    failed = services.tables.jobs.get(job.id)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error.type == OUT_OF_MEMORY.type
    assert "registering was stopped: it held 3.00 GB" in failed.error.detail


def test_the_limit_is_the_settings_or_a_share_of_what_there_is():
    assert stage_limit(5 * GB) == 5 * GB
    assert stage_limit(0) == int(STAGE_SHARE * available())


def test_memory_that_is_filled_is_held():
    filled = b"x" * (64 << 20)
    held = held_bytes(os.getpid())
    assert held > len(filled)


@pytest.fixture
def holder():
    """A child whose own child holds 64 MiB."""
    inner = (
        "import sys; kept = b'x' * (64 << 20); print('!', flush=True); sys.stdin.read()"
    )
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"!\n"
        yield child.pid
        child.communicate()


def test_what_a_process_started_counts_with_it(holder):
    assert held_bytes(holder) < 64 << 20 < tree_held_bytes(holder)


def test_a_process_that_is_gone_holds_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert held_bytes(gone.pid) == tree_held_bytes(gone.pid) == 0
