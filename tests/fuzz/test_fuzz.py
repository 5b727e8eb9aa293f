"""Spoiled files of every kind are read or refused; the longer run is `make fuzz`."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest

from hanseg_shared.errors import ImageError, OptionError
from hanseg_shared.io.sandbox import DEFAULT_CONFINES
from tests.fuzz import seeds
from tests.fuzz.doors import DOORS
from tests.fuzz.mutate import mutate, mutate_json
from tests.fuzz.run import run_numbers
from tests.fuzz.trial import GOOD, Outcome, attempt_each

pytestmark = pytest.mark.torch

NUMBERS = range(25)
"""Enough to notice a door that stands open; `make fuzz` goes on for minutes."""


@pytest.mark.parametrize("name", DOORS)
def test_spoiled_files_are_read_or_refused_in_a_sentence(name, tmp_path):
    trials = run_numbers(name, NUMBERS, tmp_path)
    bad = [trial for trial in trials if trial.verdict.outcome not in GOOD]
    assert bad == []
    assert Outcome.REFUSED in {trial.verdict.outcome for trial in trials}


@pytest.mark.parametrize("name", ["images", "studies"])
def test_the_services_own_child_says_the_same(name, tmp_path):
    [trial] = run_numbers(name, [3], tmp_path, send=True)
    assert trial.verdict.outcome in GOOD
    assert trial.was_sent


@pytest.mark.parametrize("name", DOORS)
def test_what_is_not_spoiled_is_read(name, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fuzz.doors.mutate", lambda content, _: content)
    monkeypatch.setattr("tests.fuzz.doors.mutate_json", lambda content, _: content)
    trials = run_numbers(name, range(4), tmp_path)
    assert Outcome.READ in {trial.verdict.outcome for trial in trials}, trials


def crash(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(_: Path) -> None:
    time.sleep(60)


def ask_for_much(_: Path) -> None:
    bytearray(1 << 40)


def hold_much(_: Path) -> None:
    held = bytearray(400 << 20)
    held[:: resource.getpagesize()] = b"1" * len(held[:: resource.getpagesize()])


def be_surprised(_: Path) -> None:
    raise KeyError("ct")


def refuse(_: Path) -> None:
    raise ImageError("it is no image; send NIfTI")


def tell_the_folder(folder: Path) -> None:
    raise OptionError(f"{folder}/ct is no image")


@pytest.mark.parametrize(
    ("work", "outcome"),
    [
        (crash, Outcome.CRASH),
        (hang, Outcome.HANG),
        (ask_for_much, Outcome.MEMORY),
        (hold_much, Outcome.MEMORY),
        (be_surprised, Outcome.UNEXPECTED),
        (refuse, Outcome.REFUSED),
        (tell_the_folder, Outcome.SENTENCE),
        (lambda _: None, Outcome.READ),
    ],
)
def test_what_becomes_of_an_input_is_noticed(work, outcome, tmp_path):
    most = 350 << 20 if work is hold_much else 1 << 40
    seconds = 1.0 if work is hang else 10.0
    [verdict] = attempt_each(
        work, [tmp_path], DEFAULT_CONFINES, wall_seconds=seconds, memory_bytes=most
    )
    assert verdict.outcome is outcome, verdict


def test_after_a_crash_another_process_goes_on(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()

    def crash_in_b(folder: Path) -> None:
        if folder.name == "b":
            crash(folder)

    verdicts = attempt_each(crash_in_b, folders, DEFAULT_CONFINES)
    assert [each.outcome for each in verdicts] == [
        Outcome.READ,
        Outcome.CRASH,
        Outcome.READ,
    ]


def test_an_input_depends_on_its_number_alone():
    content = seeds.template()
    made = [mutate_json(content, random.Random(5)) for _ in range(2)]
    assert made[0] == made[1] != content
    spoiled = [mutate(content, random.Random(number)) for number in range(20)]
    assert len({*spoiled}) > 15
