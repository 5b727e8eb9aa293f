"""Clocks that are set, a broker and a database that answer nobody for a while."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hanseg_shared.documents import JobState
from tests.chaos.callers import Callers
from tests.chaos.clocks import Clock
from tests.chaos.house import House

pytestmark = pytest.mark.chaos

DAY = 24 * 3600
LOCKED_SECONDS = 20.0
"""Longer than SQLite waits for another writer."""

FROZEN_SECONDS = 15.0
"""Longer than anybody waits for Redis."""

SETTLING_SECONDS = 15.0
"""Several looks of everything that goes by a clock."""


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def house(tmp_path: Path, models: Path, clock: Clock) -> Iterator[House]:
    with House(
        tmp_path, workers=1, models=models, environment=clock.environment
    ) as house:
        yield house


def test_the_clock_is_really_another(clock):
    clock.set_forward(8 * DAY)
    told = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"],
        env=clock.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    wall, steady = map(float, told.stdout.split())
    assert 7.9 * DAY < wall - time.time() < 8.1 * DAY
    assert abs(steady - time.monotonic()) < 60.0


def test_the_clock_jumps_a_week_forward_and_an_hour_back(
    house, clock, patients, settle, seed
):
    callers = Callers(house, patients, jobs=12, clients=2, seed=seed).start()
    callers.await_accepted(3)
    for seconds in (8 * DAY, -3600):
        house.await_stage(JobState.SEGMENTING, JobState.PACKAGING)
        house.blows.append(f"set the clock by {seconds} s")
        clock.set_forward(seconds)
        house.wait_for(_after(SETTLING_SECONDS), "the sweep to look")
    house.kill("segmentation-1")  # its job is due again, with a clock that is behind
    house.kill("sweep")  # and starts with it
    clock.set_forward(0)
    settle(house, callers)
    for job in house.tables.jobs.list_page(limit=1000).jobs:
        assert all(s.seconds < 1800.0 for s in job.stages if s.attempts == 1), (
            job.stages
        )


def test_redis_hangs_and_sqlite_is_locked(house, patients, settle, seed):
    callers = Callers(house, patients, jobs=12, clients=2, seed=seed).start()
    house.await_stage(JobState.SEGMENTING, JobState.PACKAGING)
    with house.frozen("redis"):
        _require_unavailable(house, patients[0], "does not answer")
        house.wait_for(_after(FROZEN_SECONDS), "the time of silence")
    house.await_stage(JobState.SEGMENTING, JobState.PACKAGING)
    house.blows.append("lock the database")
    other = sqlite3.connect(house.settings.data / "jobs.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    _require_unavailable(house, patients[0], "database is locked")
    house.wait_for(_after(LOCKED_SECONDS), "the time of the lock")
    other.execute("ROLLBACK")
    other.close()
    settle(house, callers)
    for job in house.tables.jobs.list_page(limit=1000).jobs:
        assert [stage.attempts for stage in job.stages] == [1, 1, 1], job.id


def _require_unavailable(house: House, case, why: str) -> None:
    with case.request.ct.open("rb") as ct:
        answer = httpx.post(
            f"{house.url}/v1/jobs",
            data={"request": json.dumps(case.request.body)},
            files={"ct": ("ct.nii.gz", ct)},
            timeout=120,
        )
    assert answer.status_code == 503, answer.text
    assert why in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert httpx.get(f"{house.url}/livez", timeout=30).is_success


def _after(seconds: float):
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until
