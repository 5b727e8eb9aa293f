"""The statistics: per organ and over time, of one's own jobs, and as a table."""

from __future__ import annotations

import csv
import io
from datetime import date
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.http.statistics import (
    Interval,
    day_of,
    first_days,
    make_document,
)
from hanseg_segmentation.quality.anatomy import anatomy
from tests.api.fakes import MR, USED, FakeWorker
from tests.api.requests import assert_problem, new_job


@pytest.fixture
def judged(api: TestClient, worker: FakeWorker) -> None:
    """Three jobs with a brainstem, of which one is accepted and one rejected."""
    for volume_ml, verdict in ((20.0, "accepted"), (30.0, "rejected"), (40.0, None)):
        job_id = new_job(api, mr=MR)
        worker.succeed(job_id, contoured={"Brainstem": volume_ml}, registration=USED)
        api.put(f"/v1/jobs/{job_id}/review/organs/Brainstem", json={"verdict": verdict})


def organ_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = document["organs"]
    return next(each for each in found if each["organ"] == name)


def test_volumes_and_verdicts_are_told_per_organ(api, judged):
    document = api.get("/v1/statistics").json()
    stem = organ_of(document, "Brainstem")
    assert (stem["smallest_ml"], stem["largest_ml"]) == (12, 45)
    total = stem["total"]
    assert (total["contours"], total["mean_ml"]) == (3, 30.0)
    assert total["sd_ml"] == pytest.approx(10.0)
    assert total["accept_rate"] == 0.5
    assert stem["periods"][0]["contours"] == 3
    jobs = document["jobs"]["total"]
    assert (jobs["jobs"], jobs["mr"]) == (3, {"used": 3})
    assert document["models"] == ["default 1"]


def test_they_are_asked_for_by_model_and_date(api, judged):
    def contours(query: str) -> int:
        document = api.get(f"/v1/statistics?{query}").json()
        return int(organ_of(document, "Brainstem")["total"]["contours"])

    assert contours("model=default%201") == 3
    assert contours("model=default%202") == 0
    assert contours("since=2000-01-01") == 3
    assert contours("until=2000-01-01") == 0
    assert_problem(api.get("/v1/statistics?since=soon"), 422, "invalid-request")


@pytest.mark.parametrize("day", ["0", "-3", "1767225600", "2026-13-01"])
def test_a_day_is_no_number(api, day):
    for path in ("/v1/statistics", "/v1/statistics/csv", "/v1/statistics/corrections"):
        answer = api.get(f"{path}?since={day}")
        assert_problem(answer, 422, "invalid-request", "since")


def test_the_table_says_the_same(api, judged):
    answer = api.get("/v1/statistics/csv?interval=all")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    stem = next(row for row in rows if row["organ"] == "Brainstem")
    assert (stem["contours"], stem["mean_ml"]) == ("3", "30.0")


def test_a_cell_is_no_formula(api):
    answer = api.get("/v1/statistics/csv", params={"model": "=1+2"})
    assert "\n=1" not in answer.text
    assert ",=1" not in answer.text


def test_plausible_volumes_are_those_of_the_checks(api):
    for each in api.get("/v1/statistics").json()["organs"]:
        expected = anatomy().organs[each["organ"]]
        assert each["smallest_ml"] == expected.smallest_ml
        assert each["largest_ml"] == expected.largest_ml


@pytest.mark.parametrize(
    ("interval", "firsts"),
    [
        (Interval.DAY, ["2026-02-27", "2026-03-01", "2026-03-02"]),
        (Interval.WEEK, ["2026-02-23", "2026-03-02"]),
        (Interval.MONTH, ["2026-02-01", "2026-03-01"]),
        (Interval.ALL, ["1970-01-01"]),
    ],
)
def test_days_are_joined_to_periods(interval, firsts):
    days = [date(2026, 2, 27), date(2026, 3, 1), date(2026, 3, 2)]
    sums = {(0, "jobs"): {day_of(day): 1.0 for day in days}}
    starts = first_days((day_of(days[0]), day_of(days[-1])), interval)
    assert {day_of(date.fromisoformat(first)) for first in firsts} <= set(starts)
    document = make_document(sums, days=None, models=[], model=None, interval=interval)
    assert [str(each.period) for each in document.jobs.periods] == firsts
    assert sum(each.jobs for each in document.jobs.periods) == 3


def test_corrections_are_listed_in_numbers(api, judged):
    assert api.get("/v1/statistics/corrections").json() == {"corrections": []}
