"""Real workers that are told to stop give their job back, however they are told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from hanseg_shared.documents import JobState
from hanseg_shared.jobs.messages import BrokerPublisher
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.settings import Settings
from tests.jobs.fakes import CT, unsent
from tests.jobs.running_workers import slow_worker, tick
from tests.redis_server import RunningRedis, running_redis

pytestmark = [pytest.mark.redis, pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

PATIENCE_SECONDS = 40.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningRedis]:
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, broker: RunningRedis) -> Settings:
    # a lease that outlives the test: only who gives a job back makes it due
    return Settings(
        data=tmp_path / "data",
        broker_url=SecretStr(broker.url),
        lease_seconds=600.0,
        grace_seconds=0.5,
    )


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    opened = open_tables(settings)
    yield opened
    opened.close()


def wait_for(tables: Tables, condition: Callable[[Job], bool]) -> Job:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition(job := tables.jobs.get("j1")):
        assert not job.state.is_final, job.error
        assert time.monotonic() < deadline, "nothing happens"
        tick.wait(0.05)
    return job


def is_claimed(job: Job) -> bool:
    return job.token is not None


def is_free(job: Job) -> bool:
    return job.token is None


def submit(settings: Settings, tables: Tables) -> None:
    tables.jobs.create(NewJob("j1", (CT,)))
    publisher = BrokerPublisher(settings)
    publisher.publish(Stage.REGISTER.task, Stage.REGISTER.queue, "j1")
    publisher.close()


def test_more_restarts_than_attempts_are_no_attempts(settings, tables):
    once = settings.model_copy(update={"attempts": 1})
    submit(settings, tables)
    for _ in range(2):
        with slow_worker(once, "listening") as process:
            wait_for(tables, is_claimed)
            process.terminate()
            given_back = wait_for(tables, is_free)
            assert given_back.attempts == 0
            assert psutil.wait_procs([process], timeout=PATIENCE_SECONDS)[0]

    assert given_back.state is JobState.REGISTERING
    assert given_back.total_attempts == 2
    claimed = tables.claims.claim("j1", Stage.REGISTER, lease_seconds=30.0)
    assert claimed is not None
    assert claimed.attempts == 1


def test_another_worker_goes_on_at_once(settings, tables):
    submit(settings, tables)
    with slow_worker(settings, "listening") as stopped:
        wait_for(tables, is_claimed)
        stopped.terminate()
        wait_for(tables, is_free)
        with slow_worker(settings, "listening"):
            assert wait_for(tables, is_claimed).attempts == 1


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("listening", signal.SIGINT),
        ("listening", signal.SIGQUIT),
        ("deaf", signal.SIGTERM),  # all three have one handler
    ],
)
def test_a_job_is_given_back_however_a_worker_is_told(settings, tables, how, number):
    submit(settings, tables)
    with slow_worker(settings, how) as stopped:
        wait_for(tables, is_claimed)
        stopped.send_signal(number)
        assert wait_for(tables, is_free).attempts == 0
        wait_for(tables, lambda _: not unsent(tables))  # whoever is next hears of it
    claimed = tables.claims.claim("j1", Stage.REGISTER, lease_seconds=30.0)
    assert claimed is not None
    assert claimed.attempts == 1


def test_all_processes_may_be_told_at_once(settings, tables):
    submit(settings, tables)
    with slow_worker(settings, "listening") as stopped:
        wait_for(tables, is_claimed)
        os.killpg(stopped.pid, signal.SIGTERM)
        assert wait_for(tables, is_free).attempts == 0


def test_a_worker_told_twice_gives_its_job_back(settings, tables):
    patient = settings.model_copy(update={"grace_seconds": 60.0})
    submit(settings, tables)
    with slow_worker(patient, "deaf") as stopped:
        wait_for(tables, is_claimed)
        stopped.terminate()
        tick.wait(0.5)  # signals of one kind that come together are one
        stopped.terminate()
        assert wait_for(tables, is_free).attempts == 0


def test_a_worker_whose_broker_hangs_gives_its_job_back(settings, tables, broker):
    submit(settings, tables)
    with slow_worker(settings, "deaf") as stopped:
        wait_for(tables, is_claimed)
        with broker.frozen():
            stopped.terminate()
            given_back = wait_for(tables, is_free)

    assert given_back.attempts == 0
    assert unsent(tables) == ["j1"]
