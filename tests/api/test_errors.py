"""Every error is a problem document, and none tells of internals."""

from __future__ import annotations

import logging

import pytest

from hanseg_segmentation.api.http import observer
from hanseg_segmentation.api.http.problem_responses import pointer
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.logs import current_fields as fields
from tests.api.requests import assert_problem, new_job


def test_a_path_that_is_none_is_not_found(api):
    answer = api.get("/v2/jobs")
    assert_problem(answer, 404, "not-found", "/v2/jobs")
    assert answer.json()["instance"] == "/v2/jobs"


def test_a_method_that_a_resource_lacks_is_not_allowed(api):
    answer = api.put("/v1/jobs")
    assert_problem(answer, 405, "method-not-allowed", "PUT")
    assert answer.headers["allow"] == "GET, POST"


def test_a_path_with_a_slash_too_many_is_not_redirected(api):
    assert_problem(api.get("/v1/jobs/"), 404, "not-found")


def test_an_unexpected_error_is_logged_and_not_told(api, services, monkeypatch, caplog):
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(services.tables.jobs, "list_page", fails)
    with caplog.at_level(logging.ERROR):
        answer = api.get("/v1/jobs")
    request_id = answer.headers["x-request-id"]
    assert_problem(answer, 500, "internal-error", request_id)
    assert "swordfish" not in answer.text
    assert request_id in caplog.text
    assert "swordfish" in caplog.text


def test_a_database_that_does_not_answer_is_unavailable(
    api, services, monkeypatch, caplog
):
    def fails(*_: object, **__: object) -> None:
        raise ServiceUnavailableError("the database does not work: locked")

    monkeypatch.setattr(services.tables.jobs, "get", fails)
    with caplog.at_level(logging.WARNING):
        answer = api.get(f"/v1/jobs/{'0' * 32}")
    assert_problem(answer, 503, "unavailable", "locked")
    assert answer.headers["x-request-id"] in caplog.text
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("path", ["/livez", "/nothing", "/v1/organs", "/docs"])
def test_every_answer_is_safe_to_open_and_has_an_id(api, path: str):
    headers = api.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert len(headers["x-request-id"]) == 32


def test_no_origin_is_let_in(api):
    answer = api.get(f"/v1/jobs/{new_job(api)}", headers={"Origin": "https://x.test"})
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_jobs_are_never_cached(api):
    answer = api.get(f"/v1/jobs/{new_job(api)}")
    assert answer.headers["cache-control"] == "no-store"


def test_case_names_are_not_logged(api, caplog):
    with caplog.at_level(logging.DEBUG):
        new_job(api, case="Jane Doe")
    assert "is queued" in caplog.text
    assert "Jane" not in caplog.text


@pytest.mark.parametrize(
    ("parts", "expected"),
    [((), "#"), (("cases", 0, "ct"), "#/cases/0/ct"), (("a/b", "c~d"), "#/a~1b/c~0d")],
)
def test_pointers_are_escaped(parts, expected: str):
    assert pointer(parts) == expected


class TestRequestIds:
    def test_a_problem_says_the_requests_id(self, api):
        answer = api.get("/nothing")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]

    def test_a_callers_id_is_kept(self, api):
        sent = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
        answer = api.get("/livez", headers={"X-Request-Id": sent})
        assert answer.headers["x-request-id"] == sent

    @pytest.mark.parametrize("sent", ["Musterfrau", "123456", "1.2.840." + "1" * 40])
    def test_an_id_that_may_name_a_patient_is_not(self, api, sent):
        answer = api.get("/livez", headers={"X-Request-Id": sent})
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.headers["x-request-id"] != sent

    def test_every_line_of_a_request_has_its_id(self, api, monkeypatch):
        seen = []
        monkeypatch.setattr(observer.logger, "info", lambda *_: seen.append(fields()))
        answer = api.get("/livez")
        assert seen[0]["request"] == answer.headers["x-request-id"]
