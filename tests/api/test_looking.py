"""Looking at a job: as it stands, unchanged, or once it is final."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa
from anyio._backends._asyncio import AsyncIOBackend

from hanseg_shared.access import Scope
from hanseg_shared.documents import Problem
from hanseg_shared.jobs.stages import Stage
from tests.api.requests import assert_problem, new_job


def test_a_new_job_is_queued_and_says_what_can_be_asked_of_it(api):
    job_id = new_job(api)
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert job["state"] == "queued"
    assert job["links"] == {
        "self": f"/v1/jobs/{job_id}",
        "events": f"/v1/jobs/{job_id}/events",
        "cancel": f"/v1/jobs/{job_id}/cancel",
    }


def test_an_unfinished_job_says_when_to_ask_again(api, worker):
    job_id = new_job(api)
    assert "retry-after" in api.get(f"/v1/jobs/{job_id}").headers
    worker.succeed(job_id)
    assert "retry-after" not in api.get(f"/v1/jobs/{job_id}").headers


def test_a_finished_job_lists_all_organs_and_links_its_results(api, worker):
    job_id = new_job(api)
    worker.succeed(job_id)
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert job["state"] == "succeeded"
    assert [organ["label"] for organ in job["organs"]] == list(range(1, 31))
    assert job["mr_verdict"] == "absent"
    assert job["links"]["results"] == f"/v1/jobs/{job_id}/results"
    assert "cancel" not in job["links"]
    assert [stage["name"] for stage in job["stages"]] == [
        "registering",
        "segmenting",
        "packaging",
    ]


def test_a_failed_job_is_still_a_resource_with_its_error(api, worker, services):
    job = worker.begin(new_job(api))
    problem = Problem(type="urn:x", title="Failed", detail="no overlap")
    services.tables.claims.fail(job, problem)
    answer = api.get(f"/v1/jobs/{job.id}")
    assert answer.status_code == 200
    assert answer.json()["error"]["detail"] == "no overlap"


@pytest.mark.parametrize("job_id", ["0" * 32, "x", "..%2f..", "0" * 31, "%00"])
def test_a_job_that_does_not_exist_is_not_found(api, job_id: str):
    assert_problem(api.get(f"/v1/jobs/{job_id}"), 404, "not-found")


def test_the_etag_changes_with_the_job(api, worker):
    job_id = new_job(api)
    first = api.get(f"/v1/jobs/{job_id}").headers["etag"]
    assert api.get(f"/v1/jobs/{job_id}").headers["etag"] == first
    worker.begin(job_id)
    assert api.get(f"/v1/jobs/{job_id}").headers["etag"] != first


def test_an_unchanged_job_is_not_sent_again(api, worker):
    job_id = new_job(api)
    etag = api.get(f"/v1/jobs/{job_id}").headers["etag"]
    headers = {"If-None-Match": f'"other", W/{etag}'}
    answer = api.get(f"/v1/jobs/{job_id}", headers=headers)
    assert answer.status_code == 304
    assert answer.content == b""
    assert answer.headers["etag"] == etag
    worker.begin(job_id)
    assert api.get(f"/v1/jobs/{job_id}", headers=headers).status_code == 200


def test_a_wait_ends_with_the_final_state(api, worker):
    job_id = new_job(api)
    finishing = threading.Timer(0.1, worker.succeed, [job_id])
    finishing.start()
    started = time.monotonic()
    answer = api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=2"})
    finishing.join()
    assert answer.json()["state"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=2"
    assert time.monotonic() - started < 2


def test_a_wait_ends_with_its_time(api):
    job_id = new_job(api)
    answer = api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=0"})
    assert answer.json()["state"] == "queued"
    assert answer.headers["preference-applied"] == "wait=0"


def test_a_wait_is_capped(api, worker):
    job_id = new_job(api)
    worker.succeed(job_id)
    answer = api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=9999"})
    assert answer.headers["preference-applied"] == "wait=2"


def test_other_preferences_are_ignored(api):
    answer = api.get(f"/v1/jobs/{new_job(api)}", headers={"Prefer": "respond-async"})
    assert "preference-applied" not in answer.headers


def test_whoever_waits_is_answered_when_the_server_stops(api, app):
    app.state.context.stopping.set()
    headers = {"Prefer": "wait=2"}
    started = time.monotonic()
    assert api.get(f"/v1/jobs/{new_job(api)}", headers=headers).status_code == 200
    assert time.monotonic() - started < 1


def test_the_stage_and_its_progress_are_shown(api, worker):
    job_id = new_job(api)
    worker.begin(job_id, Stage.REGISTER)
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert job["state"] == "registering"
    assert job["progress"] == {"stage": "registering", "done": 0.0}


@pytest.fixture
def to_threads(monkeypatch) -> list[str]:
    """What requests have done in another thread, by name: each way there costs."""
    done: list[str] = []
    run = AsyncIOBackend.run_sync_in_worker_thread

    async def run_and_note(function, *arguments, **options):
        done.append(getattr(function, "func", function).__name__)
        return await run(function, *arguments, **options)

    monkeypatch.setattr(AsyncIOBackend, "run_sync_in_worker_thread", run_and_note)
    return done


@pytest.fixture
def statements(services) -> list[str]:
    """The queries that the database was asked."""
    asked: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        asked.append(statement.split()[0])

    sa.event.listen(services.tables.database.engine, "before_cursor_execute", note)
    return asked


def test_a_look_is_one_query_in_one_other_thread(api, to_threads, statements):
    job_id = new_job(api)
    del to_threads[:], statements[:]
    assert api.get(f"/v1/jobs/{job_id}").status_code == 200
    assert to_threads == ["_seen_job"]
    assert [each for each in statements if each != "BEGIN"] == ["SELECT"]


def test_a_look_with_a_key_reads_the_key_first(api, services, to_threads):
    key = services.tables.api_keys.create("clinic", frozenset({Scope.READ_ALL}))
    job_id, bearer = new_job(api), {"Authorization": f"Bearer {key.text}"}
    api.get(f"/v1/jobs/{job_id}", headers=bearer)
    del to_threads[:]
    assert api.get(f"/v1/jobs/{job_id}", headers=bearer).status_code == 200
    assert to_threads == ["_find_record", "_seen_job"]
