"""Real workers for tests: started, watched, killed, and never left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from hanseg_shared.jobs.reconciler import Reconciler
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import Services, open_services
from hanseg_shared.settings import Settings

PATIENCE_SECONDS = 60.0

tick = threading.Event()


@contextmanager
def stub_worker(
    settings: Settings,
    queue: str,
    seconds: float = 0.0,
    *,
    code: Path | None = None,
    log: Path | None = None,
) -> Iterator[psutil.Popen]:
    """Run a worker whose stages take so long.

    Args:
        settings: Those of the worker.
        queue: Which it serves.
        seconds: How long its stages take.
        code: Folder of another version of the packages, to run that.
        log: File for what it says.
    """
    if code is None:
        program, path = ["-m", "tests.jobs.stub_worker"], {}
    else:
        program, path = [str(code / "stub_worker.py")], {"PYTHONPATH": str(code)}
    command = [*program, queue, str(seconds)]
    environment = settings.as_environment() | path
    with running(command, environment, log=log) as process:
        yield process


@contextmanager
def slow_worker(settings: Settings, how: str) -> Iterator[psutil.Popen]:
    """Run a worker whose stage never ends; see `tests.jobs.slow_worker`."""
    command = ["-m", "tests.jobs.slow_worker", how]
    with running(command, settings.as_environment()) as process:
        yield process


@contextmanager
def running(
    arguments: Sequence[str], environment: Mapping[str, str], *, log: Path | None = None
) -> Iterator[psutil.Popen]:
    """Run Python in a session of its own; nothing of it is left behind."""
    with (log or Path(os.devnull)).open("ab") as sink:
        process = psutil.Popen(
            [sys.executable, *arguments],
            env=os.environ | environment,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: psutil.Popen) -> None:
    """Kill a worker with all its processes, as a power failure would."""
    children = process.children(recursive=True) if process.is_running() else []
    for each in [process, *children]:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)
    with suppress(ProcessLookupError):  # those whose parent had died before
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def service(settings: Settings) -> Iterator[Services]:
    """What an API works with; its reconciler runs while `wait_for` waits."""
    services = open_services(settings, "tests")
    try:
        yield services
    finally:
        services.publisher.close()  # type: ignore[attr-defined]
        services.tables.close()


def wait_for(
    services: Services,
    condition: Callable[[], object],
    *,
    reconciler: Reconciler | None = None,
) -> None:
    """Return once something is true; meanwhile what was lost is put right."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "nothing happens"
        if reconciler is not None:
            reconciler.run_once()
        tick.wait(0.05)


def all_done(services: Services, job_ids: list[str]) -> Callable[[], bool]:
    """Return what says whether all jobs have ended."""
    return lambda: all(services.tables.jobs.get(j).state.is_final for j in job_ids)


def is_claimed(services: Services, job_id: str) -> Callable[[], bool]:
    """Return what says whether a worker has a job."""

    def find() -> bool:
        job: Job = services.tables.jobs.get(job_id)
        assert not job.state.is_final, job.error
        return job.token is not None

    return find
