"""Submitting a case: what is accepted, what is refused, what is left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hanseg_shared import available
from hanseg_shared.jobs.messages import TASK_REGISTER, QueueName
from hanseg_shared.jobs.stages import Stage
from tests.api.fakes import CT, MR, NO_IMAGE, TOO_LARGE
from tests.api.requests import (
    assert_problem,
    leftovers,
    new_job,
    submit,
    upload,
)


def test_a_case_is_accepted_with_its_location_and_when_to_ask_again(api):
    answer = submit(api)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert int(answer.headers["retry-after"]) > 0
    assert job["state"] == "queued"


def test_the_location_is_the_job(api):
    answer = submit(api)
    assert api.get(answer.headers["location"]).json() == answer.json()


@pytest.mark.parametrize("kind", ["job", "batch"])
def test_what_is_answered_is_as_it_was_made_however_quick_a_worker_is(
    api, services, publisher, monkeypatch, kind
):
    def claim_at_once(task: str, queue: QueueName, job_id: str) -> None:
        assert services.tables.claims.claim(job_id, Stage.REGISTER, lease_seconds=60.0)

    monkeypatch.setattr(publisher, "publish", claim_at_once)
    if kind == "job":
        answer = submit(api).json()
        assert (answer["state"], answer["started_at"]) == ("queued", None)
    else:
        cases = [{"name": "a", "ct": upload(api, CT)}]
        answer = api.post("/v1/batches", json={"cases": cases}).json()
        assert answer["counts"] == {"queued": 1}
    now = api.get(answer["links"]["self"]).json()
    assert "registering" in (now.get("state"), *now.get("counts", ()))


def test_ct_and_mr_are_looked_at_as_what_they_were_sent_as(api, checker):
    submit(api, CT, MR)
    assert checker.seen == [(CT, MR)]


def test_the_images_are_stored_under_the_job(api, services):
    job = submit(api, CT, MR).json()
    stored = [
        b"".join(services.store.read_range(job["id"], i["sha256"], 0, i["bytes"]))
        for i in job["inputs"]
    ]
    assert stored == [CT, MR]


def test_what_is_remarkable_about_an_image_stays_with_the_job(api, checker):
    checker.remarks = ("the CT has slices 5 mm apart",)
    assert submit(api).json()["remarks"] == ["the CT has slices 5 mm apart"]


def test_a_queued_job_has_sent_its_message(api, publisher):
    job_id = new_job(api)
    assert publisher.sent == [(TASK_REGISTER, job_id)]


def test_options_and_the_name_of_the_case_are_kept(api):
    job = submit(api, case="case_01", options={"registration": "affine"}).json()
    assert job["case"] == "case_01"
    assert job["options"]["registration"] == "affine"
    assert job["options"]["model"] == "default"


def test_uploaded_images_become_a_job(api, services, checker):
    ct, mr = upload(api, CT), upload(api, MR)
    body = {"ct": ct, "mr": mr, "case": "x", "options": {"registration": "none"}}
    answer = api.post("/v1/jobs", json=body)
    assert answer.status_code == 202
    assert checker.seen == [(CT, MR)]
    job = answer.json()
    assert all(services.store.exists(job["id"], i["sha256"]) for i in job["inputs"])
    assert job["case"] == "x"


def test_an_upload_serves_several_jobs(api):
    ct = upload(api, CT)
    first, second = (api.post("/v1/jobs", json={"ct": ct}).json() for _ in range(2))
    assert first["id"] != second["id"]


def test_the_names_of_the_client_touch_no_path(api, services, checker):
    name = "../../../../etc/cron.d/evil.nii.gz"
    assert api.post("/v1/jobs", files={"ct": (name, CT)}).status_code == 202
    (path,) = checker.paths
    assert path.is_relative_to(services.settings.scratch)
    assert path.name == "ct"


def test_scratch_is_empty_after_a_submission(api, services):
    submit(api, CT, MR)
    assert list(services.settings.scratch.iterdir()) == []


def test_request_may_be_a_part_with_a_file_name(api):
    request = ("request.json", json.dumps({"case": "c"}), "application/json")
    files = {"ct": ("ct", CT), "request": request}
    assert api.post("/v1/jobs", files=files).json()["case"] == "c"


def test_the_empty_part_of_a_field_left_out_in_a_browser_is_no_mr(api, checker):
    assert api.post("/v1/jobs", files={"ct": ("a", CT), "mr": (None, b"")})
    assert checker.seen == [(CT, None)]


def test_an_empty_mr_file_is_not_taken_for_none(api, services):
    answer = submit(api, CT, b"")
    assert_problem(answer, 422, "not-an-image", "mr: ")
    assert leftovers(services) == []


@pytest.mark.parametrize(
    ("content", "status", "slug"),
    [(NO_IMAGE, 422, "not-an-image"), (TOO_LARGE, 413, "image-too-large")],
)
def test_an_image_that_cannot_be_used_leaves_nothing(
    api, services, content: bytes, status: int, slug: str
):
    answer = submit(api, content)
    assert_problem(answer, status, slug, "ct: ")
    assert leftovers(services) == []


def test_a_refusal_names_no_folder_of_the_server(api, services):
    detail = submit(api, NO_IMAGE).json()["detail"]
    assert str(services.settings.data) not in detail


def test_an_unknown_model_is_refused_with_those_that_are_known(api, services):
    answer = submit(api, options={"model": "best"})
    assert_problem(answer, 422, "bad-option", "'best'", "default")
    assert leftovers(services) == []


def test_without_any_model_no_job_is_taken(api, models: Path):
    shutil.rmtree(models / "default")
    assert_problem(submit(api), 503, "unavailable", "no model is installed")


@pytest.mark.parametrize(
    ("request_json", "pointer"),
    [
        ({"options": {"registration": "magic"}}, "#/request/options/registration"),
        ({"options": {"speed": 11}}, "#/request/options/speed"),
        ({"kase": "x"}, "#/request/kase"),
        ({"case": ""}, "#/request/case"),
        ({"case": "a\nb"}, "#/request/case"),
        ({"case": "x" * 129}, "#/request/case"),
    ],
)
def test_options_that_do_not_exist_are_pointed_at(
    api, services, request_json, pointer: str
):
    answer = submit(api, **request_json)
    assert_problem(answer, 422, "invalid-request", pointer)
    assert [e["pointer"] for e in answer.json()["errors"]] == [pointer]
    assert leftovers(services) == []


def test_a_refusal_does_not_repeat_the_value_that_was_sent(api):
    answer = submit(api, case="Jane Doe\n")
    assert answer.status_code == 202  # stripped
    answer = submit(api, case="Jane\x00Doe")
    assert "Jane" not in answer.text


def test_broken_json_is_a_bad_request(api):
    form = {"files": {"ct": ("ct", CT)}, "data": {"request": "{"}}
    assert_problem(api.post("/v1/jobs", **form), 400, "bad-request", "#/request")
    json_type = {"Content-Type": "application/json"}
    answer = api.post("/v1/jobs", content="{", headers=json_type)
    assert_problem(answer, 400, "bad-request", "the body")


def test_a_case_without_ct_is_refused(api):
    answer = api.post("/v1/jobs", files={"mr": ("mr", MR)})
    assert_problem(answer, 422, "invalid-request", "'ct'")


@pytest.mark.parametrize("content_type", ["text/plain", "application/dicom", ""])
def test_another_media_type_is_not_supported(api, content_type: str):
    headers = {"Content-Type": content_type} if content_type else {}
    answer = api.post("/v1/jobs", content=CT, headers=headers)
    assert_problem(answer, 415, "unsupported-media-type", "multipart/form-data")


def test_an_upload_that_does_not_exist_is_refused(api):
    answer = api.post("/v1/jobs", json={"ct": "0" * 32})
    assert_problem(answer, 422, "bad-option", "there is no upload")


def test_an_upload_without_content_is_refused(api):
    announced = {"bytes": 3, "sha256": "0" * 64}
    ct = api.post("/v1/uploads", json=announced).json()["id"]
    answer = api.post("/v1/jobs", json={"ct": ct})
    assert_problem(answer, 409, "wrong-state", "not sent yet")


def test_a_broker_that_is_out_refuses_jobs_for_now(api, services, publisher):
    publisher.down = True
    answer = submit(api)
    assert_problem(answer, 503, "unavailable", "Redis")
    assert int(answer.headers["retry-after"]) > 0
    assert leftovers(services) == []


def test_a_broker_that_fails_after_the_row_is_there_loses_nothing(
    api, services, publisher, monkeypatch
):
    def fails(*_: object) -> None:
        publisher.down = True
        publisher.waiting("registration")

    monkeypatch.setattr(publisher, "publish", fails)
    job_id = new_job(api)
    assert [
        j.id for j in services.tables.outbox.list_waiting() if j.published_at is None
    ] == [job_id]


def test_too_many_unfinished_jobs_refuse_more(api, services):
    for _ in range(services.settings.max_unfinished_jobs):
        new_job(api)
    answer = submit(api)
    assert_problem(answer, 503, "unavailable", "5 jobs are unfinished")
    assert "retry-after" in answer.headers


def test_a_store_that_fails_leaves_nothing(api, services, monkeypatch):
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(services.tables.jobs), "create", fails)
    answer = submit(api)
    assert answer.status_code == 500
    assert leftovers(services) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"registration": "deformable", "backend": "ants"}, "use elastix"),
        ({"backend": "ants"}, "antspyx is not installed; install it"),
    ],
)
def test_what_cannot_be_done_is_refused_before_it_is_a_job(
    api, services, monkeypatch, options: dict[str, str], message: str
):
    monkeypatch.setattr(available, "find_spec", lambda _: None)
    request = {"request": json.dumps({"options": options})}
    answer = api.post("/v1/jobs", files={"ct": CT, "mr": MR}, data=request)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:hanseg:problem:bad-option"
    assert message in answer.json()["detail"]
    assert services.store.owners() == []


def test_a_deformable_registration_is_a_job(api):
    request = {"request": json.dumps({"options": {"registration": "deformable"}})}
    answer = api.post("/v1/jobs", files={"ct": CT, "mr": MR}, data=request)
    assert answer.status_code == 202
