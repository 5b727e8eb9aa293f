"""STOW-RS: instances come in any number of requests, and become one job."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from hanseg_shared.jobs.sweeper import UPLOAD_SECONDS
from tests.api.requests import assert_problem, leftovers
from tests.io.dicom.made_series import made_grid, made_uid, made_volume, make_series

STUDIES = "/v1/dicom-web/studies"
JSON = "application/dicom+json"
STUDY = made_uid("study", "1")
REFERENCED, FAILED, OTHERS = "00081199", "00081198", "0008119A"
RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"


def instances(study: str = "1", modality: Any = "CT", **attributes: Any) -> list[bytes]:
    volume = made_volume(made_grid(size=(4, 5, 3)), lowest=0)
    files = []
    for dataset in make_series(volume, modality, study=study, **attributes):
        file = BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        files.append(file.getvalue())
    return files


def body(parts: Sequence[bytes], kind: str = "application/dicom") -> bytes:
    heads = [b"--edge\r\nContent-Type: " + kind.encode() + b"\r\n\r\n"] * len(parts)
    joined = b"".join(h + p + b"\r\n" for h, p in zip(heads, parts, strict=True))
    return joined + b"--edge--\r\n"


RELATED = 'multipart/related; type="application/dicom"; boundary=edge'


def store(
    api, parts: Sequence[bytes], *, path: str = STUDIES, content_type: str = RELATED
) -> Response:
    return api.post(path, content=body(parts), headers={"Content-Type": content_type})


def uids(answer: Response, tag: str) -> list[str]:
    items = answer.json().get(tag, {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


def reasons(answer: Response, tag: str) -> list[int]:
    items = answer.json().get(tag, {}).get("Value", [])
    return [item["00081197"]["Value"][0] for item in items]


def test_all_instances_are_stored(api, services):
    answer = store(api, instances())
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    expected = [made_uid("instance", "CT", "1", "1", k) for k in range(3)]
    assert uids(answer, REFERENCED) == expected
    assert FAILED not in answer.json()
    assert len(services.tables.dicom_instances.list_study(STUDY)) == 3


def test_a_study_comes_in_many_requests_and_becomes_one_job(api, converter):
    for part in instances() + instances(modality="MR"):
        assert store(api, [part]).status_code == 200
    answer = api.post("/v1/jobs", json={"study": STUDY, "case": "anna"})
    assert answer.status_code == 202, answer.text
    (files,) = converter.seen
    assert files.ct.name == "study"
    assert answer.json()["inputs"][0]["format"] == "dicom"


def test_an_instance_that_comes_twice_is_kept_once(api, services):
    part, *_ = instances()
    assert [store(api, [part]).status_code for _ in range(2)] == [200, 200]
    assert len(services.tables.dicom_instances.list_study(STUDY)) == 1


def test_another_file_of_the_same_instance_is_not_taken(api, services):
    part, *_ = instances()
    other, *_ = instances(KVP=80)
    store(api, [part])
    answer = store(api, [other])
    assert (answer.status_code, reasons(answer, FAILED)) == (409, [0x0111])
    (kept,) = services.tables.dicom_instances.list_study(STUDY)
    assert kept.bytes == len(part)


def test_some_may_fail(api):
    good = instances()
    plan, *_ = instances(series="plan", SOPClassUID=RTSTRUCT_CLASS)
    answer = store(api, [*good, b"a letter", plan])
    assert answer.status_code == 202
    assert len(uids(answer, REFERENCED)) == 3
    assert reasons(answer, FAILED) == [0x0122]
    assert reasons(answer, OTHERS) == [0xC000]


def test_instances_of_another_study_are_not_taken(api, services):
    path = f"{STUDIES}/{STUDY}"
    answer = store(api, [*instances(), *instances(study="2")], path=path)
    assert answer.status_code == 202
    assert reasons(answer, FAILED) == [0xC101] * 3
    assert services.tables.dicom_instances.list_study(made_uid("study", "2")) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.2\x00", 0xC122),
        (b"\x20\x00\x0d\x00UI", b"\x20\x00\x0d\x00ZZ", 0xC000),
        (b"\x20\x00\x0d\x00UI", b"\x20\x00\x0c\x00UI", 0xC000),
    ],
)
def test_what_cannot_be_read_is_not_taken(api, services, old, new, reason):
    part, *_ = instances()
    assert old in part
    answer = store(api, [part.replace(old, new, 1)])
    assert (answer.status_code, reasons(answer, OTHERS)) == (409, [reason])
    assert leftovers(services) == []


def test_a_cut_off_instance_is_not_taken(api):
    part, *_ = instances()
    answer = store(api, [part[: len(part) // 2]])
    assert (answer.status_code, reasons(answer, OTHERS)) == (409, [0xC000])


@pytest.mark.parametrize(
    ("content_type", "status", "slug"),
    [
        ("application/dicom", 415, "unsupported-media-type"),
        ('multipart/related; type="application/dicom+xml"; boundary=edge', 415, None),
        ('multipart/related; type="application/dicom"', 400, "bad-request"),
        ("multipart/form-data; boundary=edge", 415, None),
    ],
)
def test_other_bodies_are_refused(api, content_type, status, slug):
    answer = store(api, instances(), content_type=content_type)
    assert_problem(answer, status, slug or "unsupported-media-type")


def test_parts_of_another_type_are_refused(api):
    content = body(instances(), "application/dicom+json")
    headers = {"Content-Type": RELATED}
    answer = api.post(STUDIES, content=content, headers=headers)
    assert_problem(answer, 415, "unsupported-media-type", "part 1 is not")


@pytest.mark.parametrize(
    "content", [b"", b"--edge--\r\n", body([b"x"])[:-6], b"no multipart"]
)
def test_a_malformed_body_leaves_nothing(api, services, content):
    headers = {"Content-Type": RELATED}
    answer = api.post(STUDIES, content=content, headers=headers)
    assert_problem(answer, 400, "bad-request")
    assert leftovers(services) == []


def test_a_body_that_is_too_large_is_cut_off(api, services):
    answer = store(api, [bytes(300_000)])
    assert_problem(answer, 413, "too-large")
    assert leftovers(services) == []


def test_a_study_has_no_more_than_one_upload_may(api):
    padding = bytes(100_000)
    parts = [
        instances(series=str(number), PixelData=None, EncapsulatedDocument=padding)[0]
        for number in range(3)
    ]
    answers = [store(api, [part]) for part in parts]
    assert [each.status_code for each in answers] == [200, 200, 409]
    assert reasons(answers[-1], FAILED) == [0xA700]


def test_submit_makes_the_job_at_once_and_only_one(api):
    first = store(api, instances(), path=f"{STUDIES}?submit=true")
    assert (first.status_code, first.headers["content-type"]) == (200, JSON)
    location = first.headers["location"]
    assert api.get(location).json()["state"] == "queued"
    again = store(api, instances(), path=f"{STUDIES}?submit=true")
    assert again.headers["location"] == location


def test_submit_makes_no_job_while_something_failed(api):
    answer = store(api, [*instances(), b"a letter"], path=f"{STUDIES}?submit=true")
    assert answer.status_code == 202
    assert "location" not in answer.headers
    assert api.get("/v1/jobs").json()["jobs"] == []


def test_a_study_that_is_not_stored_is_refused(api):
    answer = api.post("/v1/jobs", json={"study": STUDY})
    assert_problem(answer, 422, "bad-option", "nothing of the study")


def test_a_study_is_deleted_a_day_after_its_last_instance(services, api):
    store(api, instances())
    tables = services.tables.dicom_instances
    assert tables.drop_old(older_than_seconds=UPLOAD_SECONDS) == []
    (owner,) = tables.drop_old(older_than_seconds=-1.0)
    assert owner in services.store.owners()
    assert STUDY not in owner
    assert tables.list_study(STUDY) == []


def test_stored_studies_are_no_orphans(services, api):
    store(api, instances())
    kept = services.tables.jobs.owners().kept
    assert set(services.store.owners()) <= kept


def test_nothing_of_the_study_is_in_a_path(services, api):
    store(api, instances())
    paths = [str(path) for path in Path(services.settings.data).rglob("*")]
    assert not any(STUDY in path or "Patient" in path for path in paths)


def test_a_study_can_be_deleted_at_once(services, api):
    store(api, instances())
    assert api.delete(f"{STUDIES}/{STUDY}").status_code == 204
    assert services.store.owners() == []
    assert_problem(api.delete(f"{STUDIES}/{STUDY}"), 404, "not-found")
    assert_problem(api.post("/v1/jobs", json={"study": STUDY}), 422, "bad-option")
