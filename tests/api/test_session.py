"""Signing in to the page: a key for a cookie, which needs a token to change things."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.http.buckets import Buckets
from hanseg_segmentation.api.http.cookie import COOKIE, CSRF_HEADER
from hanseg_segmentation.api.http.gate import SESSION_SECONDS
from hanseg_shared.access import ApiKey, Scope
from tests.api.fakes import CT
from tests.api.requests import assert_problem

ELSEWHERE = ("192.0.2.7", 50000)


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"access": "keys"})


@pytest.fixture
def api(app):
    with TestClient(app, client=ELSEWHERE) as client:
        yield client


@pytest.fixture
def key(services) -> ApiKey:
    return services.tables.api_keys.create("anna", frozenset(Scope))


def sign_in(api: TestClient, key: ApiKey) -> dict[str, Any]:
    answer = api.post("/v1/session", json={"key": key.text})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def told(services) -> list[dict[str, Any]]:
    entries = services.tables.audit.list_entries()
    return [json.loads(entry.line) for entry in entries]


def test_who_signs_in_is_known_by_the_cookie(api, key):
    said = sign_in(api, key)
    assert (said["owner"], said["key"], said["signed_in"]) == ("anna", key.id, True)
    assert api.get("/v1/session").json() == said
    assert api.get("/v1/jobs").status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(api, key):
    answer = api.post("/v1/session", json={"key": key.text})
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert name == COOKIE
    attributes = [each.strip().lower() for each in rest.split(";")[1:]]
    assert {"httponly", "samesite=strict", "path=/"} <= set(attributes)
    assert f"max-age={int(SESSION_SECONDS)}" in attributes
    assert "secure" not in attributes


def test_over_https_the_cookie_is_sent_over_https_alone(app, key):
    with TestClient(app, base_url="https://testserver", client=ELSEWHERE) as api:
        answer = api.post("/v1/session", json={"key": key.text})
    assert "secure" in answer.headers["set-cookie"].lower().split("; ")


def test_the_answer_tells_no_secret(api, key):
    answer = api.post("/v1/session", json={"key": key.text})
    assert api.cookies[COOKIE] not in answer.text
    assert key.secret not in answer.text + str(answer.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_the_cookie_alone_changes_nothing(api, key, method, token):
    sign_in(api, key)
    headers = {} if token is None else {CSRF_HEADER: token.encode()}
    path = {"POST": "/v1/jobs", "PUT": "/v1/templates/a", "DELETE": "/v1/session"}
    answer = api.request(method, path[method], headers=headers)
    assert_problem(answer, 403, "forbidden", CSRF_HEADER)


def test_with_the_token_a_case_is_sent(api, key):
    token = sign_in(api, key)["csrf_token"]
    headers = {CSRF_HEADER: token}
    answer = api.post("/v1/jobs", files={"ct": ("ct", CT)}, headers=headers)
    assert answer.status_code == 202


def test_a_token_is_its_own_sessions(api, key):
    first = sign_in(api, key)["csrf_token"]
    api.cookies.clear()
    second = sign_in(api, key)["csrf_token"]
    assert first != second
    answer = api.delete("/v1/session", headers={CSRF_HEADER: first})
    assert answer.status_code == 403


def test_a_key_in_the_request_counts_before_the_cookie(api, key, services):
    sign_in(api, key)
    other = services.tables.api_keys.create("bert", frozenset(Scope))
    headers = {"Authorization": f"Bearer {other.text}"}
    said = api.get("/v1/session", headers=headers).json()
    assert (said["owner"], said["signed_in"], said["csrf_token"]) == (
        "bert",
        False,
        None,
    )
    assert api.delete("/v1/session", headers=headers).status_code == 204
    api.cookies.clear()


def test_who_signs_out_is_unknown_from_then_on(api, key):
    token = sign_in(api, key)["csrf_token"]
    secret = api.cookies[COOKIE]
    answer = api.delete("/v1/session", headers={CSRF_HEADER: token})
    assert answer.status_code == 204
    assert COOKIE not in api.cookies
    api.cookies.set(COOKIE, secret)
    assert_problem(api.get("/v1/session"), 401, "unauthenticated")


def test_a_revoked_key_opens_nothing_by_a_cookie_either(api, key, services):
    sign_in(api, key)
    services.tables.api_keys.revoke(key.id)
    assert_problem(api.get("/v1/jobs"), 401, "unauthenticated")


@pytest.mark.parametrize("text", ["", "hanseg_x", f"hanseg_{'0' * 12}_{'0' * 64}"])
def test_with_a_wrong_key_nobody_signs_in(api, services, text):
    answer = api.post("/v1/session", json={"key": text})
    assert_problem(answer, 401, "unauthenticated")
    assert COOKIE not in answer.cookies


def test_who_guesses_keys_at_the_sign_in_is_slowed(api, key):
    wrong = [{"key": ApiKey.generate().text} for _ in range(12)]
    answers = [api.post("/v1/session", json=each) for each in wrong]
    assert [each.status_code for each in answers] == [401] * 10 + [429] * 2


def test_who_sends_old_cookies_may_sign_in_all_the_same(api, key):
    api.cookies.set(COOKIE, "0" * 64)
    for _ in range(20):
        assert api.get("/v1/session").status_code == 401
    api.cookies.clear()
    sign_in(api, key)


def test_who_guesses_cookies_is_slowed(app, api):
    app.state.gate._stale = Buckets(size=2, per_second=0.001, clock=time.monotonic)
    api.cookies.set(COOKIE, "0" * 64)
    statuses = [api.get("/v1/session").status_code for _ in range(4)]
    assert statuses == [401, 401, 429, 429]


@pytest.mark.parametrize("cookie", ["", "x", "é", "0" * 63, "G" * 64])
def test_a_cookie_of_another_form_is_none(api, cookie):
    answer = api.get("/v1/session", headers={"Cookie": f"{COOKIE}={cookie}".encode()})
    assert_problem(answer, 401, "unauthenticated")


def test_signing_in_and_out_is_audited(api, key, services):
    api.post("/v1/session", json={"key": "hanseg_wrong"})
    token = sign_in(api, key)["csrf_token"]
    api.delete("/v1/session", headers={CSRF_HEADER: token})
    entries = [each for each in told(services) if each["what"].startswith("sign_")]
    noted = [(e["what"], e["who"], e["key"], e["outcome"]) for e in entries]
    assert noted == [
        ("sign_in", "", None, "401"),
        ("sign_in", "anna", key.id, "201"),
        ("sign_out", "anna", key.id, "204"),
    ]
    assert {each["from"] for each in entries} == {ELSEWHERE[0]}


def test_what_a_browser_sends_is_audited_in_its_owners_name(api, key, services):
    sign_in(api, key)
    api.get("/v1/jobs")
    last = told(services)[-1]
    assert (last["what"], last["who"], last["key"]) == ("list_jobs", "anna", key.id)


class TestWithoutKeys:
    """On one's own machine nobody is asked to sign in."""

    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(update={"access": "local"})

    def test_the_one_person_is_told_to_be_local(self, app):
        with TestClient(app, client=("127.0.0.1", 50000)) as api:
            said = api.get("/v1/session").json()
        assert (said["owner"], said["signed_in"], said["csrf_token"]) == (
            "local",
            False,
            None,
        )

    def test_an_old_cookie_is_no_hindrance(self, app):
        with TestClient(app, client=("127.0.0.1", 50000)) as api:
            api.cookies.set(COOKIE, "0" * 64)
            assert api.get("/v1/jobs").status_code == 200
