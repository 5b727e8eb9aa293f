"""Fetching what the viewer shows: the CT and the MR, as long as images are kept."""

from __future__ import annotations

import pytest

from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.result_files import VIEW_CT, VIEW_MR
from tests.api.fakes import USED
from tests.api.requests import assert_problem, new_job

CT = b"the CT in HU" * 9
MR = b"the MR in steps" * 9
REJECTED = RegistrationReport(verdict=MrVerdict.REJECTED, reason="MR rejected: no")


@pytest.fixture
def job(api, worker) -> str:
    job_id = new_job(api)
    worker.succeed(job_id, shown={VIEW_CT: CT, VIEW_MR: MR}, registration=REJECTED)
    return job_id


@pytest.mark.parametrize(("name", "content"), [("ct", CT), ("mr", MR)])
def test_an_image_is_sent_and_kept_by_nobody_on_the_way(api, job, name, content):
    answer = api.get(f"/v1/jobs/{job}/view/{name}.nii.gz")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/gzip"
    assert answer.headers["cache-control"] == "private, no-store"
    known = {"If-None-Match": answer.headers["etag"]}
    assert (
        api.get(f"/v1/jobs/{job}/view/{name}.nii.gz", headers=known).status_code == 304
    )


def test_images_to_look_at_are_no_results(api, job):
    assert api.get(f"/v1/jobs/{job}/results").json()["files"] == []


def test_they_go_with_the_images_that_were_sent(api, services, job):
    services.tables.jobs.note_inputs_gone(job)
    answer = api.get(f"/v1/jobs/{job}/view/ct.nii.gz")
    assert_problem(answer, 410, "expired", "its contours are still there")


def test_a_job_without_an_mr_says_so(api, worker):
    job_id = new_job(api)
    worker.succeed(job_id, shown={VIEW_CT: CT})
    answer = api.get(f"/v1/jobs/{job_id}/view/mr.nii.gz")
    assert_problem(answer, 404, "not-found", "has no MR")


@pytest.mark.parametrize("name", ["ct.nii.gz", "mr.nii.gz"])
def test_a_job_from_before_there_was_a_viewer_says_so(api, worker, name):
    job_id = new_job(api)
    worker.succeed(job_id, registration=USED)
    answer = api.get(f"/v1/jobs/{job_id}/view/{name}")
    assert_problem(answer, 404, "not-found", "send the case again")


def test_before_the_end_there_is_nothing_to_look_at(api):
    job_id = new_job(api)
    answer = api.get(f"/v1/jobs/{job_id}/view/ct.nii.gz")
    assert_problem(answer, 409, "not-finished")


@pytest.mark.parametrize("name", ["labels.nii.gz", "ct", "..%2Fjob.json"])
def test_there_is_no_third_image(api, job, name):
    assert api.get(f"/v1/jobs/{job}/view/{name}").status_code in {404, 422}
