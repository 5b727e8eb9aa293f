"""The sign of life of a process without a port, and the health check that reads it."""

from __future__ import annotations

import tempfile
import time

import pytest

from hanseg_shared.jobs.probe import complaint
from hanseg_shared.jobs.pulse import (
    ALIVE_SECONDS,
    PULSE_SECONDS,
    SWEEP,
    give_pulse,
    pulse_file,
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def later(monkeypatch, seconds: float) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + seconds)


def test_a_sweep_that_finished_a_pass_is_healthy():
    give_pulse(SWEEP)
    assert complaint(SWEEP) is None


def test_a_sweep_that_never_finished_one_is_not():
    found = complaint(SWEEP)
    assert found == "the sweep has not finished a pass yet"


def test_a_sweep_that_hangs_is_not(monkeypatch):
    give_pulse(SWEEP)
    later(monkeypatch, PULSE_SECONDS + 5)
    found = complaint(SWEEP)
    assert found == "the sweep finished its last pass 65 s ago"


@pytest.mark.parametrize("left", ["", "soon", "1e12"])
def test_a_sign_of_another_time_is_none(left: str):
    pulse_file(SWEEP).write_text(left)
    found = complaint(SWEEP)
    assert found == "the sweep has not finished a pass yet"


def test_a_worker_that_beats_is_healthy_until_it_is_silent(monkeypatch):
    give_pulse("segmentation")
    assert complaint("segmentation") is None
    found = complaint("registration")
    assert found == (
        "no registration worker of this host was ready in the last 15 s; "
        "/readyz says whether one is loading"
    )
    later(monkeypatch, ALIVE_SECONDS + 1)
    assert complaint("segmentation") == found.replace("registration", "segmentation")


def test_a_worker_of_another_host_says_nothing_about_this_one(monkeypatch):
    give_pulse("registration")
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert complaint("registration") is not None
