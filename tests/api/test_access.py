"""Every route of the OpenAPI document, asked with every kind of key."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, params
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import ROUTERS, create_app
from hanseg_segmentation.api.http import access
from hanseg_segmentation.api.http.access import OPEN, GuardedRoute, declaration_of
from hanseg_segmentation.api.http.cookie import COOKIE, CSRF_HEADER, csrf_token
from hanseg_segmentation.api.http.origin import PAGES
from hanseg_shared.access import ApiKey, Scope
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.tables.sessions import session_id
from hanseg_shared.result_files import SEGMENTATION, VIEW_CT
from tests.api.conftest import FAST, make_app, opened, settings_of, write_models
from tests.api.fakes import CT, FakeChecker, FakeConverter, FakeWorker
from tests.api.requests import ending, new_job, new_webhook, upload
from tests.api.test_openapi import METHODS
from tests.jobs.fakes import FakePublisher
from tests.review.cases import SMALLER, pack, write_labels

RESULT = "masks/Eye_AL.nii.gz"
STUDY = "1.2.826.0.1.3680043.8.498.1"

OPERATIONS = sorted(
    (path, method) for path, methods in METHODS.items() for method in methods
)

OPEN_TO_ALL = {
    ("/livez", "get"),
    ("/readyz", "get"),
    ("/v1/session", "post"),
    ("/v1/signing-keys", "get"),
}

HIDDEN = {*PAGES, "/assets/{name}", "/docs", "/openapi.json"}
"""Pages, which the OpenAPI document leaves out."""

NEEDED: dict[tuple[str, str], set[Scope]] = {
    ("/metrics", "get"): {Scope.READ_ALL},
    ("/v1/organs", "get"): set(Scope),
    ("/v1/models", "get"): set(Scope),
    ("/v1/commissioning", "get"): set(Scope),
    ("/v1/commissioning", "post"): {Scope.ADMIN},
    ("/v1/commissioning/{sheet}/files/{file_name}", "get"): {Scope.READ_ALL},
    ("/v1/commissioning/{sheet}/files/{file_name}", "put"): {Scope.ADMIN},
    ("/v1/session", "get"): set(Scope),
    ("/v1/session", "delete"): set(Scope),
    ("/v1/templates", "get"): set(Scope),
    ("/v1/templates/{template_name}", "get"): set(Scope),
    ("/v1/templates/{template_name}", "put"): {Scope.ADMIN},
    ("/v1/templates/{template_name}", "delete"): {Scope.ADMIN},
    ("/v1/templates/{template_name}/versions/{version}", "get"): set(Scope),
    ("/v1/jobs", "get"): {Scope.READ},
    ("/v1/jobs", "post"): {Scope.SUBMIT},
    ("/v1/jobs/{job_id}", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}", "delete"): {Scope.SUBMIT},
    ("/v1/jobs/{job_id}/events", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}/cancel", "post"): {Scope.SUBMIT},
    ("/v1/jobs/{job_id}/retry", "post"): {Scope.SUBMIT},
    ("/v1/jobs/{job_id}/results", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}/results.zip", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}/results.zip", "head"): {Scope.READ},
    ("/v1/jobs/{job_id}/results/{name}", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}/results/{name}", "head"): {Scope.READ},
    ("/v1/jobs/{job_id}/view/{image}", "get"): {Scope.READ},
    ("/v1/statistics", "get"): {Scope.READ},
    ("/v1/statistics/csv", "get"): {Scope.READ},
    ("/v1/statistics/corrections", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}/review", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}/review/versions", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}/review/versions/{version}", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}/review/organs", "post"): {Scope.REVIEW},
    ("/v1/jobs/{job_id}/review/organs/{organ}", "put"): {Scope.REVIEW},
    ("/v1/jobs/{job_id}/review/organs/{organ}/mask", "put"): {Scope.REVIEW},
    ("/v1/jobs/{job_id}/review/corrections", "post"): {Scope.REVIEW},
    ("/v1/jobs/{job_id}/review/versions/{version}/masks/{organ}", "get"): {Scope.READ},
    ("/v1/jobs/{job_id}/review/registration", "put"): {Scope.REVIEW},
    ("/v1/jobs/{job_id}/review/signature", "post"): {Scope.REVIEW},
    ("/v1/jobs/{job_id}/review/reopen", "post"): {Scope.REVIEW},
    ("/v1/worklist", "get"): {Scope.READ},
    ("/v1/worklist/events", "get"): {Scope.READ},
    ("/v1/uploads", "post"): {Scope.SUBMIT},
    ("/v1/uploads/{upload_id}", "get"): {Scope.SUBMIT},
    ("/v1/uploads/{upload_id}", "delete"): {Scope.SUBMIT},
    ("/v1/uploads/{upload_id}/content", "put"): {Scope.SUBMIT},
    ("/v1/webhooks", "get"): {Scope.READ},
    ("/v1/webhooks", "post"): {Scope.SUBMIT},
    ("/v1/webhooks/{webhook_id}", "get"): {Scope.READ},
    ("/v1/webhooks/{webhook_id}", "delete"): {Scope.SUBMIT},
    ("/v1/webhooks/{webhook_id}/deliveries", "get"): {Scope.READ},
    ("/v1/webhooks/{webhook_id}/ping", "post"): {Scope.SUBMIT},
    ("/v1/webhooks/{webhook_id}/rotate", "post"): {Scope.SUBMIT},
    ("/v1/batches", "post"): {Scope.SUBMIT},
    ("/v1/batches/{batch_id}", "get"): {Scope.READ},
    ("/v1/batches/{batch_id}", "delete"): {Scope.SUBMIT},
    ("/v1/dicom-web/studies", "post"): {Scope.SUBMIT},
    ("/v1/dicom-web/studies/{study}", "post"): {Scope.SUBMIT},
    ("/v1/dicom-web/studies/{study}", "delete"): {Scope.SUBMIT},
}
"""One of these scopes is needed, or one that contains it."""

OWNED = {
    each
    for each in NEEDED
    if any(
        part in each[0]
        for part in ("{job_id}", "{upload_id}", "{batch_id}", "{webhook_id}")
    )
}

GUARDED = [each for each in OPERATIONS if each not in OPEN_TO_ALL]


@dataclass
class Asker:
    """Asks a route for a thing that exists, with or without a key."""

    api: TestClient
    things: dict[str, str]

    def ask(self, operation: tuple[str, str], authorization: str | None) -> Any:
        headers: dict[str, Any] = {}
        if authorization is not None:
            headers["Authorization"] = authorization.encode()
        return self._ask(operation, headers)

    def ask_as_a_browser(
        self, operation: tuple[str, str], secret: str, *, token: bool = True
    ) -> Any:
        headers = {"Cookie": f"{COOKIE}={secret}"}
        if token:
            headers[CSRF_HEADER] = csrf_token(secret)
        return self._ask(operation, headers)

    def _ask(self, operation: tuple[str, str], headers: dict[str, Any]) -> Any:
        path, method = operation
        app: Any = self.api.app
        with ending(app, path):
            return self.api.request(
                method,
                path.format(**self.things),
                headers=headers,
                follow_redirects=False,
            )


def key_of(services: Services, owner: str) -> str:
    made = services.tables.api_keys.create(owner, frozenset(Scope))
    return f"Bearer {made.text}"


@dataclass(frozen=True)
class Furnished:
    """A data folder in which anna has one thing of each kind."""

    data: Path
    things: dict[str, str]


@pytest.fixture(scope="module")
def furnished(tmp_path_factory) -> Furnished:
    """Made once; each test works on a copy."""
    folder = tmp_path_factory.mktemp("furnished")
    settings = settings_of(folder / "data").model_copy(update={"access": "keys"})
    with opened(settings, FakePublisher()) as services:
        models = write_models(folder / "models")
        app = make_app(services, models, FakeChecker(), FakeConverter())
        headers = {"Authorization": key_of(services, "anna")}
        with TestClient(app, headers=headers) as anna:
            things = make_things(anna, FakeWorker(services), folder)
    return Furnished(folder / "data", things)


@pytest.fixture
def settings(settings, furnished: Furnished):
    shutil.copytree(furnished.data, settings.data)
    return settings.model_copy(update={"access": "keys"})


@pytest.fixture
def key(services):
    """Make a key and return what is sent with it."""

    def make(owner: str = "anna", *scopes: Scope, **more: Any) -> str:
        granted = frozenset(scopes or Scope)
        return f"Bearer {services.tables.api_keys.create(owner, granted, **more).text}"

    return make


@pytest.fixture
def api(app):
    # not from this machine, where metrics are open
    with TestClient(app, client=("192.0.2.7", 50000)) as client:
        yield client


def make_things(anna: TestClient, worker: FakeWorker, folder: Path) -> dict[str, str]:
    """Return path parameters of things that belong to anna."""
    job_id = new_job(anna)
    label_map = write_labels(folder / "own.nii.gz").read_bytes()
    worker.succeed(
        job_id,
        {RESULT: b"a mask", SEGMENTATION: label_map},
        shown={VIEW_CT: b"an image"},
    )
    review = f"/v1/jobs/{job_id}/review"
    painted = anna.put(
        f"{review}/organs/Brainstem/mask",
        content=pack(SMALLER),
        headers={"Content-Type": "application/gzip"},
    )
    assert painted.json()["version"] == 1
    batch = {"cases": [{"name": "a", "ct": upload(anna, CT)}]}
    return {
        "job_id": job_id,
        "upload_id": upload(anna, CT),
        "batch_id": str(anna.post("/v1/batches", json=batch).json()["id"]),
        "webhook_id": new_webhook(anna),
        "name": RESULT,
        "image": "ct.nii.gz",
        "template_name": "default",
        "version": "1",
        "organ": "Brainstem",
        "study": STUDY,
        "sheet": "0" * 64,
        "file_name": "commissioning.pdf",
    }


@pytest.fixture
def asker(api, furnished: Furnished) -> Asker:
    """Asks for things that belong to anna."""
    return Asker(api, furnished.things)


@pytest.fixture
def browser(services):
    """Sign an owner in and return the cookie's value."""

    def make(owner: str = "anna", *scopes: Scope) -> str:
        tables = services.tables
        made = tables.api_keys.create(owner, frozenset(scopes or Scope))
        secret: str = tables.sessions.create(made.id, seconds=60.0).secret
        return secret

    return make


def id_of(authorization: str) -> str:
    return authorization.split("_")[1]


def routes() -> list[GuardedRoute]:
    """Return every route; that all are guarded is a test of its own."""
    found = [route for router in ROUTERS for route in router.routes]
    return [route for route in found if isinstance(route, GuardedRoute)]


def ids(operation: tuple[str, str]) -> str:
    return f"{operation[1]} {operation[0]}"


def test_the_tables_of_this_test_name_every_route():
    assert set(NEEDED) | OPEN_TO_ALL == set(OPERATIONS)


def test_every_route_of_the_application_says_what_it_needs():
    assert len(routes()) == sum(len(router.routes) for router in ROUTERS)
    for route in routes():
        declaration_of(route)


def test_a_route_that_does_not_say_what_it_needs_cannot_be_declared():
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(TypeError, match="declares 0 scopes"):
        router.get("/new")(lambda: None)


def test_what_is_open_is_said_to_be():
    declared = {
        (route.path, method.lower())
        for route in routes()
        if declaration_of(route) is OPEN
        for method in route.methods or ()
    }
    assert declared == OPEN_TO_ALL | {(path, "get") for path in HIDDEN}


def test_what_a_route_needs_is_what_it_declares():
    for route in routes():
        declared = declaration_of(route)
        if declared is OPEN:
            continue
        assert isinstance(declared, params.Security)
        wanted = set(map(Scope, declared.scopes or ())) or set(Scope)
        for method in route.methods or ():
            assert NEEDED[route.path_format, method.lower()] == wanted


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_without_a_right_key_there_is_nothing(asker: Asker, services, key, operation):
    keys = services.tables.api_keys
    right = key("anna")
    revoked, expired = key("anna"), key("anna", seconds=-1.0)
    keys.revoke(id_of(revoked))
    wrong = (
        f"{right[:-8]}{'0' * 8}" if not right.endswith("0" * 8) else right[:-1] + "1"
    )
    unknown = f"Bearer {ApiKey.generate().text}"
    malformed = ("Bearer", "Bearer x", "Basic eDp5", right.partition(" ")[2], "é", "")
    for sent in (None, wrong, unknown, revoked, expired, *malformed):
        app: Any = asker.api.app
        app.state.gate._failures._buckets.clear()
        answer = asker.ask(operation, sent)
        assert answer.status_code == 401, sent
        assert answer.headers["www-authenticate"].startswith("Bearer realm=")
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_a_scope_that_is_too_small_is_refused(asker: Asker, key, operation):
    wanted = NEEDED[operation]
    containing = {Scope.ADMIN} | ({Scope.READ_ALL} if Scope.READ in wanted else set())
    for scope in set(Scope) - wanted - containing:
        answer = asker.ask(operation, key("anna", scope))
        assert answer.status_code == 403, scope
        assert "insufficient_scope" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_the_right_key_gets_past_the_guard(asker: Asker, key, operation):
    for scope in NEEDED[operation]:
        answer = asker.ask(operation, key("anna", scope))
        assert answer.status_code not in {401, 403}, answer.text


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_a_browser_gets_as_far_as_its_key(asker: Asker, browser, services, operation):
    wanted = NEEDED[operation]
    for scope in wanted:
        answer = asker.ask_as_a_browser(operation, browser("anna", scope))
        assert answer.status_code not in {401, 403}, answer.text
    containing = {Scope.ADMIN} | ({Scope.READ_ALL} if Scope.READ in wanted else set())
    for scope in set(Scope) - wanted - containing:
        answer = asker.ask_as_a_browser(operation, browser("anna", scope))
        assert answer.status_code == 403, scope


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_a_browser_without_a_session_gets_nothing(asker, browser, services, operation):
    ended, never = browser("anna"), "0" * 64
    services.tables.sessions.end(session_id(ended))
    revoked = browser("anna")
    record = services.tables.sessions.find(session_id(revoked))
    services.tables.api_keys.revoke(record.key.id)
    for secret in (ended, never, revoked):
        assert asker.ask_as_a_browser(operation, secret).status_code == 401


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_a_browser_changes_nothing_without_the_token(asker, browser, operation):
    answer = asker.ask_as_a_browser(operation, browser("anna"), token=False)
    changes = operation[1] not in {"get", "head"}
    assert (answer.status_code == 403) is changes


@pytest.mark.parametrize("operation", sorted(OWNED), ids=ids)
def test_what_is_anothers_is_not_there_for_a_browser(asker, browser, operation):
    scopes = [Scope.SUBMIT, Scope.READ, Scope.REVIEW]
    answer = asker.ask_as_a_browser(operation, browser("bert", *scopes))
    assert answer.status_code == 404


@pytest.mark.parametrize("operation", sorted(OWNED), ids=ids)
def test_what_is_anothers_is_not_there(asker: Asker, key, operation):
    for scopes in ([Scope.SUBMIT, Scope.READ, Scope.REVIEW], sorted(NEEDED[operation])):
        answer = asker.ask(operation, key("bert", *scopes))
        assert answer.status_code == 404
        nowhere = Asker(asker.api, asker.things | dict.fromkeys(asker.things, "0" * 32))
        unknown = nowhere.ask(operation, key("bert", *scopes))
        if unknown.content:  # but for the id, both answers are one
            mine, others = unknown.json()["detail"], answer.json()["detail"]
            for thing in asker.things.values():
                others = others.replace(thing, "0" * 32)
            assert mine == others


@pytest.mark.parametrize("operation", sorted(OWNED), ids=ids)
def test_who_may_read_all_sees_but_does_not_change(asker: Asker, key, operation):
    reads = Scope.READ in NEEDED[operation]
    answer = asker.ask(operation, key("carl", Scope.READ_ALL, Scope.SUBMIT))
    assert answer.status_code == (200 if reads else 403)


def test_an_admin_may_delete_what_is_anothers(asker: Asker, key):
    operation = ("/v1/jobs/{job_id}", "delete")
    assert asker.ask(operation, key("dora", Scope.ADMIN)).status_code == 204


def test_lists_show_ones_own(asker: Asker, key):
    listing = ("/v1/jobs", "get")
    anna, bert = key("anna", Scope.READ), key("bert", Scope.READ)
    assert len(asker.ask(listing, anna).json()["jobs"]) == 2
    assert asker.ask(listing, bert).json()["jobs"] == []
    assert len(asker.ask(listing, key("carl", Scope.READ_ALL)).json()["jobs"]) == 2


def test_anothers_upload_and_study_make_no_job(asker: Asker, key):
    headers = {"Authorization": key("bert")}
    for case in ({"ct": asker.things["upload_id"]}, {"study": STUDY}):
        answer = asker.api.post("/v1/jobs", json=case, headers=headers)
        assert answer.status_code == 422
    batch = {"cases": [{"name": "a", "ct": asker.things["upload_id"]}]}
    answer = asker.api.post("/v1/batches", json=batch, headers=headers)
    assert answer.status_code == 422


def test_two_owners_may_use_one_idempotency_key(asker: Asker, key, services):
    for owner in ("anna", "bert"):
        headers = {"Authorization": key(owner), "Idempotency-Key": "k"}
        files = {"ct": ("ct", CT)}
        sent = asker.api.post("/v1/jobs", files=files, headers=headers)
        assert sent.status_code == 202
        assert services.tables.jobs.owner(sent.json()["id"]) == owner


def test_a_job_tried_again_stays_its_owners(asker: Asker, key, services):
    sent = asker.api.post(
        "/v1/jobs", files={"ct": ("ct", CT)}, headers={"Authorization": key("anna")}
    ).json()
    services.tables.jobs.request_cancel(sent["id"])
    again = asker.api.post(
        f"/v1/jobs/{sent['id']}/retry", headers={"Authorization": key("dora")}
    )
    assert services.tables.jobs.owner(again.json()["id"]) == "anna"


def test_a_revoked_key_opens_nothing_from_the_next_request_on(asker, key, services):
    sent = key("anna")
    assert asker.ask(("/v1/jobs", "get"), sent).status_code == 200
    services.tables.api_keys.revoke(id_of(sent))
    assert asker.ask(("/v1/jobs", "get"), sent).status_code == 401


def test_a_program_on_this_machine_reads_the_metrics(app):
    with TestClient(app, client=("127.0.0.1", 50000)) as here:
        assert here.get("/metrics").status_code == 200
        forwarded = {"X-Forwarded-For": "192.0.2.1"}
        assert here.get("/metrics", headers=forwarded).status_code == 401
        assert here.get("/v1/jobs").status_code == 401


def test_basic_is_taken_where_dicom_is_stored_only(asker: Asker, key):
    password = key("anna").partition(" ")[2]
    basic = f"Basic {base64.b64encode(f'anna:{password}'.encode()).decode()}"
    assert asker.ask(("/v1/dicom-web/studies", "post"), basic).status_code == 415
    assert asker.ask(("/v1/jobs", "get"), basic).status_code == 401


def test_wrong_keys_are_slowed_and_right_ones_are_not(asker: Asker, key):
    right = key("anna")
    jobs = ("/v1/jobs", "get")
    assert asker.ask(jobs, right).status_code == 200
    answers = [asker.ask(jobs, f"Bearer {ApiKey.generate().text}") for _ in range(12)]
    assert [each.status_code for each in answers] == [401] * 10 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) > 0
    assert asker.ask(jobs, right).status_code == 200


def test_the_key_is_asked_for_before_the_body_is_read(api):
    answer = api.post("/v1/uploads", content=b"{", headers={"Content-Type": "x/y"})
    assert answer.status_code == 401


def app_with(services, models, **settings: float) -> FastAPI:
    changed = services.settings.model_copy(update=settings)
    return create_app(
        replace(services, settings=changed),
        model_folders=[models],
        pace=FAST,
        reconcile=False,
    )


def test_a_caller_is_held_to_a_rate(services, models, key):
    app = app_with(services, models, key_requests_per_second=0.2)
    with TestClient(app) as api:
        headers = {"Authorization": key("anna")}
        answers = [api.get("/v1/organs", headers=headers) for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) > 0
        other = {"Authorization": key("bert")}
        assert api.get("/v1/organs", headers=other).status_code == 200


def test_a_caller_is_held_to_a_volume(services, models, key):
    app = app_with(services, models, key_bytes_per_hour=1000)
    with TestClient(app, headers={"Authorization": key("anna")}) as api:
        body = {"bytes": 1, "sha256": "0" * 64}
        answers = [api.post("/v1/uploads", json=body) for _ in range(20)]
        statuses = [each.status_code for each in answers]
        assert statuses[0] == 201
        assert statuses[-1] == 429


def test_a_key_stands_in_no_log_and_no_answer(asker: Asker, key, caplog):
    sent = key("anna")
    secret = sent.rpartition("_")[2]
    with caplog.at_level("DEBUG"):
        answers = [asker.ask(each, sent) for each in GUARDED]
        answers.append(asker.ask(("/v1/jobs", "get"), sent[:-1]))
    assert secret[:-1] not in caplog.text
    for answer in answers:
        assert secret[:-1] not in answer.text + str(answer.headers)


def test_the_document_says_which_scope_is_needed(api):
    paths = api.get("/openapi.json").json()["paths"]
    assert paths["/v1/jobs"]["post"]["security"] == [{"key": ["submit"]}]
    assert "security" not in paths["/livez"]["get"]
    assert access._BEARER.scheme_name == "key"
