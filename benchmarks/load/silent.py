"""Connections that say nothing, held open in place of each that is cut off."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from benchmarks.load.crowd import Times, timed
from benchmarks.load.service import Service, processor_seconds

PAUSE_SECONDS = 0.5
"""Between two questions whether the API lives."""


@dataclass
class Crowd:
    """So many silent connections; each that ends is replaced.

    Attributes:
        made: How many were made in all.
        open: How many there are.
    """

    url: str
    size: int
    made: int = 0
    open: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Crowd:
        self._thread = threading.Thread(target=self._hold, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _hold(self) -> None:
        place = urlsplit(self.url)
        address = (place.hostname or "", place.port or 0)
        with selectors.DefaultSelector() as watched:
            while not self._over.is_set():
                while self.open < self.size and not self._over.is_set():
                    if not self._connect(watched, address):
                        break
                for key, _ in watched.select(0.2):
                    watched.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                    self.open -= 1
            for key in list(watched.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]

    def _connect(
        self, watched: selectors.BaseSelector, address: tuple[str, int]
    ) -> bool:
        try:
            made = socket.create_connection(address, timeout=0.2)
        except OSError:
            return False  # the backlog is full: later
        watched.register(made, selectors.EVENT_READ)
        self.made, self.open = self.made + 1, self.open + 1
        return True


@dataclass(frozen=True, slots=True)
class Endured:
    """How the service stood it.

    Attributes:
        connections: How many were held.
        made: How many were made, as the service ended them.
        livez: Seconds of each question whether it lives, a new connection each.
        unanswered: How many of these were not answered.
        submitted: Answers to submissions by status.
        processor_share: Of one processor, the API's.
        log_bytes: By how much the API's log grew.
    """

    connections: int
    made: int
    livez: list[float]
    unanswered: int
    submitted: dict[int, int]
    processor_share: float
    log_bytes: int


def endure(service: Service, ct: Path, *, connections: int, seconds: float) -> Endured:
    """Hold silent connections, and ask and submit meanwhile, without keep-alive."""
    log = service.data / "logs" / "api.log"
    times, unanswered, submitted = Times(), 0, dict[int, int]()
    with Crowd(service.url, connections) as crowd:
        deadline = time.monotonic() + 30.0
        while crowd.made < connections and time.monotonic() < deadline:
            time.sleep(0.1)
        before, size = processor_seconds(service.api), log.stat().st_size
        started, round_ = time.monotonic(), 0
        while time.monotonic() - started < seconds:
            try:
                with service.client() as client:
                    timed(times.livez, partial(client.get, "/livez", timeout=10.0))
            except httpx.HTTPError:
                unanswered += 1
            if round_ % 10 == 0:
                status = _submit(service, ct)
                submitted[status] = submitted.get(status, 0) + 1
            round_ += 1
            time.sleep(PAUSE_SECONDS)
        taken = time.monotonic() - started
        share = (processor_seconds(service.api) - before) / taken
        return Endured(
            connections,
            crowd.made,
            times.livez,
            unanswered,
            submitted,
            round(share, 2),
            log.stat().st_size - size,
        )


def _submit(service: Service, ct: Path) -> int:
    """Submit a case on a connection of its own; 0 if nothing was answered."""
    try:
        with service.client() as client, ct.open("rb") as file:
            return client.post("/v1/jobs", files={"ct": file}).status_code
    except httpx.HTTPError:
        return 0
