"""A start is waited for while something goes on, and what is missing is said."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.settings import Settings
from hanseg_shared.stack import Stack
from hanseg_shared.stack.children import Child
from hanseg_shared.stack.patience import (
    IDLE_SECONDS,
    MOST_SECONDS,
    PROGRESS_CPU_SECONDS,
    TELL_SECONDS,
    Patience,
    cpu_seconds_of,
)

WORKERS = ("registration worker", "segmentation worker")


@dataclass
class Start:
    """A start whose time passes as a test says."""

    now: float = 0.0
    cpu: float = 0.0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.patience = Patience(
            self.said.append, Path("/logs"), clock=lambda: self.now
        )

    def wait(self, seconds: float, missing=WORKERS, cpu: float = 0.0) -> None:
        """Let time pass second by second, and so much computing in each of them."""
        for _ in range(int(seconds)):
            self.now += 1.0
            self.cpu += cpu
            self.patience.note(missing, "is loading", cpu_seconds=self.cpu)


def test_what_computes_is_waited_for_however_slowly():
    start = Start()
    start.wait(10 * IDLE_SECONDS, cpu=1.1 * PROGRESS_CPU_SECONDS / IDLE_SECONDS)


def test_what_does_nothing_is_given_up_with_its_reason():
    start = Start()
    with pytest.raises(ServiceUnavailableError, match=r"121 s.*is loading.*/logs"):
        start.wait(2 * IDLE_SECONDS, cpu=0.5 * PROGRESS_CPU_SECONDS / IDLE_SECONDS)
    assert start.now == IDLE_SECONDS + 1


def test_a_part_that_became_ready_is_progress():
    start = Start()
    start.wait(IDLE_SECONDS - 1, missing=("api",))
    start.wait(IDLE_SECONDS - 1)
    start.wait(IDLE_SECONDS - 1, missing=WORKERS[:1])


def test_a_process_that_was_replaced_must_compute_anew():
    start = Start(cpu=50.0)
    start.wait(2)
    start.cpu = 0.0
    start.wait(IDLE_SECONDS - 3)
    start.wait(10, cpu=PROGRESS_CPU_SECONDS)
    start.wait(IDLE_SECONDS - 1)


def test_what_computes_for_ever_is_given_up():
    start = Start()
    with pytest.raises(ServiceUnavailableError, match=f"{MOST_SECONDS:.0f} s"):
        start.wait(2 * MOST_SECONDS, cpu=1.0)


def test_it_is_said_now_and_then_what_is_waited_for():
    start = Start()
    start.wait(3 * TELL_SECONDS + 1)
    assert start.said == [
        f"not ready after {n * TELL_SECONDS:.0f} s: is loading" for n in (1, 2, 3)
    ]


def test_the_computing_of_a_session_is_counted_with_its_children():
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    code = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}]);"
        "print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 0.3 <= cpu_seconds_of([process.pid]) < 30
        process.communicate(b"\n")
    assert cpu_seconds_of([process.pid]) == 0
    assert cpu_seconds_of([None]) == 0


LOADING = "one has been loading for 3 s"
CHECKS = [
    {"name": "database", "ok": True, "detail": "answers"},
    {"name": "segmentation worker", "ok": False, "detail": LOADING},
]


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        (httpx.Response(200, json={}), {}),
        (
            httpx.Response(503, json={"detail": "x", "checks": CHECKS}),
            {"segmentation worker": LOADING},
        ),
        (httpx.Response(503, json={"detail": "full"}), {"api": "full"}),
        (httpx.Response(502, text="a proxy"), {"api": "the API does not answer"}),
        (httpx.ReadTimeout("late"), {"api": "the API does not answer"}),
    ],
    ids=["ready", "checks", "detail", "no JSON", "late"],
)
def test_what_is_missing_is_asked_of_the_api(tmp_path, monkeypatch, answer, missing):
    def get(url: str, **_: object) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(httpx, "get", get)
    stack = Stack(Settings(data=tmp_path, port=1))
    assert stack._ask_what_is_missing() == missing


def test_only_what_is_late_is_watched(tmp_path):
    stack = Stack(Settings(data=tmp_path, port=1))
    names = ("redis", "api", "registration", "segmentation", "sweep")
    stack._children = [Child(n, ["true"], os.environ, tmp_path / n) for n in names]
    workers = ["registration", "segmentation"]
    assert [c.name for c in stack._list_late({"database": ""})] == workers
    assert [c.name for c in stack._list_late({"api": ""})] == ["api", *workers]
