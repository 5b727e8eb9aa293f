"""A supervised process is started again when it dies, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hanseg_shared.cli import CANNOT_START
from hanseg_shared.stack.children import (
    LEASH,
    LONGEST_PAUSE_SECONDS,
    MOST_LOG_BYTES,
    MOST_QUICK_DEATHS,
    QUICK_DEATH_SECONDS,
    Child,
)

SLEEPER = [
    sys.executable,
    "-c",
    "import time; print('up', flush=True); time.sleep(600)",
]
REFUSAL = (
    "import sys; print('Loading ...'); "
    f"print('hanseg: the worker cannot start: no GPU'); sys.exit({CANNOT_START})"
)
MUMBLER = [
    sys.executable,
    "-c",
    "print('no model in this folder'); raise SystemExit(3)",
]


@pytest.fixture
def make_child(tmp_path: Path):
    children: list[Child] = []

    def make(command: list[str], **arguments) -> Child:
        child = Child("worker", command, os.environ, tmp_path / "log", **arguments)
        children.append(child)
        child.start()
        return child

    yield make
    for child in children:
        child.wait(time.monotonic())


def wait_for_death(pid: int | None) -> None:
    psutil.wait_procs([psutil.Process(pid)], timeout=20)


def test_a_living_child_is_left_alone(make_child):
    child = make_child(SLEEPER)
    assert child.revive() is None


def test_a_killed_child_says_by_what(make_child):
    child = make_child(SLEEPER)
    os.kill(child.pid, signal.SIGKILL)
    child._process.wait()
    assert child.revive() == "worker was killed by SIGKILL"


def test_a_dead_child_is_started_again_after_its_pause(make_child):
    child = make_child(SLEEPER)
    first = child.pid
    os.kill(first, signal.SIGKILL)
    child._process.wait()
    child.revive()
    child._due_at = time.monotonic()  # the pause is over
    child.revive()
    assert child.pid != first
    assert child.revive() is None


def test_a_child_that_dies_at_once_again_and_again_is_hopeless(make_child):
    child = make_child(MUMBLER)
    for _ in range(MOST_QUICK_DEATHS):
        child._process.wait()
        assert child.revive() == "worker ended with status 3: no model in this folder"
        child._due_at = time.monotonic()
        child.revive()
    assert child.hopeless
    assert child.last_words() == "no model in this folder"


def test_a_child_that_has_worked_before_is_never_given_up(make_child):
    child = make_child(MUMBLER)
    child.proven = True
    for _ in range(3 * MOST_QUICK_DEATHS):
        child._process.wait()
        assert child.revive() is not None
        assert child._due_at - time.monotonic() <= LONGEST_PAUSE_SECONDS
        child._due_at = time.monotonic()
        child.revive()
    assert not child.hopeless
    assert child.quick_deaths == 3 * MOST_QUICK_DEATHS


def test_a_slow_machine_proves_nothing(make_child):
    child = make_child(MUMBLER)
    for _ in range(MOST_QUICK_DEATHS):
        child._process.wait()
        child._started_at -= QUICK_DEATH_SECONDS
        child.revive()
        child._due_at = time.monotonic()
        child.revive()
    assert child.hopeless


def test_one_that_has_worked_and_lived_for_a_while_begins_anew(make_child):
    child = make_child(SLEEPER)
    child.proven, child.quick_deaths = True, 3
    child._started_at -= QUICK_DEATH_SECONDS
    os.kill(child.pid, signal.SIGKILL)
    child._process.wait()
    child.revive()
    assert child.quick_deaths == 0


def test_a_child_that_has_worked_may_refuse_to_start_for_a_while(make_child):
    child = make_child([sys.executable, "-c", REFUSAL])
    child.proven = True
    child._process.wait()
    child.revive()
    assert child.refused
    assert not child.hopeless


def test_a_child_without_room_for_its_log_starts_all_the_same(make_child, tmp_path):
    (tmp_path / "log").mkdir()  # which cannot be opened as a file
    child = make_child(SLEEPER)
    assert psutil.pid_exists(child.pid)


def test_a_child_that_cannot_be_started_now_is_tried_again(make_child, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    child = make_child(SLEEPER)
    os.kill(child.pid, signal.SIGKILL)
    child._process.wait()
    child.revive()
    child._due_at = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", fail)
        child.revive()
    child._due_at = time.monotonic()
    child.revive()
    assert child._process.poll() is None


def test_a_child_that_refuses_to_start_is_hopeless_at_once(make_child):
    child = make_child([sys.executable, "-c", REFUSAL])
    child._process.wait()
    assert child.revive() == "the worker cannot start: no GPU"
    assert child.refused
    assert child.hopeless


def test_a_child_with_bad_settings_is_hopeless_at_once(make_child):
    fault = "print('HANSEG_PORT: not a number'); raise SystemExit(2)"
    child = make_child([sys.executable, "-c", fault])
    child._process.wait()
    assert child.revive() == "worker cannot start: HANSEG_PORT: not a number"
    assert child.hopeless


def test_a_child_reads_its_standard_input(make_child):
    child = make_child(
        [sys.executable, "-c", "print(input()[::-1])"], stdin="drowssap\n"
    )
    child._process.wait()
    assert child.last_words() == "password"


def test_a_child_that_ignores_sigterm_is_killed(make_child):
    stubborn = "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    child = make_child([sys.executable, "-c", stubborn])
    child.wait(time.monotonic())
    assert not psutil.pid_exists(child.pid)


def test_what_a_child_started_dies_with_it(make_child, tmp_path):
    note = tmp_path / "pid"
    spawn = (
        "import subprocess, sys, pathlib;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"pathlib.Path({str(note)!r}).write_text(str(p.pid))"
    )
    child = make_child([sys.executable, "-c", spawn])
    child._process.wait()
    grandchild = int(note.read_text())
    child.revive()
    wait_for_death(grandchild) if psutil.pid_exists(grandchild) else None
    assert not psutil.pid_exists(grandchild)


def test_a_child_dies_with_a_supervisor_that_is_killed(tmp_path):
    code = (
        "import os, sys, time, pathlib;"
        "from hanseg_shared.stack.children import Child;"
        f"log = pathlib.Path({str(tmp_path)!r}) / 'log';"
        f"c = Child('x', {SLEEPER!r}, os.environ, log);"
        "c.start(); print(c.pid, flush=True); time.sleep(600)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    pid = int(supervisor.stdout.readline())
    child = psutil.Process(pid)
    wait_until_it_is_the_sleeper(tmp_path / "log")
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    gone, _ = psutil.wait_procs([child], timeout=20)
    assert gone


def wait_until_it_is_the_sleeper(log: Path) -> None:
    # the leash is on before the sleeper begins to run, and then it prints
    deadline = time.monotonic() + 20
    while "up" not in log.read_text() and time.monotonic() < deadline:
        os.sched_yield()


def test_a_large_log_is_put_aside_when_its_child_starts(make_child, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        log.truncate(MOST_LOG_BYTES + 1)
    child = make_child([sys.executable, "-c", "print('new')"])
    child._process.wait()
    assert (tmp_path / "log").read_text() == "new\n"
    assert (tmp_path / "log.1").stat().st_size > MOST_LOG_BYTES


def test_a_child_whose_supervisor_died_before_the_leash_held_does_not_begin(tmp_path):
    stranger = str(os.getpid() + 1)  # not the parent of what is started here
    done = subprocess.run([*LEASH, stranger, "touch", tmp_path / "begun"], check=False)
    assert done.returncode == 1
    assert not (tmp_path / "begun").exists()
