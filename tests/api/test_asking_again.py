"""Whatever passes is answered with when to ask again, by every route."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.http import problem_responses
from hanseg_segmentation.api.http.problem_responses import ASK_AGAIN, problem_response
from hanseg_shared import problems
from hanseg_shared.errors import DiskFullError, ServiceUnavailableError
from hanseg_shared.problems import KINDS, ProblemKind
from tests.api.requests import assert_problem
from tests.api.test_access import GUARDED, OPEN_TO_ALL, OPERATIONS, ids

EVERY_KIND: set[ProblemKind] = {
    kind
    for module in (problems, problem_responses)
    for kind in (*vars(module).values(), *KINDS.values())
    if isinstance(kind, ProblemKind)
}

THINGS = {"name": "job.json", "organ": "Brainstem", "version": "1", "study": "1.2.3"}


def fill(path: str) -> str:
    """Return a route's path with the names of things that fit it; few are there."""
    return re.sub(r"\{(\w+)\}", lambda found: THINGS.get(found[1], "0" * 32), path)


def ask(api: TestClient, operation: tuple[str, str]) -> Any:
    path, method = operation
    return api.request(method, fill(path))


@pytest.mark.parametrize(
    "kind", sorted(EVERY_KIND, key=attrgetter("slug")), ids=attrgetter("slug")
)
def test_a_problem_says_when_to_ask_again_if_it_passes(kind: ProblemKind):
    answer = problem_response(kind.problem("for a test"))
    assert ("retry-after" in answer.headers) is (kind.status in ASK_AGAIN)


def test_some_kinds_pass():
    assert {kind.status for kind in EVERY_KIND} >= ASK_AGAIN


def test_who_knows_better_says_so():
    answer = problem_response(
        problem_responses.TOO_MANY.problem("x"), {"Retry-After": "3"}
    )
    assert answer.headers.getlist("retry-after") == ["3"]


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_every_route_says_when_to_ask_again(app, api, monkeypatch, operation):
    for error, status, slug in (
        (ServiceUnavailableError("away"), 503, "unavailable"),
        (DiskFullError("full"), 507, "disk-full"),
    ):

        async def fails(_: object, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(app.state.gate, "identify", fails)
            patched.setattr(
                "hanseg_segmentation.api.http.access.is_here", lambda _: False
            )
            answer = ask(api, operation)
        assert int(answer.headers["retry-after"]) > 0
        if operation[1] != "head":
            assert_problem(answer, status, slug)


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_who_asks_too_often_is_told_when_to_ask_again(app, api, operation):
    app.state.gate._failures.take("testclient", 1000.0)
    path, method = operation
    wrong = {"Authorization": "Bearer wrong", "X-Forwarded-For": "192.0.2.1"}
    answer = api.request(method, fill(path), headers=wrong)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "path",
    sorted({path for path, method in OPEN_TO_ALL if method == "get"} - {"/livez"}),
)
def test_what_is_open_to_all_says_it_too(api, services, monkeypatch, path: str):
    def fails(*_: object) -> None:
        raise ServiceUnavailableError("the database does not work: locked")

    monkeypatch.setattr(services.tables.signing_keys, "list", fails)
    answer = api.get(path)  # no worker was ever heard of
    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_the_document_promises_it(api):
    paths = api.get("/openapi.json").json()["paths"]
    for path, method in OPERATIONS:
        answers = paths[path][method]["responses"]
        for status in map(str, sorted(ASK_AGAIN)):
            assert answers[status]["headers"]["Retry-After"]["required"], (path, status)
