"""Who may have a case done before others, and how many jobs a key's owner may have."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from hanseg_shared.access import Scope
from hanseg_shared.documents import Priority
from tests.api.fakes import CT
from tests.api.requests import assert_problem, submit, upload


@pytest.fixture
def settings(settings):
    return settings.model_copy(
        update={"access": "keys", "max_unfinished_jobs_a_caller": 2}
    )


@pytest.fixture
def client(app, services):
    """Make a client whose key has these scopes, and may read."""

    def make(*scopes: Scope, **more: Any) -> TestClient:
        granted = frozenset({Scope.SUBMIT, Scope.READ, *scopes})
        key = services.tables.api_keys.create("anna", granted, **more)
        return TestClient(app, headers={"Authorization": f"Bearer {key.text}"})

    return make


def test_a_case_is_routine_unless_it_is_asked_for(client, services):
    job = submit(client()).json()

    assert job["priority"] == "routine"
    assert services.tables.jobs.get(job["id"]).priority is Priority.ROUTINE


@pytest.mark.parametrize("scope", [Scope.URGENT, Scope.ADMIN])
def test_with_the_scope_a_case_may_be_urgent(client, services, scope):
    job = submit(client(scope), priority="urgent").json()

    assert job["priority"] == "urgent"
    assert services.tables.jobs.get(job["id"]).priority is Priority.URGENT


def test_without_the_scope_an_urgent_case_is_refused(client, checker):
    answer = submit(client(), priority="urgent")

    assert_problem(answer, 403, "forbidden", "lacks the scope urgent")
    assert checker.seen == []


def test_there_are_two_priorities(client):
    answer = submit(client(Scope.ADMIN), priority="at once")

    assert_problem(answer, 422, "invalid-request", "priority")


@pytest.mark.parametrize(("scopes", "status"), [((), 403), ((Scope.URGENT,), 202)])
def test_a_batch_asks_for_it_likewise(client, services, scopes, status):
    anna = client(*scopes)
    cases = [{"name": "one", "ct": upload(anna, CT)}]
    answer = anna.post("/v1/batches", json={"cases": cases, "priority": "urgent"})

    assert answer.status_code == status
    found = services.tables.jobs.list_page(limit=9).jobs
    assert [job.priority for job in found] == [Priority.URGENT] * (status == 202)


def test_a_retry_is_as_urgent_as_the_job_was(client, services):
    anna = client(Scope.URGENT)
    job_id = submit(anna, priority="urgent").json()["id"]
    anna.post(f"/v1/jobs/{job_id}/cancel")
    again = anna.post(f"/v1/jobs/{job_id}/retry").json()

    assert again["priority"] == "urgent"


def test_an_urgent_and_a_routine_request_are_two(client):
    anna = client(Scope.URGENT)
    submit(anna, key="a-key")
    answer = submit(anna, key="a-key", priority="urgent")

    assert_problem(answer, 422, "idempotency-key-reused")


def test_a_key_says_how_many_jobs_its_owner_may_have(client):
    anna = client(max_unfinished=3)
    answers = [submit(anna).status_code for _ in range(4)]

    assert answers == [202, 202, 202, 429]
