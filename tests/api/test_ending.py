"""Cancelling a job, and deleting what it holds."""

from __future__ import annotations

from tests.api.fakes import CT, MR
from tests.api.requests import assert_problem, new_job, submit


def test_a_queued_job_is_cancelled_at_once(api):
    job_id = new_job(api)
    answer = api.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 202
    assert answer.json()["state"] == "cancelled"
    assert answer.headers["location"] == f"/v1/jobs/{job_id}"


def test_a_job_being_worked_on_is_cancelled_by_its_worker(api, worker, services):
    job = worker.begin(new_job(api))
    answer = api.post(f"/v1/jobs/{job.id}/cancel")
    assert answer.status_code == 202
    assert answer.json()["state"] == "registering"
    assert "retry-after" in answer.headers
    going_on = services.tables.claims.renew(job.id, job.token, lease_seconds=9)
    assert going_on is False


def test_a_final_job_cannot_be_cancelled(api, worker):
    job_id = new_job(api)
    worker.succeed(job_id)
    answer = api.post(f"/v1/jobs/{job_id}/cancel")
    assert_problem(answer, 409, "wrong-state", "succeeded")


def test_a_job_that_does_not_exist_cannot_be_cancelled(api):
    assert_problem(api.post(f"/v1/jobs/{'0' * 32}/cancel"), 404, "not-found")


def test_deleting_removes_every_file_and_leaves_a_tombstone(api, worker, services):
    job_id = submit(api, CT, MR, case="case_01").json()["id"]
    worker.succeed(job_id, {"segmentation.nii.gz": b"labels"})
    answer = api.delete(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert services.store.owners() == []
    tombstone = api.get(f"/v1/jobs/{job_id}").json()
    assert tombstone["state"] == "expired"
    assert tombstone["case"] is None
    assert tombstone["organs"] == []
    assert tombstone["error"]["detail"] == "the job's files were deleted on request"


def test_deleting_takes_a_job_from_its_worker(api, worker, services):
    job = worker.begin(new_job(api))
    assert api.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert services.tables.claims.renew(job.id, job.token, lease_seconds=9) is None


def test_deleting_twice_is_as_good_as_once(api):
    job_id = new_job(api)
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204


def test_deleting_again_removes_what_a_late_worker_wrote(api, worker, services):
    job_id = new_job(api)
    api.delete(f"/v1/jobs/{job_id}")
    worker.publish(job_id, "late.nii.gz", b"late")
    api.delete(f"/v1/jobs/{job_id}")
    assert services.store.owners() == []


def test_a_job_that_does_not_exist_cannot_be_deleted(api):
    assert_problem(api.delete(f"/v1/jobs/{'0' * 32}"), 404, "not-found")
