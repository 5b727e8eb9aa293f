"""A folder tells whether the process that made it still lives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hanseg_shared.held_folder import hold_new_folder, is_abandoned, remove_abandoned
from tests.freezing import frozen

HOLDER = """
import pathlib, signal, sys
from hanseg_shared.held_folder import hold_new_folder
with hold_new_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "image").write_text("a patient's")
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds `tmp_path / "scratch" / "a"`."""
    path = tmp_path / "scratch" / "a"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_folder_lives_as_long_as_it_is_used(tmp_path):
    path = tmp_path / "scratch" / "a"
    with hold_new_folder(path) as folder:
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert not is_abandoned(path)
        assert not remove_abandoned(path)
    assert not path.exists()


def test_what_was_there_before_goes(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    (path / "old").touch()
    with hold_new_folder(path):
        assert list(path.iterdir()) == []


def test_nothing_is_known_of_a_folder_that_is_not_there(tmp_path):
    assert not is_abandoned(tmp_path / "a")
    assert not remove_abandoned(tmp_path / "a")


def test_a_folder_that_was_never_held_is_abandoned(tmp_path):
    (tmp_path / "a").mkdir()
    assert is_abandoned(tmp_path / "a")
    assert remove_abandoned(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_living_process_keeps_its_folder_even_while_it_is_stopped(holder, tmp_path):
    path = tmp_path / "scratch" / "a"
    assert not is_abandoned(path)
    with frozen(holder.pid):
        assert not is_abandoned(path)
        assert not remove_abandoned(path)
        assert (path / "image").exists()


def test_a_killed_process_has_let_go_of_its_folder(holder, tmp_path):
    path = tmp_path / "scratch" / "a"
    holder.kill()
    holder.wait()
    assert is_abandoned(path)
    assert remove_abandoned(path)
    assert list(path.parent.iterdir()) == []


def test_a_forked_child_keeps_the_folder_of_a_dead_process(tmp_path):
    # an attempt goes on for as long as anything of it runs
    path = tmp_path / "a"
    ready, release = os.pipe(), os.pipe()
    holder = os.fork()
    if holder == 0:
        with hold_new_folder(path):
            if os.fork() == 0:
                os.write(ready[1], b"x")
                os.read(release[0], 1)
            os._exit(0)
    os.waitpid(holder, 0)
    os.read(ready[0], 1)
    assert not is_abandoned(path)
    os.write(release[1], b"x")
