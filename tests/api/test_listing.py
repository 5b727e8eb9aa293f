"""Listing jobs: pages, filters, and cursors that nobody can forge."""

from __future__ import annotations

import base64
import json
import re

import pytest

from tests.api.requests import assert_problem, new_job


def ids(answer) -> list[str]:
    return [job["id"] for job in answer.json()["jobs"]]


@pytest.fixture
def jobs(api) -> list[str]:
    """Five jobs, newest first."""
    return [new_job(api, case=f"case_{number}") for number in range(5)][::-1]


def test_jobs_are_listed_newest_first(api, jobs):
    answer = api.get("/v1/jobs")
    assert ids(answer) == jobs
    assert answer.json()["next"] is None
    assert "link" not in answer.headers


def test_pages_follow_each_other_without_gap_or_overlap(api, jobs):
    found, url = [], "/v1/jobs?limit=2"
    while url:
        answer = api.get(url)
        found.append(ids(answer))
        url = answer.json()["next"]
    assert found == [jobs[:2], jobs[2:4], jobs[4:]]


def test_the_next_page_is_linked(api, jobs):
    answer = api.get("/v1/jobs", params={"limit": 2})
    (target,) = re.findall(r'<([^>]+)>; rel="next"', answer.headers["link"])
    assert target == answer.json()["next"]
    assert ids(api.get(target)) == jobs[2:4]


def test_the_next_page_keeps_the_filters(api, jobs):
    params = {"limit": 2, "state": ["queued", "failed"]}
    following = api.get("/v1/jobs", params=params).json()["next"]
    assert "state=queued&state=failed" in following
    assert ids(api.get(following)) == jobs[2:4]


def test_jobs_are_filtered_by_state(api, jobs, worker):
    worker.succeed(jobs[1])
    assert ids(api.get("/v1/jobs?state=succeeded")) == [jobs[1]]
    assert ids(api.get("/v1/jobs?state=succeeded&state=queued")) == jobs


def test_jobs_are_filtered_by_time(api, jobs):
    created = api.get(f"/v1/jobs/{jobs[2]}").json()["created_at"]
    assert ids(api.get("/v1/jobs", params={"created_after": created})) == jobs[:2]


def test_jobs_are_filtered_by_batch(api, jobs):
    assert ids(api.get(f"/v1/jobs?batch={'0' * 32}")) == []


def test_jobs_are_filtered_by_case(api, jobs):
    assert ids(api.get("/v1/jobs", params={"case": "case_3"})) == [jobs[1]]
    assert ids(api.get("/v1/jobs", params={"case": "case"})) == []
    assert ids(api.get("/v1/jobs", params={"case": "CASE_3"})) == []


@pytest.mark.parametrize("sent", ["Zo\u00eb", "Zoe\u0308"])
@pytest.mark.parametrize("asked", ["Zo\u00eb", "Zoe\u0308"])
def test_a_case_is_found_in_either_spelling(api, sent: str, asked: str):
    job = new_job(api, case=sent)
    assert api.get(f"/v1/jobs/{job}").json()["case"] == "Zo\u00eb"
    assert ids(api.get("/v1/jobs", params={"case": asked})) == [job]


def test_the_next_page_keeps_the_case(api):
    found = [new_job(api, case="R&D + 1") for _ in range(3)][::-1]
    new_job(api, case="another")
    first = api.get("/v1/jobs", params={"case": "R&D + 1", "limit": 2})
    assert ids(first) + ids(api.get(first.json()["next"])) == found


@pytest.mark.parametrize(
    "query",
    [
        "case=",
        "case=%00",
        f"case={'a' * 129}",
        "limit=0",
        "limit=201",
        "limit=many",
        "state=gone",
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "created_after=0",
        "created_after=1767225600.0",
        "batch=x",
    ],
)
def test_a_filter_that_is_none_is_refused(api, query: str):
    answer = api.get(f"/v1/jobs?{query}")
    assert_problem(answer, 422, "invalid-request", query.partition("=")[0])
    (fault,) = answer.json()["errors"]
    assert fault["in"] == "query"
    assert fault["parameter"].startswith(query.partition("=")[0])


def cursor(*content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


@pytest.mark.parametrize(
    "made_up",
    [
        "x",
        "é",
        "====",
        cursor(),
        cursor(1.0),
        cursor("a", "0" * 32),
        cursor(float("nan"), "0" * 32),
        cursor(1.0, "' OR 1=1"),
        cursor(1.0, None),
        base64.urlsafe_b64encode(b"1e999999").decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_a_made_up_cursor_is_refused(api, made_up: str):
    answer = api.get("/v1/jobs", params={"cursor": made_up})
    assert_problem(answer, 422, "bad-option", "cursor")
