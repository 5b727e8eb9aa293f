"""Kinds of hosts: what ships can be read, and what is measured takes its place."""

from __future__ import annotations

import json

import pytest

from hanseg_lab.capacity.host_kinds import read_kinds
from hanseg_lab.capacity.workload import StageTime
from hanseg_shared.errors import OptionError


@pytest.fixture
def measured(tmp_path):
    """A file as `make bench-service` writes it."""
    stages = [
        {"name": name, "count": 40, "mean": mean, "spread": 0.5, "p50": 1.0, "p95": 2.0}
        for name, mean in (
            ("registering", 3.0),
            ("segmenting", 9.0),
            ("packaging", 2.0),
        )
    ]
    path = tmp_path / "service.json"
    path.write_text(json.dumps({"default": {"rate": {"stages": stages}}}))
    return path


def test_a_kind_that_was_not_measured_says_so():
    for kind in read_kinds().values():
        assert kind.is_measured or "estimate" in kind.basis
        assert kind.times.segment.mean > 0


def test_so_many_hosts_have_so_many_workers():
    kind = read_kinds()["two-cores"]
    pool = kind.pool(5)
    assert (pool.registration, pool.segmentation) == (
        5 * kind.registration,
        5 * kind.segmentation,
    )


def test_measured_stages_take_the_place_of_a_kinds_own(measured):
    kind = read_kinds()["two-cores"].with_measured(measured)
    assert kind.is_measured
    assert kind.times.register == StageTime(3.0, 0.5)
    assert kind.times.segmentation_seconds == 11.0
    assert kind.bound_a_day == pytest.approx(86400 / 11)


@pytest.mark.parametrize(
    "text", ["no JSON", "{}", '{"default": {"rate": {"stages": []}}}']
)
def test_a_file_without_the_default_models_run_is_refused(tmp_path, text: str):
    path = tmp_path / "service.json"
    path.write_text(text)
    with pytest.raises(OptionError, match="make bench-service"):
        read_kinds()["two-cores"].with_measured(path)


@pytest.mark.parametrize("text", ["claim_seconds = -1", "= 1"])
def test_a_file_of_kinds_that_makes_no_sense_is_refused(tmp_path, text: str):
    path = tmp_path / "kinds.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=r"kinds\.toml"):
        read_kinds(path)
