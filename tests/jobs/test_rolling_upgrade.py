"""Workers of version 0.1.0 and of this one, side by side, over one database and broker.

The code of the earlier version is taken from this repository's history; where that was
left out of a clone, as in shallow ones, the test is skipped.
"""

from __future__ import annotations

import io
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from pydantic import SecretStr

from hanseg_shared.documents import JobState
from hanseg_shared.jobs.reconciler import Reconciler
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.settings import Settings
from tests.jobs.fakes import CT
from tests.jobs.running_workers import (
    PATIENCE_SECONDS,
    all_done,
    service,
    stub_worker,
    tick,
    wait_for,
)
from tests.redis_server import running_redis

pytestmark = [pytest.mark.redis, pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

LAST_RELEASE = "935482e3fa362b7707c23b254db51fda9269f1d6"
"""The last commit of version 0.1.0."""

ROOT = Path(__file__).parents[2]

STUB = """
import sys, time
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.worker import WorkerPlan, start_worker

QUEUE, SECONDS = QueueName(sys.argv[1]), float(sys.argv[2])

def work(place):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        place.lease.check()
        time.sleep(0.02)
    return StageResult(versions={"tests": "0.1.0"})

def make_plan():
    stages = [stage for stage in Stage if stage.queue == QUEUE]
    return WorkerPlan(QUEUE, dict.fromkeys(stages, work), lambda _: "cpu")

if __name__ == "__main__":
    start_worker(QUEUE, make_plan)
"""

SUBMIT = """
import sys
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.services import open_services
from hanseg_shared.documents import InputSummary
from hanseg_shared.settings import read_settings

services = open_services(read_settings())
CT = InputSummary(role="ct", sha256="c" * 64, bytes=3, format=".nrrd",
                  size=(4, 5, 6), spacing_mm=(1.0, 1.0, 2.0))
for job_id in sys.argv[1:]:
    services.publish_due(services.tables.jobs.create(NewJob(job_id, (CT,))))
"""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> Path:
    """The packages of version 0.1.0, and a worker of it that does nothing."""
    folder = tmp_path_factory.mktemp("earlier")
    packed = subprocess.run(
        ["git", "archive", LAST_RELEASE, "shared/hanseg_shared"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if packed.returncode:
        pytest.skip("the last release is not in this clone")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "shared" / "stub_worker.py").write_text(STUB)
    (folder / "shared" / "submit.py").write_text(SUBMIT)
    return folder / "shared"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with running_redis(tmp_path / "redis") as server:
        yield Settings(
            data=tmp_path / "data",
            broker_url=SecretStr(server.url),
            republish_seconds=3.0,
            grace_seconds=0.5,
        )


def run_earlier(earlier: Path, settings: Settings, script: str, *words: str) -> None:
    environment = settings.as_environment() | {"PYTHONPATH": str(earlier)}
    subprocess.run(
        [sys.executable, earlier / script, *words],
        env={"PATH": "/usr/bin:/bin"} | environment,
        check=True,
        timeout=PATIENCE_SECONDS,
    )


def wait_until_ready(file: Path, workers: int) -> None:
    """Return when so many workers of the earlier version take jobs."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(file)) as found,
        ):
            query = "SELECT count(*) FROM worker_states WHERE state = 'ready'"
            if found.execute(query).fetchone()[0] >= workers:
                return
        assert time.monotonic() < deadline, "the earlier version does not start"
        tick.wait(0.1)


def submit(services: Services, count: int) -> list[str]:
    """Create and publish jobs by this version; return their ids."""
    jobs = [
        services.tables.jobs.create(NewJob(uuid.uuid4().hex, (CT,)))
        for _ in range(count)
    ]
    for job in jobs:
        services.publish_due(job)
    return [job.id for job in jobs]


def test_old_and_new_workers_lose_nothing_between_them(earlier, settings):
    of_the_old = [uuid.uuid4().hex for _ in range(4)]
    with ExitStack() as stack:

        def start(queue: str, seconds: float, code: Path | None = None):
            return stack.enter_context(stub_worker(settings, queue, seconds, code=code))

        old = [
            start("registration", 1.0, earlier),
            start("segmentation", 0.1, earlier),
        ]
        wait_until_ready(settings.data / "jobs.sqlite", 2)
        run_earlier(earlier, settings, "submit.py", *of_the_old)
        services = stack.enter_context(service(settings))  # which migrates
        reconciler = Reconciler(services)

        def wait(condition: Callable[[], object]) -> None:
            wait_for(services, condition, reconciler=reconciler)

        def get(job_ids: Sequence[str]) -> list[Job]:
            return [services.tables.jobs.get(each) for each in job_ids]

        wait(lambda: any(job.versions for job in get(of_the_old)))
        start("registration", 0.1)
        start("segmentation", 0.1)
        of_both = submit(services, 8)
        for worker in old:  # as an upgrade goes on
            worker.send_signal(signal.SIGTERM)
        wait(lambda: all(worker.poll() is not None for worker in old))
        of_the_new = submit(services, 2)
        jobs = [*of_the_old, *of_both, *of_the_new]
        wait(all_done(services, jobs))
        done = get(jobs)

    assert {job.state for job in done} == {JobState.SUCCEEDED}, done
    for job in done:
        assert [each.name for each in job.stages] == [s.state for s in Stage]
    assert {bool(job.versions) for job in done} == {True, False}, "both took part"
    assert not any(job.versions for job in done if job.id in of_the_new)
