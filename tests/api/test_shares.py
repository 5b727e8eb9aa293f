"""What one caller may have of the queue, of announcements and of the disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_shared.access import Scope
from hanseg_shared.jobs.sweeper import ANNOUNCED_SECONDS, UPLOAD_SECONDS
from tests.api.fakes import CT
from tests.api.requests import announce, assert_problem, leftovers, submit, upload
from tests.api.test_stow import STUDY, instances, store

MIB = 1 << 20


@pytest.fixture
def settings(settings):
    return settings.model_copy(
        update={
            "access": "keys",
            "max_unfinished_jobs_a_caller": 2,
            "max_announced_uploads_a_caller": 3,
        }
    )


@pytest.fixture
def client(app, services):
    """Make a client of an owner."""

    def make(owner: str) -> TestClient:
        key = services.tables.api_keys.create(owner, frozenset(Scope))
        return TestClient(app, headers={"Authorization": f"Bearer {key.text}"})

    return make


def test_a_caller_with_its_share_of_the_queue_waits_and_others_do_not(client, worker):
    anna, bert = client("anna"), client("bert")
    jobs = [submit(anna).json()["id"] for _ in range(2)]
    answer = submit(anna)
    assert_problem(answer, 429, "too-many-jobs", "2 of your jobs are unfinished")
    assert int(answer.headers["retry-after"]) > 0
    assert submit(bert).status_code == 202
    worker.succeed(jobs[0])
    assert submit(anna).status_code == 202


def test_a_repetition_is_answered_also_without_a_share(client):
    anna = client("anna")
    sent = [submit(anna, key=key).json()["id"] for key in ("one", "two")]
    assert submit(anna, key="one").json()["id"] == sent[0]
    assert_problem(submit(anna, key="three"), 429, "too-many-jobs")


def test_a_job_tried_again_and_a_batch_count_too(client, services):
    anna = client("anna")
    first = submit(anna).json()["id"]
    services.tables.jobs.request_cancel(first)
    cases = [{"name": str(n), "ct": upload(anna, CT)} for n in range(2)]
    assert anna.post("/v1/batches", json={"cases": cases}).status_code == 202
    assert_problem(anna.post(f"/v1/jobs/{first}/retry"), 429, "too-many-jobs")
    more = anna.post("/v1/batches", json={"cases": cases[:1]})
    assert_problem(more, 429, "too-many-jobs")
    many = anna.post("/v1/batches", json={"cases": [*cases, {**cases[0], "name": "3"}]})
    assert_problem(many, 422, "bad-option", "send them in parts")


def test_who_needs_no_key_has_the_queue_alone(services, models, checker):
    alone = replace(
        services, settings=services.settings.model_copy(update={"access": "local"})
    )
    app = create_app(alone, check_case=checker, model_folders=[models], reconcile=False)
    with TestClient(app) as api:
        assert {submit(api).status_code for _ in range(3)} == {202}


def test_announcements_are_bounded_and_expire_soon(client, services):
    anna = client("anna")
    for _ in range(3):
        answer = announce(anna, CT)
        assert answer.status_code == 201
    refused = announce(anna, CT)
    assert_problem(refused, 429, "too-many-uploads", "announced 3 uploads")
    assert int(refused.headers["retry-after"]) > 0
    assert announce(client("bert"), CT).status_code == 201
    told = answer.json()
    row = services.tables.uploads.get(told["id"])
    assert seconds_until(told["expires_at"], row) == ANNOUNCED_SECONDS
    anna.put(told["links"]["content"], content=CT)
    received = anna.get(told["links"]["self"]).json()["expires_at"]
    assert seconds_until(received, row) == UPLOAD_SECONDS
    assert announce(anna, CT).status_code == 201


def seconds_until(shown: str, row) -> float:
    return round(datetime.fromisoformat(shown).timestamp() - row.created_at)


class TestRoom:
    """A disk with 10 MiB, of which 1 must stay free, that files do not fill."""

    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(
            update={"min_free_bytes": MIB, "max_upload_bytes": 100 * MIB}
        )

    @pytest.fixture
    def anna(self, app, client, monkeypatch):
        monkeypatch.setattr(app.state.context.room, "_free", lambda: 10 * MIB)
        return client("anna")

    def announce(self, api: TestClient, size: int):
        return api.post("/v1/uploads", json={"bytes": size, "sha256": "0" * 64})

    def test_what_is_announced_is_as_good_as_there(self, anna):
        first = self.announce(anna, 4 * MIB)
        assert first.status_code == 201
        full = self.announce(anna, 4 * MIB)
        assert_problem(full, 507, "disk-full", f"{4 * MIB} are reserved")
        assert int(full.headers["retry-after"]) > 0
        assert_problem(submit(anna, CT + bytes(3 * MIB)), 507, "disk-full")
        assert anna.get("/readyz").json()["checks"][2]["ok"]
        anna.delete(first.json()["links"]["self"])
        assert submit(anna, CT + bytes(3 * MIB)).status_code == 202

    def test_an_announced_upload_takes_its_own_room(self, anna):
        assert upload(anna, CT + bytes(4 * MIB))

    @pytest.mark.parametrize("kind", ["job", "batch", "retry"])
    def test_copies_of_what_is_stored_need_room(self, anna, app, services, kind):
        stored = upload(anna, CT + bytes(3 * MIB))
        if kind == "retry":
            job = anna.post("/v1/jobs", json={"ct": stored}).json()["id"]
            services.tables.jobs.request_cancel(job)
        requests = {
            "job": ("/v1/jobs", {"ct": stored}),
            "batch": ("/v1/batches", {"cases": [{"name": "a", "ct": stored}]}),
            "retry": (f"/v1/jobs/{job}/retry" if kind == "retry" else "", None),
        }
        path, body = requests[kind]
        app.state.context.room.take(2 * MIB, by="another request")
        before = leftovers(services)
        assert_problem(anna.post(path, json=body), 507, "disk-full", "are reserved")
        assert leftovers(services) == before
        app.state.context.room.give_back("another request")
        assert anna.post(path, json=body).status_code == 202
        assert not app.state.context.room._held

    def test_a_stored_study_needs_room_for_its_copies(self, anna, app):
        assert store(anna, instances()).status_code == 200
        app.state.context.room.take(9 * MIB, by="another request", copies=1)
        answer = anna.post("/v1/jobs", json={"study": STUDY})
        assert_problem(answer, 507, "disk-full", "are reserved")
        assert_problem(store(anna, instances()), 507, "disk-full")
        app.state.context.room.give_back("another request")
        assert anna.post("/v1/jobs", json={"study": STUDY}).status_code == 202
        assert not app.state.context.room._held


class TestStudies:
    """What is stored by STOW-RS has an owner and a share as an upload has."""

    def test_a_study_is_its_owner_s(self, client, services):
        anna, bert = client("anna"), client("bert")
        assert store(anna, instances()).status_code == 200
        refused = bert.post("/v1/jobs", json={"study": STUDY})
        assert_problem(refused, 422, "bad-option", "nothing of the study")
        gone = bert.delete(f"/v1/dicom-web/studies/{STUDY}")
        assert_problem(gone, 404, "not-found")
        assert store(bert, instances()).status_code == 200
        assert bert.delete(f"/v1/dicom-web/studies/{STUDY}").status_code == 204
        made = anna.post("/v1/jobs", json={"study": STUDY})
        assert made.status_code == 202
        assert services.tables.jobs.owner(made.json()["id"]) == "anna"

    def test_a_job_of_it_counts(self, client):
        anna = client("anna")
        jobs = [submit(anna).json()["id"] for _ in range(2)]
        sent = store(anna, instances(), path="/v1/dicom-web/studies?submit=true")
        assert_problem(sent, 429, "too-many-jobs")
        anna.post(f"/v1/jobs/{jobs[0]}/cancel")
        assert anna.post("/v1/jobs", json={"study": STUDY}).status_code == 202
