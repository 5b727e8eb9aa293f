"""Processes that hang, and surely do."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

STOPPED_SECONDS = 10.0
"""How long a stop may take on a busy machine."""

tick = threading.Event()


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Let processes hang while the body runs, each with all its threads.

    SIGSTOP is only on its way when it was sent: where threads wait for a processor, the
    others work on for some milliseconds, in which a broker answers. So the body runs
    once none of them does.
    """
    with ExitStack() as thawed:
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                process.send_signal(signal.SIGSTOP)
                thawed.callback(_thaw, process)
        _wait_until_stopped(pids)
        yield


def _thaw(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)


def _wait_until_stopped(pids: Iterable[int]) -> None:
    deadline = time.monotonic() + STOPPED_SECONDS
    for pid in pids:
        while not _is_stopped(pid):
            assert time.monotonic() < deadline, f"process {pid} does not stop"
            tick.wait(0.005)


def _is_stopped(pid: int) -> bool:
    """Whether none of a process's threads can run; one that has ended cannot."""
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state = thread.read_text().rpartition(")")[2].split()[0]
            if state not in {"T", "t", "Z", "X"}:
                return False
    return True
