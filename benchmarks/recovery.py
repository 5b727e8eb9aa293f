"""How long a job stands still when what works on it dies, with default settings.

The whole service runs, as `hanseg serve` starts it. While a stage is being worked on,
something is killed or frozen; what counts is the time until a worker has claimed the
stage again, which includes the start of a new worker where none is left.

    python benchmarks/recovery.py [--case NAME ...]
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from hanseg_lab.phantom import make_case
from hanseg_shared.client import Client, JobRequest
from hanseg_shared.documents import JobState
from hanseg_shared.io import write_volume
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.settings import Settings
from hanseg_shared.stack import Stack
from hanseg_shared.stack.children import Child
from hanseg_shared.stack.redis_server import free_port

RESULTS = Path(__file__).resolve().parent / "results"

MOST_SECONDS = 15.0
"""What is asked for."""

PATIENCE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Blow:
    """What is done to whom.

    Attributes:
        worker: The worker that is hit.
        stage: While it works on this.
        depth: How far down: 0 hits the keeper with all that it started, 1 the worker
            and its child, 2 the child that works, 3 the process that it has
            registering.
        signal: SIGKILL, or SIGSTOP with a second worker beside.
    """

    worker: str
    stage: JobState
    depth: int
    signal: signal.Signals = signal.SIGKILL


BLOWS = {
    "segmentation worker killed": Blow("segmentation", JobState.SEGMENTING, 1),
    "with its keeper": Blow("segmentation", JobState.SEGMENTING, 0),
    "its child killed": Blow("segmentation", JobState.SEGMENTING, 2),
    "registration worker killed": Blow("registration", JobState.REGISTERING, 1),
    "with its keeper too": Blow("registration", JobState.REGISTERING, 0),
    "its child killed too": Blow("registration", JobState.REGISTERING, 2),
    "its registration killed": Blow("registration", JobState.REGISTERING, 3),
    "registration worker frozen": Blow(
        "registration", JobState.REGISTERING, 1, signal.SIGSTOP
    ),
}


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of a blow; seconds from the blow on."""

    case: str
    due_again_s: float
    claimed_again_s: float
    finished_s: float
    attempts: int


def measure(case: str, stack: Stack, tables: Tables, request: JobRequest) -> Recovery:
    """Submit a job, strike while it is worked on, and watch what becomes of it."""
    blow = BLOWS[case]
    second = second_worker(stack, blow) if blow.signal is signal.SIGSTOP else None
    stack.wait_until_ready()
    with Client(stack.url, retry=None) as client:
        job_id = client.submit(request).id

    def watch(condition: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition(job := tables.jobs.get(job_id)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{case}: stuck while {job.state}")
            time.sleep(0.02)
        return job

    before = watch(lambda job: job.state is blow.stage and job.token is not None)
    time.sleep(1.0)
    struck = list(strike(stack, tables, blow))
    began = time.monotonic()
    watch(lambda job: job.token != before.token)
    due = time.monotonic() - began
    watch(lambda job: job.token not in {None, before.token})
    claimed = time.monotonic() - began
    for process in struck:
        if process.is_running():
            process.send_signal(signal.SIGCONT)
    job = watch(lambda job: job.state.is_final)
    if job.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"{case}: {job.state}, {job.error}")
    finished = time.monotonic() - began
    if second is not None:
        second.wait(time.monotonic())
    return Recovery(case, due, claimed, finished, job.total_attempts)


def second_worker(stack: Stack, blow: Blow) -> Child:
    """Start another worker of the same kind."""
    first = stack.children[blow.worker]
    log = first.log.with_name(f"{blow.worker}-2.log")
    second = Child(f"{blow.worker} 2", first.command, first.environment, log)
    second.start()
    time.sleep(15.0)  # it loads
    return second


def strike(stack: Stack, tables: Tables, blow: Blow) -> Iterator[psutil.Process]:
    """Do what a blow says, and yield the processes that were hit."""
    keeper = psutil.Process(stack.children[blow.worker].pid)
    if blow.signal is signal.SIGSTOP:  # either worker may have taken the job
        [hold] = tables.claims.list_holds()
        folder = f"attempt-{hold.job_id}-{hold.attempt}"
        busy = next(
            child
            for child in psutil.process_iter()
            if any(folder in each for each in open_folders(child))
        )
        keeper = busy.parents()[1]
    hit = [keeper]
    for _ in range(blow.depth):
        hit = [child for process in hit for child in process.children()]
    hit += [below for process in hit for below in process.children(recursive=True)]
    for process in hit:
        process.send_signal(blow.signal)
        yield process


def open_folders(process: psutil.Process) -> list[str]:
    """Return what a worker's child of ours has open; empty for all others."""
    try:
        if "hanseg_registration.worker" not in process.cmdline():
            return []
        descriptors = Path(f"/proc/{process.pid}/fd").iterdir()
        return [str(each.readlink()) for each in descriptors]
    except (psutil.Error, OSError):
        return []


def report(found: Recovery) -> None:
    """Print a row."""
    late = "" if found.claimed_again_s <= MOST_SECONDS else "  LATE"
    print(
        f"{found.case:28} due again {found.due_again_s:5.1f} s, "
        f"claimed {found.claimed_again_s:5.1f} s, finished {found.finished_s:5.1f} s, "
        f"begun {found.attempts} times{late}",
        flush=True,
    )


def main() -> None:
    """Print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", choices=BLOWS)
    chosen = parser.parse_args().case or list(BLOWS)
    with tempfile.TemporaryDirectory() as folder:
        case = make_case(7, ct_spacing=(2.5, 2.5, 3.0), mr_spacing=(1.5, 1.5, 4.0))
        ct, mr = Path(folder, "ct.nii.gz"), Path(folder, "mr.nii.gz")
        assert case.mr is not None
        write_volume(case.ct, ct)
        write_volume(case.mr, mr)
        settings = Settings(data=Path(folder, "data"), port=free_port())
        with Stack(settings) as stack:
            stack.wait_until_ready()
            tables = open_tables(settings)
            found = []
            for name in chosen:
                found.append(measure(name, stack, tables, JobRequest(ct, mr)))
                report(found[-1])
            tables.close()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "recovery.json").write_text(
        json.dumps([asdict(each) for each in found], indent=2)
    )


if __name__ == "__main__":
    main()
