"""Many clients at once, as fast as they can, and what a job takes beyond its stages."""

from __future__ import annotations

import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import httpx
from benchmarks.load.service import MemoryWatch, Service, processor_seconds

from hanseg_lab.quick_model import NAME

ALONE = 10
"""Jobs that are sent one after the other."""

ALONE_SECONDS, CROWD_SECONDS = 0.05, 0.5
"""How often a job that is sent alone is asked for, and one of the crowd."""

LOOKS = 500
"""Requests over which the processor time of one is taken."""

JSON = "application/json"

FINAL = {"succeeded", "failed", "cancelled", "expired"}


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent: a CT, its MR if any, and the model that contours it."""

    ct: Path
    mr: Path | None = None
    model: str = NAME


@dataclass(slots=True)
class Times:
    """Seconds by kind of request, and of each job what it took beyond them.

    Attributes:
        by_stage: What each stage took, by its name; `stages` has their sums.
        waiting: From the row to the first claim.
        between: Between stages, in which messages travel.
        noticing: Until the client asked again and knew, and all the rest.
    """

    submit: list[float] = field(default_factory=list)
    poll: list[float] = field(default_factory=list)
    download: list[float] = field(default_factory=list)
    livez: list[float] = field(default_factory=list)
    overhead: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    noticing: list[float] = field(default_factory=list)
    stages: list[float] = field(default_factory=list)
    by_stage: dict[str, list[float]] = field(default_factory=dict)
    failed: int = 0


def timed(into: list[float], call: Callable[[], httpx.Response]) -> httpx.Response:
    """Make a request and note how long it took."""
    started = time.perf_counter()
    answer = call()
    into.append(time.perf_counter() - started)
    answer.raise_for_status()
    return answer


def send_case(
    service: Service, case: Case, times: Times, *, poll_seconds: float
) -> str:
    """Submit a case, poll until it is final, download its labels; return its place."""
    with service.client() as client:
        started = time.perf_counter()
        with ExitStack() as opened:
            files = _open_form(case, opened)
            answer = timed(times.submit, lambda: client.post("/v1/jobs", files=files))
        requests = times.submit[-1]
        place = answer.headers["location"]
        while True:
            job = timed(times.poll, lambda: client.get(place)).json()
            if job["state"] in FINAL:
                break
            time.sleep(poll_seconds)
        if job["state"] != "succeeded":
            times.failed += 1
            return place
        labels = f"{place}/results/segmentation.nii.gz"
        timed(times.download, lambda: client.get(labels))
        requests += times.download[-1]
        split(times, job, time.perf_counter() - started - requests)
    return place


def _open_form(
    case: Case, opened: ExitStack
) -> dict[str, tuple[str | None, IO[bytes] | str, str]]:
    """Return the form of a submission, whose files are open as long as the stack."""
    form: dict[str, tuple[str | None, IO[bytes] | str, str]] = {
        "request": (None, json.dumps({"options": {"model": case.model}}), JSON)
    }
    for role, path in (("ct", case.ct), ("mr", case.mr)):
        if path is not None:
            file = opened.enter_context(path.open("rb"))
            form[role] = (f"{role}.nii.gz", file, "application/gzip")
    return form


def split(times: Times, job: dict[str, Any], seconds: float) -> None:
    """Note what of a job's time its stages were, and what the rest was."""
    created, begun, ended = (
        datetime.fromisoformat(job[f"{what}_at"]).timestamp()
        for what in ("created", "started", "finished")
    )
    for stage in job["stages"]:
        times.by_stage.setdefault(stage["name"], []).append(stage["seconds"])
    stages = sum(stage["seconds"] for stage in job["stages"])
    times.stages.append(stages)
    times.overhead.append(seconds - stages)
    times.waiting.append(begun - created)
    times.between.append(ended - begun - stages)
    times.noticing.append(seconds - (ended - created))


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of time: how often it was taken, median and 95th percentile, ms."""

    name: str
    count: int
    p50_ms: float
    p95_ms: float


def summarise(name: str, seconds: list[float]) -> Row:
    """Return median and 95th percentile."""
    p50, p95 = percentiles(seconds)
    return Row(name, len(seconds), round(1e3 * p50, 1), round(1e3 * p95, 1))


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return median and 95th percentile; NaN where there is no value."""
    if not values:
        return float("nan"), float("nan")
    if len(values) == 1:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]


def send_alone(service: Service, case: Case, *, jobs: int = ALONE) -> Times:
    """Send jobs one after the other."""
    send_case(service, case, Times(), poll_seconds=ALONE_SECONDS)  # loads the model
    times = Times()
    for _ in range(jobs):
        send_case(service, case, times, poll_seconds=ALONE_SECONDS)
    return times


def send_crowd(
    service: Service,
    cases: Sequence[Case],
    *,
    jobs: int,
    clients: int,
    seconds: float,
) -> tuple[Times, MemoryWatch]:
    """Send jobs by many clients at once, while somebody asks whether the API lives.

    Args:
        service: Where.
        cases: What is sent, in turn.
        jobs: How many are sent ...
        clients: ... and by how many at a time.
        seconds: After so long nobody sends any more.

    Returns:
        The times, and what the processes held meanwhile.
    """
    times, over = Times(), threading.Event()
    deadline = time.monotonic() + seconds

    def send(case: Case) -> None:
        if time.monotonic() < deadline:
            send_case(service, case, times, poll_seconds=CROWD_SECONDS)

    def ask_if_alive() -> None:
        with service.client() as client:
            while not over.wait(CROWD_SECONDS / 2):
                timed(times.livez, lambda: client.get("/livez"))

    asking = threading.Thread(target=ask_if_alive)
    asking.start()
    try:
        with MemoryWatch(service) as memory, ThreadPoolExecutor(clients) as pool:
            sent = itertools.islice(itertools.cycle(cases), jobs)
            for each in [pool.submit(send, case) for case in sent]:
                each.result()
    finally:
        over.set()
        asking.join()
    return times, memory


def cost_of_a_look(service: Service, case: Case) -> tuple[float, float]:
    """Return the API's processor time, ms, for a look at a job, and for `/livez`."""
    place = send_case(service, case, Times(), poll_seconds=ALONE_SECONDS)
    costs = []
    with service.client() as client:
        for path in (place, "/livez"):
            before = processor_seconds(service.api)
            for _ in range(LOOKS):
                client.get(path).raise_for_status()
            costs.append(1e3 * (processor_seconds(service.api) - before) / LOOKS)
    return round(costs[0], 2), round(costs[1], 2)
