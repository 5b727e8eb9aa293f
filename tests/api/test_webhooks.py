"""Webhooks over HTTP: made, listed, replaced, tested, deleted, and seen by owners."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient

from hanseg_shared.access import Scope
from hanseg_shared.webhooks.documents import EventType, Failure
from hanseg_shared.webhooks.sending import Answer
from tests.api.requests import assert_problem, new_job, new_webhook

URL = "https://example.org/hanseg?token=hidden"


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"access": "keys", "max_webhooks_a_caller": 2})


@pytest.fixture
def client(app, services):
    """Make a client of an owner's."""

    def make(owner: str = "anna", *scopes: Scope) -> TestClient:
        granted = frozenset(scopes or (Scope.SUBMIT, Scope.READ))
        key = services.tables.api_keys.create(owner, granted)
        return TestClient(app, headers={"Authorization": f"Bearer {key.text}"})

    return make


@pytest.fixture
def anna(client) -> TestClient:
    found: TestClient = client()
    return found


def attempt(services, answer: Answer) -> None:
    claimed = services.tables.deliveries.claim()
    services.tables.deliveries.settle(claimed, answer, chance=0.5)


def test_a_webhook_is_made_with_a_secret_that_is_shown_once(anna):
    made = anna.post("/v1/webhooks", json={"url": URL, "events": ["job.failed"]})

    assert made.status_code == 201
    document = made.json()
    assert document["secret"].startswith("whsec_")
    assert (document["url"], document["events"]) == (URL, ["job.failed"])
    assert made.headers["location"] == document["links"]["self"]
    seen = anna.get(made.headers["location"])
    listed = anna.get("/v1/webhooks")
    assert seen.json() == listed.json()["webhooks"][0]
    assert "secret" not in seen.text
    assert "whsec_" not in listed.text


def test_by_default_everything_is_told(anna):
    made = anna.post("/v1/webhooks", json={"url": URL})
    assert set(made.json()["events"]) == set(EventType)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["job.eaten"]}, "events"),
        ({"url": URL, "more": 1}, "more"),
    ],
)
def test_what_fits_no_schema_is_refused(anna, body, said):
    answer = anna.post("/v1/webhooks", json=body)
    assert_problem(answer, 422, "invalid-request", said)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest",
        "https://user:hush@example.org/",
        "nonsense",
    ],
)
def test_an_address_that_nothing_may_be_sent_to_is_refused(anna, url):
    answer = anna.post("/v1/webhooks", json={"url": url})
    assert_problem(answer, 422, "bad-option", "url")
    assert "hush" not in answer.text


def test_one_caller_may_have_so_many(anna, client):
    for _ in range(2):
        new_webhook(anna)
    answer = anna.post("/v1/webhooks", json={"url": URL})
    assert_problem(answer, 409, "too-many-webhooks", "may have 2")
    assert client("bert").post("/v1/webhooks", json={"url": URL}).status_code == 201


def test_lists_show_ones_own(anna, client):
    new_webhook(anna)
    for scopes in ((Scope.READ,), (Scope.READ_ALL,), (Scope.ADMIN,)):
        assert client("bert", *scopes).get("/v1/webhooks").json() == {"webhooks": []}


def test_of_anothers_address_whoever_reads_all_sees_the_host(anna, client):
    path = f"/v1/webhooks/{anna.post('/v1/webhooks', json={'url': URL}).json()['id']}"
    assert anna.get(path).json()["url"] == URL
    seen = client("carl", Scope.READ_ALL).get(path)
    assert seen.json()["url"] == "https://example.org/"
    assert "hidden" not in seen.text


def test_a_secret_is_replaced(anna):
    made = anna.post("/v1/webhooks", json={"url": URL}).json()
    rotated = anna.post(f"{made['links']['self']}/rotate")
    assert rotated.status_code == 200
    assert rotated.json()["secret"] != made["secret"]
    assert made["previous_secret_until"] is None
    assert rotated.json()["previous_secret_until"] is not None


def test_an_admin_who_replaces_anothers_secret_sees_the_host(anna, client):
    path = anna.post("/v1/webhooks", json={"url": URL}).json()["links"]["self"]
    assert anna.post(f"{path}/rotate").json()["url"] == URL
    rotated = client("carl", Scope.ADMIN).post(f"{path}/rotate")
    assert rotated.status_code == 200
    assert rotated.json()["url"] == "https://example.org/"
    assert rotated.json()["secret"].startswith("whsec_")  # to hand on to the owner
    assert "hidden" not in rotated.text


def test_a_test_is_due_at_once_and_what_came_of_it_is_seen(anna, services):
    path = f"/v1/webhooks/{new_webhook(anna)}"
    sent = anna.post(f"{path}/ping")
    assert sent.status_code == 202
    assert (sent.json()["type"], sent.json()["outcome"]) == ("ping", "waiting")
    attempt(services, Answer(503, Failure.STATUS))
    [seen] = anna.get(f"{path}/deliveries").json()["deliveries"]
    assert seen["id"] == sent.json()["id"]
    assert (seen["outcome"], seen["status"], seen["failure"]) == (
        "given_up",
        503,
        "status",
    )
    assert anna.get(path).json()["failing_since"] is not None


def test_what_became_of_a_job_is_told_and_goes_with_it(anna, services):
    path = f"/v1/webhooks/{new_webhook(anna)}"
    job = new_job(anna)
    services.tables.jobs.request_cancel(job)
    services.tables.deliveries.announce()
    attempt(services, Answer(failure=Failure.UNRESOLVED))
    [seen] = anna.get(f"{path}/deliveries").json()["deliveries"]
    assert (seen["type"], seen["job"]) == ("job.cancelled", job)
    assert (seen["attempts"], seen["failure"]) == (1, "unresolved")
    assert seen["next_at"] > seen["tried_at"]
    assert anna.delete(f"/v1/jobs/{job}").status_code == 204
    assert anna.get(f"{path}/deliveries").json() == {"deliveries": []}


def test_a_deleted_webhook_is_gone(anna, services):
    path = f"/v1/webhooks/{new_webhook(anna)}"
    anna.post(f"{path}/ping")
    assert anna.delete(path).status_code == 204
    assert anna.get(path).status_code == 404
    assert anna.get(f"{path}/deliveries").status_code == 404
    assert services.tables.deliveries.claim() is None


def test_one_that_is_disabled_says_why(anna, services):
    path = f"/v1/webhooks/{new_webhook(anna)}"
    anna.post(f"{path}/ping")
    attempt(services, Answer(410, Failure.STATUS))
    seen = anna.get(path).json()
    assert seen["disabled_why"] == "gone"
    assert seen["disabled_at"] is not None


def test_what_is_done_to_webhooks_is_audited_without_addresses(anna, services):
    path = f"/v1/webhooks/{new_webhook(anna)}"
    anna.post(f"{path}/ping")
    anna.post(f"{path}/rotate")
    anna.get(path)
    anna.delete(path)
    lines = [each.line for each in services.tables.audit.list_entries()]
    told = [json.loads(line) for line in lines]
    noted = [each["what"] for each in told if "webhook" in each["what"]]
    assert noted == [
        "create_webhook",
        "ping_webhook",
        "rotate_webhook",
        "delete_webhook",
    ]
    assert {each["on"] for each in told if "webhook" in each["what"]} == {
        path.rpartition("/")[2]
    }
    assert "example.org" not in "".join(lines)


def test_deliveries_are_counted_in_the_metrics(anna, client, services):
    path = f"/v1/webhooks/{new_webhook(anna)}"
    anna.post(f"{path}/ping")
    attempt(services, Answer(204))
    text = client("carl", Scope.READ_ALL).get("/metrics").text
    assert 'hanseg_webhook_deliveries_total{outcome="delivered"} 1.0' in text


def test_where_webhooks_are_not_wanted_there_are_none(app, client, services):
    context = app.state.context
    none = services.settings.model_copy(update={"max_webhooks_a_caller": 0})
    object.__setattr__(context.services, "settings", none)
    answer = client().post("/v1/webhooks", json={"url": URL})
    assert_problem(answer, 409, "too-many-webhooks", "may have 0")
