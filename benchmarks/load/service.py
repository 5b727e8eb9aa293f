"""The whole service as `hanseg serve` runs it, with a model that takes no time."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from hanseg_lab.quick_model import write_quick_model
from hanseg_shared.stack.redis_server import free_port

PATIENCE_SECONDS = 300.0
"""Longest start: on a busy machine PyTorch alone takes a minute to load."""

_ROLES = {
    "hanseg_segmentation.api": "API",
    "hanseg_segmentation.worker": "segmentation",
    "hanseg_registration.worker": "registration",
    "sweep": "sweep",
    "redis-server": "Redis",
    "waiting_worker segmentation": "segmentation",
    "waiting_worker registration": "registration",
}
"""What a command line tells about a process."""

SETTINGS = {
    "HANSEG_MIN_FREE_BYTES": "0",
    "HANSEG_SECOND_STAGE": "false",
    "HANSEG_THREADS": "1",
    "HANSEG_ENGINE": "eager",
}
"""So that the model that ships, which every worker loads first, is ready soon."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs.

    Attributes:
        url: Where its API answers.
        data: Its folder.
        process: That which started the others.
        started_by: What that one is.
    """

    url: str
    data: Path
    process: psutil.Process
    started_by: str = "supervisor"

    def family(self) -> dict[str, list[psutil.Process]]:
        """Return its processes by what they do; who has just ended is left out."""
        found: dict[str, list[psutil.Process]] = {self.started_by: [self.process]}
        for each in self.process.children(recursive=True):
            try:
                line = " ".join(each.cmdline())
            except psutil.Error:
                continue
            role = next((r for word, r in _ROLES.items() if word in line), "other")
            found.setdefault(role, []).append(each)
        return found

    @property
    def api(self) -> psutil.Process:
        """The API's own process."""
        return min(self.family()["API"], key=lambda each: each.create_time())

    def client(self) -> httpx.Client:
        """Return a client of the API."""
        return httpx.Client(base_url=self.url, timeout=120.0, trust_env=False)


@contextmanager
def running(
    *, files: int | None = None, settings: Mapping[str, str] = SETTINGS
) -> Iterator[Service]:
    """Run `hanseg serve` in a folder of its own.

    Args:
        settings: Variables of its environment.
        files: Its limit of open files, beyond which it cannot go; the machine's own
            without.
    """
    with tempfile.TemporaryDirectory() as folder:
        port, data = free_port(), Path(folder) / "data"
        models = Path(folder) / "models"
        write_quick_model(models)
        hanseg = Path(sys.executable).with_name("hanseg")
        served = subprocess.Popen(
            [hanseg, "serve", "--port", str(port), "--data", str(data)],
            stderr=(Path(folder) / "serve.log").open("wb"),
            env=os.environ | settings | {"HANSEG_MODELS": str(models)},
            preexec_fn=None if files is None else lambda: _limit_files(files),
        )
        try:
            service = Service(
                f"http://127.0.0.1:{port}", data, psutil.Process(served.pid)
            )
            _wait_until_ready(service, served)
            yield service
        finally:
            served.terminate()
            served.wait(60)


def _limit_files(most: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _wait_until_ready(service: Service, served: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with service.client() as client:
        while time.monotonic() < deadline and served.poll() is None:
            try:
                if client.get("/readyz").is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
    raise SystemExit("the service did not become ready")


COURSE_POINTS = 60
"""Of a run's memory, so many measurements are kept in its table."""


@dataclass(slots=True)
class Held:
    """Memory of the processes of one kind, MB: at first, at most, in the end.

    Attributes:
        course: Every measurement, in order.
    """

    first: int
    most: int
    last: int
    course: list[int] = field(default_factory=list, repr=False)

    def note(self, now: int) -> None:
        """Take a later measurement in."""
        self.most, self.last = max(self.most, now), now
        self.course.append(now)

    def row(self) -> dict[str, int | list[int]]:
        """Return it for a table, with no more than `COURSE_POINTS` of its course."""
        every = -(-len(self.course) // COURSE_POINTS) or 1
        ends = {"first": self.first, "most": self.most, "last": self.last}
        return ends | {"course": self.course[::every]}


@dataclass
class MemoryWatch:
    """Follows what each process of a service holds (resident, shared pages counted).

    Attributes:
        service: Which.
        seconds: How often it looks.
        held: What it saw, by what processes do.
    """

    service: Service
    seconds: float = 1.0
    held: dict[str, Held] = field(default_factory=dict)

    def __enter__(self) -> MemoryWatch:
        self._over = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self.seconds):
            self._look()

    def _look(self) -> None:
        for role, processes in self.service.family().items():
            if now := sum(map(memory_of, processes)) >> 20:
                self.held.setdefault(role, Held(now, now, now)).note(now)


def memory_of(process: psutil.Process) -> int:
    """Return a process's resident memory in bytes; 0 if it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def processor_seconds(process: psutil.Process) -> float:
    """Return the processor time that a process has had."""
    times = process.cpu_times()
    return float(times.user + times.system)
