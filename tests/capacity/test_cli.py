"""`hanseg capacity` prints tables, or a line of JSON for each number of hosts."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from hanseg_lab.capacity import plan
from hanseg_lab.capacity.cli import capacity
from hanseg_shared.errors import OptionError

FEW = ("--hosts", "1,3", "--cases-a-day", "20", "--batch", "100")


@pytest.fixture(autouse=True)
def _few_cases(monkeypatch):
    monkeypatch.setattr(plan, "SIMULATED_CASES", 100)
    monkeypatch.setattr(plan, "CASES_A_WORKER", 20)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(capacity, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_there_is_a_line_for_each_number_of_hosts():
    lines = [json.loads(line) for line in run(*FEW, "--json").splitlines()]
    assert [line["hosts"] for line in lines] == [1, 3]
    first, second = (line["batch"]["hours"] for line in lines)
    assert second < first
    assert lines[0]["day"]["figures"]["late_share"] == 0.0
    assert set(lines[0]["day"]["utilisation"]) == {"registration", "segmentation"}


def test_tables_say_whether_stages_were_measured():
    said = run(*FEW, "--kind", "gpu")
    assert "gpu: stages ESTIMATED: estimate: eight cores and a GPU" in said
    assert "a clinic's day" in said
    assert "a batch, and the clinic's cases meanwhile" in said


def test_kinds_are_listed():
    assert "two-cores" in run("--list")


@pytest.mark.parametrize("hosts", ["0", "51", "", "one"])
def test_hosts_are_1_to_50(hosts: str):
    with pytest.raises(OptionError, match="from 1 to 50"):
        run("--hosts", hosts)


def test_a_kind_must_be_known():
    with pytest.raises(OptionError, match="there are: two-cores"):
        run("--kind", "supercomputer")
