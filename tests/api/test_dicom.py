"""Cases that come as DICOM: what is made of them, what is kept, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from hanseg_segmentation.api.intake.preparing import take_turn
from hanseg_shared.dicom.template import TEMPLATE_FILE, Template
from hanseg_shared.documents import ResultFile
from hanseg_shared.io.dicom.source import IDENTITY_FILE, SOURCE_FILE, DicomIdentity
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.problems import INTERNAL
from tests.api.fakes import CT, IDENTITY, MR, SOURCE
from tests.api.requests import assert_problem, leftovers, new_job, submit, upload

CT_ZIP = b"PK\x03\x04 CT series 1"
PAIR_ZIP = b"PK\x03\x04 CT+MR series"
MR_ZIP = b"PK\x03\x04 MR series 2"
REG = bytes(128) + b"DICM registration"
BOMB = b"PK\x03\x04 bomb"
TEMPLATE = {
    "name": "clinic",
    "structures": [{"name": "Eye_L", "organs": ["Eye_AL", "Eye_PL"]}],
}


def attachments(services, job_id: str) -> dict[str, ResultFile]:
    return {each.name: each for each in services.tables.jobs.get(job_id).intermediate}


def read(services, job_id: str, file: ResultFile) -> bytes:
    return b"".join(services.store.read_range(job_id, file.sha256, 0, file.bytes))


def send(api, ct: bytes, mr: bytes | None = None, reg: bytes | None = None, **asked):
    parts = {"ct": ct, "mr": mr, "reg": reg}
    files = {name: (name, part) for name, part in parts.items() if part is not None}
    return api.post("/v1/jobs", files=files, data={"request": json.dumps(asked)})


def test_a_zip_of_dicom_becomes_a_job_of_the_volume(api, services, checker):
    job = submit(api, CT_ZIP).json()
    assert checker.seen == [(CT + CT_ZIP[-8:], None)]
    (image,) = job["inputs"]
    assert (image["role"], image["format"]) == ("ct", "dicom")
    assert image["sent_sha256"] == hashlib.sha256(CT_ZIP).hexdigest()
    stored = services.tables.jobs.get(job["id"]).inputs[0]
    assert services.store.exists(job["id"], stored.sha256)


def test_what_was_sent_is_not_kept(api, services):
    job_id = new_job(api, ct=CT_ZIP)
    assert not services.store.exists(job_id, hashlib.sha256(CT_ZIP).hexdigest())
    assert not list(services.settings.scratch.glob("request-*"))


def test_source_identity_and_template_are_attached(api, services):
    job_id = new_job(api, ct=CT_ZIP)
    found = attachments(services, job_id)
    assert set(found) == {SOURCE_FILE, IDENTITY_FILE, TEMPLATE_FILE}
    kept = read(services, job_id, found[IDENTITY_FILE])
    assert DicomIdentity.model_validate_json(kept) == IDENTITY
    template = Template.model_validate_json(
        read(services, job_id, found[TEMPLATE_FILE])
    )
    assert template.name == "default"


def test_attachments_are_for_the_services_user_only(api, services):
    job_id = new_job(api, ct=CT_ZIP)
    folder = Path(services.settings.data / "payloads" / job_id)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_attachments_are_no_results(api, services, worker):
    job_id = new_job(api, ct=CT_ZIP)
    worker.succeed(job_id, {"segmentation.nii.gz": b"masks"})
    listed = api.get(f"/v1/jobs/{job_id}/results").json()["files"]
    assert [file["name"] for file in listed] == ["segmentation.nii.gz"]
    for name in (SOURCE_FILE, IDENTITY_FILE, TEMPLATE_FILE):
        assert api.get(f"/v1/jobs/{job_id}/results/{name}").status_code == 404


def test_attachments_go_with_the_job(api, services):
    job_id = new_job(api, ct=CT_ZIP)
    api.delete(f"/v1/jobs/{job_id}")
    assert job_id not in services.store.owners()
    row = services.tables.jobs.get(job_id)
    assert row.intermediate == ()
    assert row.remarks == ()


def test_remarks_of_the_conversion_are_the_jobs(api, converter):
    assert submit(api, CT_ZIP).json()["remarks"] == list(converter.remarks)


def test_one_archive_may_hold_both(api):
    job = submit(api, PAIR_ZIP).json()
    sent = {each["role"]: each["sent_sha256"] for each in job["inputs"]}
    whole = hashlib.sha256(PAIR_ZIP).hexdigest()
    assert sent == {"ct": whole, "mr": whole}


def test_two_archives_and_a_registration_are_converted_together(api, converter):
    asked = {"ct_series": "1.2.3.4", "mr_series": "1.2.3.9"}
    job = send(api, CT_ZIP, MR_ZIP, REG, **asked).json()
    (files,) = converter.seen
    assert [files.ct.name, files.mr.name, files.reg.name] == ["ct", "mr", "reg"]
    assert (files.choice.ct, files.choice.mr) == ("1.2.3.4", "1.2.3.9")
    assert [each["format"] for each in job["inputs"]] == ["dicom", "dicom"]


def test_an_mr_may_be_an_image_file(api, checker):
    job = submit(api, CT_ZIP, MR).json()
    assert checker.seen == [(CT + CT_ZIP[-8:], MR)]
    assert [each["format"] for each in job["inputs"]] == ["dicom", "nifti"]


@pytest.mark.parametrize(
    ("parts", "asked"),
    [
        ({}, {"options": {"outputs": ["rtstruct"]}}),
        ({}, {"options": {"template": "clinic"}}),
        ({}, {"template_document": TEMPLATE}),
        ({}, {"ct_series": "1.2.3"}),
        ({"mr": MR, "reg": REG}, {}),
    ],
)
def test_what_needs_a_ct_in_dicom_is_refused_without(api, parts, asked):
    answer = send(api, CT, **parts, **asked)
    assert_problem(answer, 422, "bad-option", "needs a planning CT that was sent as")


def test_no_outputs_are_fine_with_an_image_file(api):
    assert send(api, CT, options={"outputs": []}).status_code == 202


def test_an_mr_in_dicom_with_a_ct_that_is_none_is_refused(api):
    answer = submit(api, CT, MR_ZIP)
    assert_problem(answer, 422, "bad-image-content", "send both as DICOM")


def test_an_archive_that_cannot_be_used_leaves_nothing(api, services):
    answer = submit(api, BOMB)
    assert_problem(answer, 422, "unsafe-image", "ct: it unpacks to 4 GB")
    assert leftovers(services) == []


def test_a_key_is_of_the_bytes_that_were_sent(api, converter):
    first = submit(api, CT_ZIP, key="once").json()
    assert submit(api, CT_ZIP, key="once").json()["id"] == first["id"]
    assert len(converter.seen) == 1
    other = submit(api, CT_ZIP + b"!", key="once")
    assert_problem(other, 422, "idempotency-key-reused")


def test_uploads_may_be_dicom(api, converter):
    body = {"ct": upload(api, CT_ZIP), "mr": upload(api, MR_ZIP)}
    body["reg"] = upload(api, REG)
    job = api.post("/v1/jobs", json=body).json()
    assert [each["format"] for each in job["inputs"]] == ["dicom", "dicom"]
    assert converter.seen[0].reg is not None


def test_a_batch_takes_dicom(api, services):
    cases = [{"name": name, "ct": upload(api, CT_ZIP + name.encode())} for name in "ab"]
    batch = api.post("/v1/batches", json={"cases": cases}).json()
    jobs = api.get(batch["links"]["jobs"]).json()["jobs"]
    assert {job["inputs"][0]["format"] for job in jobs} == {"dicom"}
    for job in jobs:
        assert SOURCE_FILE in attachments(services, job["id"])


def test_a_folder_on_the_server_may_hold_folders_of_dicom(
    app, api, tmp_path, converter
):
    for name in ("anna", "bert"):
        (tmp_path / "batches" / name).mkdir(parents=True)
        (tmp_path / "batches" / name / "1.dcm").write_bytes(REG + name.encode())
    context = app.state.context
    allowed = {"batch_root": tmp_path / "batches"}
    settings = context.services.settings.model_copy(update=allowed)
    services = dataclasses.replace(context.services, settings=settings)
    app.state.context = dataclasses.replace(context, services=services)
    answer = api.post("/v1/batches", json={"folder": "."})
    assert answer.status_code == 202, answer.text
    jobs = api.get(answer.json()["links"]["jobs"]).json()["jobs"]
    assert {job["case"] for job in jobs} == {"anna", "bert"}
    assert [files.ct.is_dir() for files in converter.seen] == [True, True]


def test_a_retry_has_the_same_attachments(api, services, converter):
    job_id = new_job(api, ct=PAIR_ZIP, options={"outputs": ["seg"]})
    job = services.tables.claims.claim(job_id, Stage.REGISTER, lease_seconds=60)
    services.tables.claims.fail(job, INTERNAL.problem("lost"))
    again = api.post(f"/v1/jobs/{job_id}/retry").json()
    assert attachments(services, again["id"]) == attachments(services, job_id)
    before = api.get(f"/v1/jobs/{job_id}").json()
    for member in ("inputs", "remarks", "options"):
        assert again[member] == before[member]
    assert len(converter.seen) == 1


def test_a_job_keeps_the_template_it_was_sent_with(api, services):
    api.put("/v1/templates/clinic", json=TEMPLATE)
    job_id = new_job(api, ct=CT_ZIP, options={"template": "clinic"})
    changed = {**TEMPLATE, "label": "Another"}
    assert api.put("/v1/templates/clinic", json=changed).json()["version"] == 2
    kept = read(services, job_id, attachments(services, job_id)[TEMPLATE_FILE])
    assert Template.model_validate_json(kept).version == 1


def test_a_template_may_come_along(api, services):
    job_id = new_job(api, ct=CT_ZIP, template_document=TEMPLATE)
    kept = read(services, job_id, attachments(services, job_id)[TEMPLATE_FILE])
    assert Template.model_validate_json(kept).name == "clinic"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"options": {"template": "nowhere"}}, "no template nowhere"),
        ({"options": {"template": "default@7"}}, "no template default@7"),
        (
            {"template_document": TEMPLATE, "options": {"template": "other"}},
            "send one of both",
        ),
        (
            {"template_document": {**TEMPLATE, "structures": [_NO_ORGAN]}}
            if (_NO_ORGAN := {"name": "Spleen", "organs": ["Spleen"]})
            else {},
            "which is no organ",
        ),
    ],
)
def test_a_template_that_is_none_is_refused(api, asked: dict[str, Any], says: str):
    assert_problem(send(api, CT_ZIP, **asked), 422, "bad-option", says)


def test_source_of_the_fake_is_what_is_attached(api, services):
    job_id = new_job(api, ct=CT_ZIP)
    kept = read(services, job_id, attachments(services, job_id)[SOURCE_FILE])
    assert json.loads(kept) == SOURCE.model_dump(mode="json")


def test_few_conversions_run_at_once(app, api, converter):
    turns = app.state.context.converting
    seen: list[int] = []

    def count(*arguments):
        with turns:  # one more is possible, and no third
            seen.append(turns.acquire(blocking=False))
        return converter(*arguments)

    app.state.context = dataclasses.replace(app.state.context, convert_case=count)
    assert submit(api, CT_ZIP).status_code == 202
    assert seen == [False]


def test_who_waits_for_a_turn_can_be_halted():
    halt = Halt()
    halt_after = threading.Timer(0.0, halt.now, [ClientDisconnect()])
    halt_after.start()
    with (
        pytest.raises(ClientDisconnect),
        take_turn(threading.Semaphore(0), halt),
    ):
        pass
    halt_after.join()


def test_a_turn_is_given_back_by_a_conversion_that_failed(app, api):
    for _ in range(3):
        assert submit(api, BOMB).status_code == 422
    assert submit(api, CT_ZIP).status_code == 202
