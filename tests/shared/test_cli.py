"""The command line's last resort: every end has its status and one line."""

from __future__ import annotations

import errno
import json
import signal

import click
import pytest

from hanseg_segmentation.model_package import shipped_models
from hanseg_shared import cli
from hanseg_shared.errors import (
    InputError,
    JobError,
    OptionError,
    ServiceUnavailableError,
)


def end_with(monkeypatch, body) -> int:
    command = click.Command("x", callback=body)
    monkeypatch.setattr(cli, "hanseg", command)
    monkeypatch.setattr("sys.argv", ["hanseg"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("why"), 2),
        (JobError("why"), 3),
        (ServiceUnavailableError("why"), 4),
        (PermissionError(errno.EACCES, "why", "/root/out"), 2),
        (OSError(errno.ENOSPC, "why"), 4),
    ],
)
def test_every_error_is_one_line_and_a_status(monkeypatch, capsys, error, status):
    def body() -> None:
        raise error

    assert end_with(monkeypatch, body) == status
    assert "why" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_that_end_a_process_let_it_clean_up(monkeypatch, number):
    cleaned: list[bool] = []

    def body() -> None:
        try:
            signal.raise_signal(number)  # in this thread: another could swallow it
        finally:
            cleaned.append(True)

    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)  # under nohup SIGHUP is ignored
    try:
        assert end_with(monkeypatch, body) == cli.INTERRUPTED
        assert cleaned == [True]
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


def test_a_setting_that_makes_no_sense_is_one_line(monkeypatch, capsys):
    from hanseg_shared.settings import read_settings

    monkeypatch.setenv("HANSEG_PORT", "eighty")
    with pytest.raises(OptionError, match=r"HANSEG_PORT: .*integer"):
        read_settings()


def test_an_impossible_model_name_is_bad_input():
    from hanseg_shared.client.cli import _options

    with pytest.raises(OptionError, match="a b"):
        _options("a b", "rigid", "elastix")


def test_what_a_backend_cannot_do_is_bad_input_before_a_service_is_sought():
    from hanseg_shared.client.cli import _options

    with pytest.raises(OptionError, match="with the backend ants; use elastix"):
        _options("default", "deformable", "ants")


def test_a_sites_own_models_are_listed(monkeypatch, tmp_path):
    from click.testing import CliRunner

    from hanseg_segmentation.cli import models

    monkeypatch.setenv("HANSEG_MODELS", str(tmp_path))
    package = json.loads(next(shipped_models().glob("*/model.json")).read_text())
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.json").write_text(json.dumps(package | {"name": "own"}))
    listed = CliRunner().invoke(models, [], catch_exceptions=False).output
    assert "own" in listed.split()
