"""Commands as children: their words, their status, and the lock that they inherit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from hanseg_lab.challenge import commands
from hanseg_lab.challenge.cli import challenge
from hanseg_lab.challenge.commands import HANSEG, ChildCommands
from hanseg_lab.locked import locked
from hanseg_shared.errors import JobStateError, OptionError, ProcessLostError


@pytest.fixture(autouse=True)
def python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a command be Python with the words that follow its first."""
    monkeypatch.setattr(
        commands, "_program", lambda words: [sys.executable, *words[1:]]
    )


def test_a_commands_words_and_time_are_kept(tmp_path: Path):
    log = tmp_path / "logs" / "one.log"
    busy = "print('hello'); x = [n * n for n in range(10**6)]"
    taken = ChildCommands()([HANSEG, "-c", busy], log=log)
    assert "hello" in log.read_text()
    assert taken.processor_seconds > 0
    assert taken.seconds > 0


def test_a_failed_command_says_its_last_words(tmp_path: Path):
    log = tmp_path / "one.log"
    wrong = "import sys; print('no such case'); sys.exit(2)"
    with pytest.raises(ProcessLostError, match=r"(?s)status 2.*no such case"):
        ChildCommands()([HANSEG, "-c", wrong], log=log)


def test_a_command_gets_its_environment_and_no_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HANSEG_URL", "http://elsewhere")
    log = tmp_path / "one.log"
    show = "import os; print(os.environ.get('HANSEG_URL'), os.environ['MODELS'])"
    ChildCommands()([HANSEG, "-c", show], log=log, environment={"MODELS": "here"})
    assert "None here" in log.read_text()


def test_a_command_can_be_ended(tmp_path: Path):
    runner, log = ChildCommands(), tmp_path / "one.log"
    wait = "print('ready', flush=True); import threading; threading.Event().wait(60)"
    failures: list[ProcessLostError] = []

    def run() -> None:
        try:
            runner([HANSEG, "-c", wait], log=log)
        except ProcessLostError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 20
    while not (log.exists() and "ready" in log.read_text()[-20:]):
        assert time.monotonic() < until
        thread.join(0.02)
    runner.stop()
    thread.join(20)
    assert len(failures) == 1


def test_a_command_ends_with_the_main_thread_that_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begun: list[subprocess.Popen[bytes]] = []

    def interrupted(child: subprocess.Popen[bytes]) -> tuple[int, float]:
        begun.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_wait", interrupted)
    wait = "import threading; threading.Event().wait(60)"
    with pytest.raises(KeyboardInterrupt):
        ChildCommands()([HANSEG, "-c", wait], log=tmp_path / "one.log")
    assert begun[0].returncode == -signal.SIGTERM


def test_two_runs_do_not_share_a_folder(tmp_path: Path):
    with (
        locked(tmp_path),
        pytest.raises(JobStateError, match="at work"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


def test_a_command_that_was_left_behind_keeps_the_lock(tmp_path: Path):
    inside, outside = os.pipe()
    with locked(tmp_path) as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", f"import os; os.read({inside}, 1)"],
            pass_fds=(lock, inside),
        )
    with pytest.raises(JobStateError, match="left behind"), locked(tmp_path):
        pass
    os.write(outside, b"x")
    child.wait(20)
    with locked(tmp_path):
        pass
    os.close(inside)
    os.close(outside)


def test_the_status_of_an_empty_challenge(tmp_path: Path):
    result = CliRunner().invoke(challenge, ["status", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "data training: to be done"
    assert "train CHB-QuantIF: to be done" in lines
    assert lines[-1] == "report: to be done"
    assert not list(tmp_path.iterdir())


def test_options_tell_the_challenge_s_own_settings():
    result = CliRunner().invoke(challenge, ["run", "--help"])
    told = " ".join(result.output.split())
    for words in ("in mm. [4 4 3]", "together. [8]", "for none. [default,eli1]"):
        assert words in told


@pytest.mark.parametrize("words", [["train", "nobody"], ["--methods", "nobody"]])
def test_a_method_that_there_is_not_is_refused(tmp_path: Path, words):
    result = CliRunner().invoke(challenge, ["run", *words, "--out", str(tmp_path)])
    assert isinstance(result.exception, OptionError)
    assert "nobody" in str(result.exception)
    assert not (tmp_path / "data").exists()
