"""A keeper forks its worker anew when it is killed, and hands on what it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

HEAD = """
import os, signal, sys
from hanseg_shared.jobs import keeper
keeper.QUICK_DEATH_SECONDS = float(sys.argv[1])
def say(word):
    os.write(1, f"{word}\\n".encode())  # a signal may arrive in the middle of it
def serve():
    %s
sys.exit(keeper.Keeper(serve).run())
"""

WAITING = "say(os.getpid()); signal.pause()"

LISTENING = """
    for number in keeper.STOP_SIGNALS:
        signal.signal(number, lambda number, _: say(number))
    say(os.getpid())
    while True:
        signal.pause()
"""

Keep = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def keep() -> Iterator[Keep]:
    """Return what starts a keeper of a worker that does what is given as code."""
    started = []

    def start(code: str, *, quick_seconds: float = 0.0) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD % code, str(quick_seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_a_worker_that_is_killed_is_forked_anew(keep: Keep):
    keeper = keep(WAITING)
    first = line(keeper)
    os.kill(first, signal.SIGKILL)
    second = line(keeper)
    assert second != first
    assert psutil.Process(second).ppid() == keeper.pid


def test_one_that_is_killed_at_once_is_left_to_who_started_the_keeper(keep: Keep):
    keeper = keep(WAITING, quick_seconds=600.0)
    os.kill(line(keeper), signal.SIGKILL)
    assert keeper.wait(20) == -signal.SIGKILL


def test_the_exit_status_is_the_workers(keep: Keep):
    assert keep("return 7").wait(20) == 7


def test_a_worker_dies_with_its_keeper(keep: Keep):
    keeper = keep(LISTENING)
    worker = psutil.Process(line(keeper))
    keeper.kill()
    gone, _ = psutil.wait_procs([worker], timeout=20)
    assert gone


def test_a_signal_to_all_of_the_group_reaches_the_worker_once(keep: Keep):
    keeper = keep(LISTENING)
    line(keeper)
    os.killpg(keeper.pid, signal.SIGTERM)
    assert line(keeper) == signal.SIGTERM
    keeper.send_signal(signal.SIGQUIT)
    assert line(keeper) == signal.SIGQUIT


def test_a_worker_that_was_told_to_stop_is_not_forked_anew(keep: Keep):
    keeper = keep(WAITING)
    line(keeper)
    keeper.terminate()
    assert keeper.wait(20) == -signal.SIGTERM
