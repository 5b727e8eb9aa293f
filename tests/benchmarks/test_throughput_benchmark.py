"""Rates are what workers did beside what their stages allow; tables fit a terminal."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from benchmarks.load.service import COURSE_POINTS, Held
from benchmarks.throughput.rates import take_rate
from benchmarks.throughput.tables import report_run, report_workers
from benchmarks.throughput.waiting_worker import SHARES, make_plan

from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.stages import Stage

TERMINAL = 80

BY_STAGE = {
    "registering": [2.0, 4.0],
    "segmenting": [6.0, 6.0],
    "packaging": [1.0, 3.0],
}


def test_a_rate_is_held_against_the_workers_that_have_most_to_do():
    rate = take_rate(BY_STAGE, seconds=20.0, workers=1)
    assert rate.jobs_an_hour == 360.0
    assert rate.bound_jobs_an_hour == 450.0  # 8 s of a segmentation worker
    assert rate.of_bound == 0.8
    assert rate.utilisation == {"registration": 0.3, "segmentation": 0.8}


def test_two_workers_of_each_kind_could_do_twice_as_much():
    rate = take_rate(BY_STAGE, seconds=10.0, workers=2)
    assert (rate.bound_jobs_an_hour, rate.of_bound) == (900.0, 0.8)
    assert rate.utilisation == {"registration": 0.3, "segmentation": 0.8}


def test_a_stage_is_told_by_mean_spread_and_percentiles():
    first = take_rate(BY_STAGE, seconds=20.0, workers=1).stages[0]
    assert (first.name, first.count, first.mean, first.spread) == (
        "registering",
        2,
        3.0,
        1.0,
    )


def test_one_job_has_a_rate_and_none_has_not():
    one = {"registering": [2.0], "segmenting": [6.0], "packaging": [1.0]}
    assert take_rate(one, seconds=9.0, workers=1).stages[0].p95 == 2.0
    with pytest.raises(ValueError, match="no job succeeded"):
        take_rate({}, seconds=9.0, workers=1)


def test_a_case_keeps_each_kind_of_waiting_worker_for_as_long():
    for queue in QueueName:
        stages = make_plan(queue, 4.0).bodies
        assert sum(SHARES[stage] for stage in stages) == 1.0
    assert set(SHARES) == set(Stage)


def test_a_runs_memory_is_told_by_a_bounded_number_of_points():
    held = Held(100, 100, 100)
    for megabytes in range(100, 1100):
        held.note(megabytes)
    row = held.row()
    assert (row["first"], row["most"], row["last"]) == (100, 1099, 1099)
    course = row["course"]
    assert isinstance(course, list)
    assert 30 < len(course) <= COURSE_POINTS


def test_the_tables_fit_a_terminal(capsys):
    rows = [
        {"name": "alone: overhead", "count": 10, "p50_ms": 1135.1, "p95_ms": 12217.5},
        {"name": "poll", "count": 12345, "p50_ms": 5.1, "p95_ms": 217.5},
    ]
    run = {
        "asked": 300,
        "clients": 16,
        "failed": 0,
        "processors": 128,
        "load_average": 15.4,
        "rows": rows,
        "rate": asdict(take_rate(BY_STAGE, seconds=12345.6, workers=2)),
        "memory_mb": {"segmentation": {"first": 881, "most": 1384, "last": 880}},
    }
    report_run("default", run)
    report_workers("workers", {"waiting": {"runs": [run, run], "times_one": 1.95}})
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= TERMINAL
    assert "asked <= 300: missed" in said
    assert "asked >= 1.9: met" in said
