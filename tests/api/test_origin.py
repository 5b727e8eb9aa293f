"""Which hosts the service goes by, and which pages may send it requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from tests.api.conftest import FAST
from tests.api.fakes import FakeChecker
from tests.api.requests import assert_problem, new_job


def make_api(services, models, **settings: Any) -> TestClient:
    changed = services.settings.model_copy(update={"hosts": (), **settings})
    app = create_app(
        replace(services, settings=changed),
        check_case=FakeChecker(),
        model_folders=[models],
        pace=FAST,
        reconcile=False,
    )
    return TestClient(app, base_url="http://127.0.0.1:8000")


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1:8000", True),
        ("127.0.0.1", True),
        ("localhost:8000", True),
        ("LOCALHOST.", True),
        ("[::1]:8000", True),
        ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("192.0.2.7:8000", False),
        ("127.0.0.1:8000@evil.example", False),
        ("", False),
    ],
)
def test_on_loopback_only_loopback_names_are_answered(services, models, host, is_ours):
    with make_api(services, models) as api:
        answer = api.get("/v1/jobs", headers={"Host": host})
    assert answer.status_code == (200 if is_ours else 421)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("contours.example.org", True),
        ("Contours.example.org:443", True),
        ("192.0.2.7:8000", True),
        ("evil.example", False),
    ],
)
def test_elsewhere_published_names_and_numbers_are_answered(
    services, models, host, is_ours
):
    published = ("contours.example.org",)
    with make_api(services, models, host="0.0.0.0", hosts=published) as api:
        answer = api.get("/livez", headers={"Host": host})
    assert answer.status_code == (200 if is_ours else 421)


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "http://localhost:8000.evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_page_of_another_site_gets_and_changes_nothing(services, models, headers):
    with make_api(services, models) as api:
        job_id = new_job(api)
        for method, path in (
            ("GET", "/v1/jobs"),
            ("GET", f"/v1/jobs/{job_id}"),
            ("POST", "/v1/jobs"),
            ("POST", f"/v1/jobs/{job_id}/cancel"),
            ("DELETE", f"/v1/jobs/{job_id}"),
        ):
            answer = api.request(method, path, headers=headers)
            assert_problem(answer, 403, "foreign-page", "another site")
        assert api.get(f"/v1/jobs/{job_id}").json()["state"] == "queued"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:8000"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
def test_its_own_pages_and_programs_may(services, models, headers):
    with make_api(services, models) as api:
        assert api.get("/v1/jobs", headers=headers).status_code == 200
        answer = api.post("/v1/uploads", json={}, headers=headers)
        assert answer.status_code == 422


def test_a_link_may_lead_to_the_page_of_the_documentation(services, models):
    with make_api(services, models) as api:
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert api.get("/docs", headers=headers).status_code == 200


def test_who_came_through_a_proxy_is_not_the_one_person_here(services, models):
    with make_api(services, models) as api:
        answer = api.get("/v1/jobs", headers={"X-Forwarded-For": "192.0.2.1"})
    assert_problem(answer, 401, "unauthenticated", "hanseg keys create")
