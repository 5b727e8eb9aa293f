"""What a job takes beyond its stages is split without a rest, and fits a terminal."""

import pytest
from benchmarks.load.__main__ import report_crowd, report_silence, report_uploads
from benchmarks.load.crowd import Times, split, summarise

TERMINAL = 80

JOB = {
    "created_at": "2026-01-31T12:00:00Z",
    "started_at": "2026-01-31T12:00:00.250000Z",
    "finished_at": "2026-01-31T12:00:02Z",
    "stages": [
        {"name": "registering", "seconds": 1.0},
        {"name": "segmenting", "seconds": 0.5},
    ],
}


def test_overhead_is_all_of_a_jobs_time_but_its_stages():
    times = Times()
    split(times, JOB, 2.125)  # of which the client noticed the last eighth
    assert times.stages == pytest.approx([1.5])
    assert times.by_stage == {"registering": [1.0], "segmenting": [0.5]}
    assert times.waiting == pytest.approx([0.25])
    assert times.between == pytest.approx([0.25])
    assert times.noticing == pytest.approx([0.125])
    assert times.overhead == pytest.approx([0.625])


def test_times_are_told_by_median_and_95th_percentile():
    row = summarise("poll", [number / 1000 for number in range(101)])
    assert (row.count, row.p50_ms, row.p95_ms) == (101, 50.0, 95.0)


def test_one_time_counts_once_and_none_not_at_all():
    row = summarise("poll", [0.25])
    assert (row.count, row.p50_ms, row.p95_ms) == (1, 250.0, 250.0)
    assert summarise("poll", []).count == 0


def test_the_tables_fit_a_terminal(capsys):
    row = {"name": "alone: overhead", "count": 10, "p50_ms": 135.1, "p95_ms": 12217.5}
    report_crowd(
        {
            "jobs": 300,
            "asked": 300,
            "clients": 16,
            "failed": 0,
            "seconds": 1802.2,
            "load_average": 15.4,
            "rows": [row],
            "processor_ms": {"look at a job": 5.12},
            "memory_mb": {"segmentation": {"first": 881, "most": 1384, "last": 880}},
        }
    )
    way = {"way": "form (POST /v1/jobs)", "seconds": 132.1, "status": 422}
    report_uploads([way | {"added_mb": 14, "before_mb": 114}])
    report_silence(
        {
            "connections": 1100,
            "made": 115581,
            "livez": row,
            "load_average": 19.3,
            "unanswered": 0,
            "submitted": {202: 4, 503: 1},
            "processor_share": 0.14,
            "log_bytes": 5608,
        }
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= TERMINAL
