"""What people say of a job's results: verdicts, versions, signatures."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from hanseg_shared.documents import JobState
from tests.api.fakes import CT, MR, USED, FakeWorker
from tests.api.requests import assert_problem, new_job

ORGANS = {"Brainstem": 25.0, "SpinalCord": 20.0}


@pytest.fixture
def job_id(api: TestClient, worker: FakeWorker) -> str:
    """A job with two organs, contoured with the MR's help."""
    made = new_job(api, mr=MR, case="case 7")
    worker.succeed(made, contoured=ORGANS, registration=USED)
    return made


@pytest.fixture
def review(job_id: str) -> str:
    return f"/v1/jobs/{job_id}/review"


def accept_all(api: TestClient, review: str) -> Any:
    said = [{"organ": name, "verdict": "accepted"} for name in ORGANS]
    return api.post(f"{review}/organs", json={"organs": said})


def sign(api: TestClient, review: str, version: int, name: str | None = "Dr. A") -> Any:
    body = {"version": version} | ({"name": name} if name else {})
    return api.post(f"{review}/signature", json=body)


def state_of(api: TestClient, job_id: str) -> str:
    return str(api.get(f"/v1/jobs/{job_id}").json()["review"])


class TestVerdicts:
    def test_of_a_new_result_nothing_is_said(self, api, review):
        answer = api.get(review)
        assert answer.headers["etag"] == '"0"'
        assert answer.json()["state"] == "open"
        assert answer.json()["unjudged"] == list(ORGANS)

    def test_an_organ_is_accepted_or_rejected_with_a_reason(self, api, review):
        api.put(f"{review}/organs/Brainstem", json={"verdict": "accepted"})
        said = {"verdict": "rejected", "reason": "one slice too high"}
        document = api.put(f"{review}/organs/SpinalCord", json=said).json()
        verdicts = {o["organ"]: (o["verdict"], o["reason"]) for o in document["organs"]}
        assert verdicts == {
            "Brainstem": ("accepted", ""),
            "SpinalCord": ("rejected", "one slice too high"),
        }
        assert document["unjudged"] == []
        assert document["change"]["by"] == "local"

    def test_several_are_judged_in_one_version(self, api, review):
        document = accept_all(api, review).json()
        assert document["version"] == 1
        assert document["change"]["organs"] == list(ORGANS)

    def test_what_was_said_can_be_taken_back(self, api, review):
        accept_all(api, review)
        taken = api.put(f"{review}/organs/Brainstem", json={"verdict": None})
        assert taken.json()["unjudged"] == ["Brainstem"]

    def test_an_organ_without_a_contour_is_not_judged(self, api, review):
        answer = api.put(f"{review}/organs/Lips", json={"verdict": "accepted"})
        assert_problem(answer, 409, "wrong-state", "Lips has no contour")

    @pytest.mark.parametrize("name", ["Liver", "brainstem", "%2e%2e"])
    def test_what_is_no_organ_is_not_there(self, api, review, name):
        answer = api.put(f"{review}/organs/{name}", json={"verdict": "accepted"})
        assert answer.status_code == 404

    def test_a_job_without_results_has_no_review(self, api):
        answer = api.get(f"/v1/jobs/{new_job(api)}/review")
        assert_problem(answer, 409, "not-finished")


class TestVersions:
    def test_every_version_stays_as_it_was(self, api, review):
        accept_all(api, review)
        api.put(f"{review}/organs/Brainstem", json={"verdict": "rejected"})
        first = api.get(f"{review}/versions/1").json()
        assert first["organs"][0]["verdict"] == "accepted"
        assert api.get(f"{review}/versions/0").json()["organs"] == []
        listed = api.get(f"{review}/versions").json()["versions"]
        assert [each["version"] for each in listed] == [2, 1]
        assert api.get(f"{review}/versions/3").status_code == 404

    def test_two_reviewers_do_not_overwrite_each_other(self, api, review):
        seen = {"If-Match": api.get(review).headers["etag"]}
        url = f"{review}/organs/Brainstem"
        assert api.put(url, json={"verdict": "accepted"}, headers=seen).is_success
        late = api.put(url, json={"verdict": "rejected"}, headers=seen)
        assert_problem(late, 412, "precondition-failed", "version 1 now")

    def test_what_is_known_is_not_sent_again(self, api, review):
        known = {"If-None-Match": api.get(review).headers["etag"]}
        assert api.get(review, headers=known).status_code == 304
        accept_all(api, review)
        assert api.get(review, headers=known).status_code == 200

    def test_a_change_changes_the_job(self, api, job_id, review):
        before = api.get(f"/v1/jobs/{job_id}").headers["etag"]
        accept_all(api, review)
        assert api.get(f"/v1/jobs/{job_id}").headers["etag"] != before


class TestListing:
    def test_jobs_are_found_by_their_review(self, api, job_id, review):
        unfinished = new_job(api)
        assert state_of(api, job_id) == "open"
        assert api.get(f"/v1/jobs/{unfinished}").json()["review"] is None

        def listed(state: str) -> list[str]:
            return [j["id"] for j in api.get(f"/v1/jobs?review={state}").json()["jobs"]]

        assert listed("open") == [job_id]
        accept_all(api, review)
        assert listed("open") == []
        assert listed("in_progress") == [job_id]
        sign(api, review, 1)
        assert listed("signed") == [job_id]


class TestSignature:
    def test_it_closes_the_review(self, api, job_id, review):
        accept_all(api, review)
        document = sign(api, review, 1).json()
        assert document["state"] == "signed"
        assert document["signature"]["name"] == "Dr. A"
        assert state_of(api, job_id) == "signed"
        late = api.put(f"{review}/organs/Brainstem", json={"verdict": "rejected"})
        assert_problem(late, 409, "signed", "reopen")

    def test_every_contour_must_be_judged_first(self, api, review):
        api.put(f"{review}/organs/Brainstem", json={"verdict": "accepted"})
        answer = sign(api, review, 1)
        assert_problem(answer, 409, "not-judged", "SpinalCord")
        assert answer.json()["organs"] == ["SpinalCord"]

    def test_only_what_was_seen_is_signed(self, api, review):
        accept_all(api, review)
        assert_problem(sign(api, review, 0), 412, "precondition-failed")

    def test_without_a_key_a_name_is_asked_for(self, api, review):
        accept_all(api, review)
        answer = sign(api, review, 1, name=None)
        assert_problem(answer, 422, "invalid-request", "who signs")

    def test_a_reopened_review_keeps_the_version_that_was_signed(self, api, review):
        accept_all(api, review)
        sign(api, review, 1)
        again = api.post(f"{review}/reopen").json()
        assert (again["state"], again["signature"]) == ("in_progress", None)
        assert api.get(f"{review}/versions/2").json()["signature"]["name"] == "Dr. A"
        assert sign(api, review, 3, "Dr. B").json()["version"] == 4

    def test_it_is_in_the_audit_log(self, api, job_id, review, services):
        accept_all(api, review)
        sign(api, review, 1)
        told = [entry.line for entry in services.tables.audit.list_entries()]
        assert any('"sign_review"' in line and job_id in line for line in told)
        assert not any("Dr. A" in line for line in told if '"judge_organ' in line)


class TestRegistration:
    def test_a_rejected_one_queues_the_ct_alone(self, api, job_id, review, services):
        answer = api.put(f"{review}/registration", json={"verdict": "rejected"})
        made = answer.json()["registration"]["ct_only_job"]
        job = services.tables.jobs.get(made)
        assert job.follows == job_id
        assert job.case_name == "case 7"
        assert [image.role for image in job.inputs] == ["ct"]
        assert api.get(f"/v1/jobs/{made}").json()["follows"] == job_id
        assert services.tables.jobs.get(job_id).state is JobState.SUCCEEDED

    def test_it_is_queued_once(self, api, review):
        url = f"{review}/registration"
        first = api.put(url, json={"verdict": "rejected"}).json()
        api.put(url, json={"verdict": "accepted"})
        second = api.put(url, json={"verdict": "rejected"}).json()
        assert first["registration"]["ct_only_job"]
        assert (
            second["registration"]["ct_only_job"]
            == first["registration"]["ct_only_job"]
        )

    def test_contours_made_with_it_are_not_signed(self, api, review):
        accept_all(api, review)
        api.put(f"{review}/registration", json={"verdict": "rejected"})
        assert_problem(sign(api, review, 2), 409, "wrong-state", "instead")

    def test_without_images_it_is_rejected_all_the_same(
        self, api, job_id, review, services
    ):
        services.tables.jobs.note_inputs_gone(job_id)
        said = {"verdict": "rejected", "reason": "3 mm off"}
        told = api.put(f"{review}/registration", json=said).json()["registration"]
        assert told["ct_only_job"] is None
        assert "are gone" in told["remark"]

    def test_without_an_mr_there_is_nothing_to_judge(self, api, worker):
        job_id = new_job(api, ct=CT)
        worker.succeed(job_id)
        url = f"/v1/jobs/{job_id}/review/registration"
        answer = api.put(url, json={"verdict": "rejected"})
        assert_problem(answer, 409, "wrong-state", "without an MR")


def test_what_people_wrote_goes_with_the_results(api, job_id, review, services):
    said = {"verdict": "rejected", "reason": "as Mrs. Mustermann said"}
    api.put(f"{review}/organs/Brainstem", json=said)
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert services.tables.reviews.list_changes(job_id) == []
    assert api.get(review).status_code == 410
    database = services.settings.data / "jobs.sqlite"
    assert b"Mustermann" not in database.read_bytes()


def test_what_people_wrote_stands_in_no_log_no_metric_and_no_audit(
    api, job_id, review, services, caplog
):
    said = {"verdict": "rejected", "reason": "Planted^Name moved"}
    with caplog.at_level("DEBUG"):
        api.put(f"{review}/organs/Brainstem", json=said)
        api.put(f"{review}/organs/SpinalCord", json={"verdict": "accepted"})
        judged = {"verdict": "accepted", "reason": "Planted^Name held still"}
        api.put(f"{review}/registration", json=judged)
        assert sign(api, review, 3, "Planted^Name").is_success
    statistics = api.get("/v1/statistics").text + api.get("/v1/statistics/csv").text
    audit = "".join(entry.line for entry in services.tables.audit.list_entries())
    for told in (caplog.text, api.get("/metrics").text, statistics, audit):
        assert told
        assert "Planted" not in told
