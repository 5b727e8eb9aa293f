"""Query parameters: none is ignored, whatever the route."""

from __future__ import annotations

import json

import pytest

from tests.api.requests import assert_problem, new_job
from tests.api.test_openapi import METHODS

HIDDEN = ["/", "/assets/{name}", "/docs", "/openapi.json"]

ROUTES = [(method, path) for path in METHODS for method in sorted(METHODS[path])]
ROUTES += [("get", path) for path in HIDDEN]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_takes_a_parameter_it_does_not_know(api, method: str, path: str):
    url = path.replace("{name}", "job.json")
    for name in ("job_id", "batch_id", "upload_id"):
        url = url.replace(f"{{{name}}}", "0" * 32)
    answer = api.request(method, f"{url}?patient=Doe", follow_redirects=False)
    assert answer.status_code == 422
    if method != "head":
        assert_problem(answer, 422, "invalid-request", "patient", "no such parameter")
        (fault,) = answer.json()["errors"]
        assert fault["parameter"] == "patient"
        assert fault["in"] == "query"
        assert "Doe" not in answer.text


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("stat=failed", "did you mean state?"),
        ("State=failed", "did you mean state?"),
        ("xyz=1", "batch, case, created_after, cursor, flag, limit, model, review"),
        ("case=a&case=b", "sent 2 times"),
        ("limit=5&limit=5", "sent 2 times"),
        ("state=queued&state=", "no value"),
        ("cursor=", "no value"),
        ("limit", "no value"),
        ("=1", "no such parameter"),
        ("state[]=failed", "did you mean state?"),
    ],
)
def test_a_filter_that_says_nothing_or_twice_is_refused(api, query: str, says: str):
    new_job(api, case="somebody else")
    answer = api.get(f"/v1/jobs?{query}")
    assert_problem(answer, 422, "invalid-request", says)
    assert "somebody" not in answer.text


def test_all_parameters_at_fault_are_named_but_not_endlessly(api):
    answer = api.get("/v1/jobs?" + "&".join(f"a{n}={n}" for n in range(500)))
    named = [fault["parameter"] for fault in answer.json()["errors"]]
    assert named == [f"a{n}" for n in range(8)]


def test_a_long_name_is_cut(api):
    answer = api.get(f"/v1/organs?{'n' * 5000}=1")
    assert answer.json()["errors"][0]["parameter"] == "n" * 40


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"cse": "a"}, "#/request/cse"),
        ({"options": {"registratoin": "rigid"}}, "#/request/options/registratoin"),
    ],
)
def test_no_member_of_a_request_is_ignored(api, body, at: str):
    answer = api.post(
        "/v1/jobs", files={"ct": b"CT"}, data={"request": json.dumps(body)}
    )
    assert_problem(answer, 422, "invalid-request")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [at]
