"""Many clients at once, as fast as they can, and what a job takes beyond its stages."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


@dataclass(slots=True)
class Times:
    """Seconds by kind of request, and of each job what it took beyond them.

    Attributes:
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
    failed: int = 0


def timed(into: list[float], call: Callable[[], httpx.Response]) -> httpx.Response:
    """Make a request and note how long it took."""
    started = time.perf_counter()
    answer = call()
    into.append(time.perf_counter() - started)
    answer.raise_for_status()
    return answer


def send_case(service: Service, ct: Path, times: Times, *, poll_seconds: float) -> str:
    """Submit a case, poll until it is final, download its labels; return its place."""
    with service.client() as client:
        started = time.perf_counter()
        with ct.open("rb") as file:
            files: dict[str, tuple[str | None, IO[bytes] | str, str]] = {
                "ct": ("ct.nii.gz", file, "application/gzip"),
                "request": (None, json.dumps({"options": {"model": NAME}}), JSON),
            }
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


def split(times: Times, job: dict[str, Any], seconds: float) -> None:
    """Note what of a job's time its stages were, and what the rest was."""
    created, begun, ended = (
        datetime.fromisoformat(job[f"{what}_at"]).timestamp()
        for what in ("created", "started", "finished")
    )
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
    if len(seconds) < 2:
        seconds = [*seconds, *seconds] or [float("nan")] * 2
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return Row(name, len(seconds), round(1e3 * cuts[9], 1), round(1e3 * cuts[18], 1))


def send_alone(service: Service, ct: Path) -> Times:
    """Send jobs one after the other."""
    send_case(service, ct, Times(), poll_seconds=ALONE_SECONDS)  # loads the model
    times = Times()
    for _ in range(ALONE):
        send_case(service, ct, times, poll_seconds=ALONE_SECONDS)
    return times


def send_crowd(
    service: Service, ct: Path, *, jobs: int, clients: int, seconds: float
) -> tuple[Times, MemoryWatch]:
    """Send jobs by many clients at once, while somebody asks whether the API lives.

    Args:
        service: Where.
        ct: The case, the same each time.
        jobs: How many are sent ...
        clients: ... and by how many at a time.
        seconds: After so long nobody sends any more.

    Returns:
        The times, and what the processes held meanwhile.
    """
    times, over = Times(), threading.Event()
    deadline = time.monotonic() + seconds

    def send() -> None:
        if time.monotonic() < deadline:
            send_case(service, ct, times, poll_seconds=CROWD_SECONDS)

    def ask_if_alive() -> None:
        with service.client() as client:
            while not over.wait(CROWD_SECONDS / 2):
                timed(times.livez, lambda: client.get("/livez"))

    asking = threading.Thread(target=ask_if_alive)
    asking.start()
    try:
        with MemoryWatch(service) as memory, ThreadPoolExecutor(clients) as pool:
            for each in [pool.submit(send) for _ in range(jobs)]:
                each.result()
    finally:
        over.set()
        asking.join()
    return times, memory


def cost_of_a_look(service: Service, ct: Path) -> tuple[float, float]:
    """Return the API's processor time, ms, for a look at a job, and for `/livez`."""
    place = send_case(service, ct, Times(), poll_seconds=ALONE_SECONDS)
    costs = []
    with service.client() as client:
        for path in (place, "/livez"):
            before = processor_seconds(service.api)
            for _ in range(LOOKS):
                client.get(path).raise_for_status()
            costs.append(1e3 * (processor_seconds(service.api) - before) / LOOKS)
    return round(costs[0], 2), round(costs[1], 2)
