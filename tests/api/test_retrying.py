"""A failed or cancelled job is tried again from the images that were kept."""

from __future__ import annotations

import pytest

from hanseg_shared.problems import DEADLINE
from tests.api.fakes import CT, MR
from tests.api.requests import assert_problem, new_job, submit, upload


@pytest.fixture
def failed(api, worker, services) -> str:
    answer = submit(
        api, CT, MR, case="case_7", options={"registration": "affine"}, key="first"
    )
    job = worker.begin(answer.json()["id"])
    assert services.tables.claims.fail(job, DEADLINE.problem("it took too long"))
    return job.id


def retry(api, job_id: str):
    return api.post(f"/v1/jobs/{job_id}/retry")


def test_a_failed_job_is_queued_again_as_a_new_one(api, failed: str, publisher):
    answer = retry(api, failed)
    assert answer.status_code == 202, answer.text
    made, before = answer.json(), api.get(f"/v1/jobs/{failed}").json()
    assert made["id"] != failed
    assert made["state"] == "queued"
    for same in ("case", "options", "inputs"):
        assert made[same] == before[same]
    assert answer.headers["location"] == f"/v1/jobs/{made['id']}"
    assert before["links"]["retry"] == f"/v1/jobs/{failed}/retry"
    assert "retry" not in made["links"]


def test_the_new_job_has_images_of_its_own(api, failed: str, worker, services):
    made = retry(api, failed).json()
    assert api.delete(f"/v1/jobs/{failed}").status_code == 204
    for image in made["inputs"]:
        assert services.store.exists(made["id"], image["sha256"])
    worker.succeed(made["id"])


def test_asking_again_makes_no_second_job(api, failed: str):
    made = retry(api, failed).json()["id"]
    assert retry(api, failed).json()["id"] == made
    assert len(api.get("/v1/jobs").json()["jobs"]) == 2


def test_a_cancelled_job_of_an_upload_is_tried_again(api):
    body = {"ct": upload(api, CT), "case": "case_8"}
    job_id = api.post("/v1/jobs", json=body).json()["id"]
    api.post(f"/v1/jobs/{job_id}/cancel")
    assert retry(api, job_id).json()["case"] == "case_8"


def test_the_new_job_can_be_tried_again_too(api, failed: str):
    second = retry(api, failed).json()["id"]
    api.post(f"/v1/jobs/{second}/cancel")
    third = retry(api, second).json()["id"]
    assert len({failed, second, third}) == 3


def test_a_job_that_has_not_failed_is_not_tried_again(api, worker):
    job_id = new_job(api)
    assert_problem(retry(api, job_id), 409, "wrong-state", "queued")
    worker.succeed(job_id)
    assert_problem(retry(api, job_id), 409, "wrong-state", "succeeded")


def test_images_that_were_deleted_cannot_be_tried_again(api, failed: str, services):
    services.store.purge(failed)
    assert_problem(retry(api, failed), 410, "expired", failed, "send the case again")


def test_a_deleted_job_cannot_be_tried_again(api, failed: str):
    api.delete(f"/v1/jobs/{failed}")
    assert_problem(retry(api, failed), 410, "expired", "deleted on request")


def test_there_is_nothing_to_try_again(api):
    assert_problem(retry(api, "0" * 32), 404, "not-found")


def test_a_retry_that_is_refused_leaves_nothing(api, failed: str, services):
    owners = services.store.owners()
    for _ in range(5):
        new_job(api)  # as many as may be unfinished
    answer = retry(api, failed)
    assert_problem(answer, 503, "unavailable")
    assert len(services.store.owners()) == len(owners) + 5
