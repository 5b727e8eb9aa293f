"""What a gigabyte that is sent adds to the API's memory, by either way in."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.load.service import MemoryWatch, Service

CHUNK = os.urandom(1 << 20)
BOUNDARY = "benchmark"
HEAD = (
    f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=ct; filename=ct.nii\r\n\r\n"
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class Sent:
    """A large body that was sent.

    Attributes:
        way: How.
        status: What it was answered with.
        seconds: What it took.
        before_mb: What the API held before.
        most_mb: What it and its children held at most, meanwhile and 2 s afterwards.
    """

    way: str
    status: int
    seconds: float
    before_mb: int
    most_mb: int

    @property
    def added_mb(self) -> int:
        """How much it added."""
        return self.most_mb - self.before_mb


def chunks(megabytes: int) -> Iterator[bytes]:
    """Yield a body that was never in memory as a whole."""
    return itertools.repeat(CHUNK, megabytes)


def send_large(service: Service, megabytes: int) -> list[Sent]:
    """Send so much as an upload, and again as a form that is no image."""
    return [
        _watch(service, "upload (PUT)", lambda: _put(service, megabytes)),
        _watch(service, "form (POST /v1/jobs)", lambda: _post(service, megabytes)),
    ]


def _watch(service: Service, way: str, send: Callable[[], int]) -> Sent:
    with MemoryWatch(service, seconds=0.02) as memory:
        before = memory.held["API"].first
        started = time.perf_counter()
        status = send()
        seconds = time.perf_counter() - started
        time.sleep(2.0)
    return Sent(way, status, round(seconds, 1), before, memory.held["API"].most)


def _put(service: Service, megabytes: int) -> int:
    digest = hashlib.sha256()
    for chunk in chunks(megabytes):
        digest.update(chunk)
    announced = {"bytes": megabytes << 20, "sha256": digest.hexdigest()}
    with service.client() as client:
        made = client.post("/v1/uploads", json=announced).raise_for_status()
        place = f"{made.headers['location']}/content"
        size = {"Content-Length": str(megabytes << 20)}
        return client.put(place, content=chunks(megabytes), headers=size).status_code


def _post(service: Service, megabytes: int) -> int:
    size = len(HEAD) + (megabytes << 20) + len(TAIL)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(size),
    }
    body = itertools.chain([HEAD], chunks(megabytes), [TAIL])
    with service.client() as client:
        return client.post("/v1/jobs", content=body, headers=headers).status_code
