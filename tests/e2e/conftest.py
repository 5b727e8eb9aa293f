"""The real service for the road's tests: Redis, the API and both workers.

All tests of this folder run in one process, so that the stack is started once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hanseg_lab.phantom import Scope, make_case
from hanseg_shared.client import Client, JobRequest
from hanseg_shared.io import write_volume
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.settings import Settings
from hanseg_shared.stack import Stack
from hanseg_shared.stack.redis_server import free_port

PATIENCE_SECONDS = 120.0
"""A job that is not done by then is lost."""

LAST_LINES = 12
"""So many lines of each log are told with a failure."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.redis)
            item.add_marker(pytest.mark.torch)
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    # short leases, so that a killed worker's job is soon due again
    return Settings(
        data=tmp_path_factory.mktemp("service"),
        port=free_port(),
        lease_seconds=3.0,
        reconcile_seconds=0.5,
        republish_seconds=2.0,
        min_free_bytes=0,
        threads=1,
    )


@pytest.fixture(scope="session")
def stack(settings: Settings) -> Iterator[Stack]:
    with Stack(settings) as stack:
        stack.wait_until_ready()
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    stack.wait_until_ready()  # the test before may have killed something
    with Client(stack.url, retry=None) as client:
        yield client


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    tables = open_tables(settings)
    yield tables
    tables.close()


@pytest.fixture(scope="session")
def ct_and_mr(tmp_path_factory: pytest.TempPathFactory) -> JobRequest:
    folder = tmp_path_factory.mktemp("case")
    case = make_case(7, ct_spacing=(2.5, 2.5, 3.0), mr_spacing=(1.5, 1.5, 4.0))
    assert case.mr is not None
    write_volume(case.ct, folder / "ct.nii.gz")
    write_volume(case.mr, folder / "mr.nii.gz")
    return JobRequest(folder / "ct.nii.gz", folder / "mr.nii.gz", case="phantom")


@pytest.fixture(scope="session")
def ct_alone(ct_and_mr: JobRequest) -> JobRequest:
    return JobRequest(ct_and_mr.ct, case="phantom")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> JobRequest:
    """A CT for tests that ask what becomes of a job, not of an image."""
    case = make_case(3, ct_spacing=(5.0, 5.0, 5.0), mr=False, scope=Scope.HEAD)
    ct = write_volume(case.ct, tmp_path_factory.mktemp("small") / "ct.nii.gz")
    return JobRequest(ct, case="small")


def tail_of_logs(folder: Path) -> str:
    """Return what each process of the service wrote last."""
    parts = []
    for log in sorted(folder.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        parts += [f"--- {log.name}", *lines]
    return "\n".join(parts)


@pytest.fixture
def wait_for(
    tables: Tables, stack: Stack
) -> Callable[[str, Callable[[Job], bool]], Job]:
    """Return a function that watches a job's row until something is true of it."""
    tick = threading.Event()

    def wait(job_id: str, condition: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            job = tables.jobs.get(job_id)
            if condition(job):
                return job
            assert not job.state.is_final, f"{job.state}: {job.error}"
            if time.monotonic() >= deadline:
                logs = tail_of_logs(stack.logs)
                pytest.fail(f"stuck while {job.state}; the service wrote last:\n{logs}")
            tick.wait(0.02)

    return wait
