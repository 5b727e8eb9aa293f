"""What commands print: whole figures on narrow terminals, and JSON a line."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from hanseg_shared.terminal import (
    column_groups,
    json_flag,
    print_event,
    print_figures,
    print_table,
    say,
)

WIDE = [
    ["organ", *(f"method {n} of the trial" for n in range(8)), "spread"],
    ["Glnd_Submand_L", *(f"{80 + n}.5 ± 12.{n}" for n in range(8)), "80.1 to 88.8"],
    ["SpinalCord", *(f"{70 + n}.5 ± 10.{n}" for n in range(8)), "70.1 to 78.8"],
]


@pytest.mark.parametrize("columns", [120, 80, 60, 40])
def test_figures_are_never_broken_however_narrow(capsys, monkeypatch, columns: int):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_figures(WIDE)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= columns for line in lines)
    for row in WIDE[1:]:
        for cell in row:
            assert any(cell in line for line in lines), cell


def test_a_table_that_fits_is_one_part():
    assert column_groups([["a", "b", "c"], ["1", "2", "3"]], 80) == [[0, 1, 2]]


def test_every_column_is_in_one_part_beside_the_first():
    parts = column_groups(WIDE, 60)
    assert len(parts) > 1
    assert all(part[0] == 0 for part in parts)
    assert [n for part in parts for n in part[1:]] == list(range(1, 10))


@pytest.mark.parametrize("columns", [80, 60, 20])
def test_text_is_wrapped_and_not_cut(capsys, monkeypatch, columns: int):
    monkeypatch.setenv("COLUMNS", str(columns))
    long = "case_" + "0123456789" * 12
    print_table(("case", "why"), [(long, "[red]none[/]")])
    out = capsys.readouterr().out
    assert "…" not in out
    assert all(len(line) <= columns for line in out.splitlines())
    shown = "".join(line[: columns // 2] for line in out.splitlines()[3:])
    assert "0123456789" in out or "0123" in shown
    assert "[red]" in out.replace(" ", "").replace("\n", "")


def test_an_event_is_one_line(capsys):
    print_event("odd", name="two\nlines Zoë")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"event": "odd", "name": "two\nlines Zoë"}


def test_numbers_that_json_cannot_carry_are_null(capsys):
    print_event("odd", figures=({"hd95": float("inf")}, [float("nan"), 1.5]))
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["figures"] == [{"hd95": None}, [None, 1.5]]


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_sentence_is_text_or_an_event(arguments: list[str]):
    @click.command()
    @json_flag
    def command() -> None:
        say("done", "it is done", name="x")

    told = CliRunner().invoke(command, arguments).stdout
    event = {"event": "done", "message": "it is done", "name": "x"}
    assert told == (json.dumps(event) if arguments else "it is done") + "\n"
