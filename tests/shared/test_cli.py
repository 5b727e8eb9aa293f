"""The command line's last resort: every end has its status and one line."""

from __future__ import annotations

import errno
import json
import signal

import click
import pytest

from hanseg_segmentation.packages.installed import shipped_models
from hanseg_shared import cli
from hanseg_shared.errors import (
    InputError,
    JobError,
    OptionError,
    ServiceUnavailableError,
)
from hanseg_shared.organs import ORGANS
from hanseg_shared.terminal import json_is_asked


def end_with(monkeypatch, body, *arguments: str) -> int:
    command = click.Command(
        "x", callback=body, params=[click.Argument(["a"], nargs=-1)]
    )
    command.allow_extra_args = command.ignore_unknown_options = True
    monkeypatch.setattr(cli, "hanseg", command)
    monkeypatch.setattr("sys.argv", ["hanseg", *arguments])
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
    def body(a) -> None:
        raise error

    assert end_with(monkeypatch, body) == status
    text = capsys.readouterr()
    assert "why" in text.err
    assert text.out == ""
    assert end_with(monkeypatch, body, "--json") == status
    as_json = capsys.readouterr()
    assert as_json.err == ""
    assert json.loads(as_json.out) == {
        "event": "error",
        "message": text.err.removeprefix("hanseg: ").rstrip(),
        "status": status,
    }


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (EOFError("marshal data too short"), "marshal data too short"),
        (EOFError(), "no more input"),
    ],
)
def test_a_file_that_ends_too_early_is_no_ctrl_c(monkeypatch, capsys, error, told):
    def body(a) -> None:
        raise error

    assert end_with(monkeypatch, body) == cli.FAILED
    said = capsys.readouterr().err.strip()
    assert said == f"hanseg: a file ended too early: {told}"


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["segment", "--json", "x"], True),
        (["segment", "x"], False),
        (["segment", "--", "--json"], False),
        ([], False),
    ],
)
def test_json_is_asked_for_by_an_option(arguments: list[str], asked: bool):
    assert json_is_asked(arguments) is asked


def test_a_wrong_command_line_is_told_as_json_too(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["hanseg", "segment", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["message"] == "Missing argument 'CT'."


def _commands() -> list[tuple[str, click.Command]]:
    context = click.Context(cli.hanseg)
    found: list[tuple[str, click.Command]] = []
    for name in cli.hanseg.list_commands(context):
        command = cli.hanseg.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {n}", each) for n, each in command.commands.items()]
    return found


def test_every_command_can_speak_json():
    silent = {
        name
        for name, command in _commands()
        if not any("--json" in each.opts for each in command.params)
        and not isinstance(command, click.Group)  # which does nothing itself
    }
    assert silent <= {"bridge run", "bridge health"}  # a container runs these


@pytest.mark.parametrize("columns", [80, 60])
def test_the_organs_fit_the_terminal_and_none_is_cut(monkeypatch, capsys, columns: int):
    monkeypatch.setattr("sys.argv", ["hanseg", "organs"])
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        cli.main()
    out = capsys.readouterr().out
    assert all(len(line) <= columns for line in out.splitlines())
    assert "…" not in out
    assert all(organ.name in out for organ in ORGANS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_that_end_a_process_let_it_clean_up(monkeypatch, number):
    cleaned: list[bool] = []

    def body(a) -> None:
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
    with pytest.raises(OptionError, match="no model can be called 'a b'"):
        choose(model="a b")


def test_an_impossible_template_name_is_bad_input():
    with pytest.raises(OptionError, match="no template can be called 'a b'"):
        choose(template="a b")


def test_what_a_backend_cannot_do_is_bad_input_before_a_service_is_sought():
    with pytest.raises(OptionError, match="with the backend ants; use elastix"):
        choose(registration="deformable", backend="ants")


def choose(
    *,
    model: str = "default",
    registration: str = "rigid",
    backend: str = "elastix",
    template: str | None = None,
) -> None:
    from hanseg_shared.client.cli import read_choice

    read_choice(
        model=model,
        registration=registration,
        backend=backend,
        template=template,
        dicom=False,
    )


def test_a_sites_own_models_are_listed(monkeypatch, tmp_path):
    from click.testing import CliRunner

    from hanseg_segmentation.cli import models

    monkeypatch.setenv("HANSEG_MODELS", str(tmp_path))
    package = json.loads(next(shipped_models().glob("*/model.json")).read_text())
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.json").write_text(json.dumps(package | {"name": "own"}))
    listed = CliRunner().invoke(models, [], catch_exceptions=False).output
    assert "own" in listed.split()
