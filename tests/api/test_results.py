"""Fetching results: the manifest, whole files, ranges, conditions, hostile names."""

from __future__ import annotations

import base64
import email
import hashlib

import pytest

from hanseg_shared.documents import Problem
from tests.api.requests import assert_problem, new_job

LABELS = bytes(range(256)) * 8
MASK = b"a mask"
PICTURE = b"\x89PNG"


@pytest.fixture
def job(api, worker) -> str:
    """A job with results."""
    job_id = new_job(api)
    worker.succeed(
        job_id,
        {
            "segmentation.nii.gz": LABELS,
            "masks/Eye_AL.nii.gz": MASK,
            "preview.png": PICTURE,
            "empty.nii.gz": b"",
        },
    )
    return job_id


@pytest.fixture
def file(job: str) -> str:
    return f"/v1/jobs/{job}/results/segmentation.nii.gz"


def test_the_manifest_lists_every_file_and_where_it_is(api, job):
    listed = api.get(f"/v1/jobs/{job}/results").json()
    assert listed["job"] == job
    assert listed["state"] == "succeeded"
    contents = {f["name"]: api.get(f["href"]).content for f in listed["files"]}
    assert contents == {
        "segmentation.nii.gz": LABELS,
        "masks/Eye_AL.nii.gz": MASK,
        "preview.png": PICTURE,
        "empty.nii.gz": b"",
    }


def test_the_manifest_has_sizes_hashes_and_types(api, job):
    (first, *_) = api.get(f"/v1/jobs/{job}/results").json()["files"]
    assert first["bytes"] == len(LABELS)
    assert first["sha256"] == hashlib.sha256(LABELS).hexdigest()
    assert first["media_type"] == "application/gzip"


def test_a_file_is_sent_with_all_that_proves_it_whole(api, file):
    answer = api.get(file)
    digest = base64.b64encode(hashlib.sha256(LABELS).digest()).decode()
    assert answer.status_code == 200
    assert answer.content == LABELS
    assert answer.headers["content-length"] == str(len(LABELS))
    assert answer.headers["content-type"] == "application/gzip"
    assert answer.headers["etag"] == f'"{hashlib.sha256(LABELS).hexdigest()}"'
    assert answer.headers["content-digest"] == f"sha-256=:{digest}:"
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_file_is_never_cached_nor_shown_in_a_page(api, file):
    headers = api.get(file).headers
    assert headers["cache-control"] == "private, no-store"
    assert headers["x-content-type-options"] == "nosniff"
    disposition = 'attachment; filename="segmentation.nii.gz"'
    assert headers["content-disposition"] == disposition


def test_head_tells_the_same_without_the_bytes(api, file):
    head, whole = api.head(file), api.get(file)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("etag", "content-length", "content-type", "repr-digest"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=2000-", 2000, 2048),
        ("bytes=-48", 2000, 2048),
        ("bytes=0-999999", 0, 2048),
        ("bytes=-999999", 0, 2048),
    ],
)
def test_a_range_is_those_bytes(api, file, asked: str, start: int, stop: int):
    answer = api.get(file, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == LABELS[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/2048"
    assert answer.headers["content-length"] == str(stop - start)
    assert "content-digest" not in answer.headers
    assert "repr-digest" in answer.headers


@pytest.mark.parametrize("asked", ["bytes=2048-", "bytes=-0", "bytes=9999-10000"])
def test_a_range_outside_the_file_is_refused(api, file, asked: str):
    answer = api.get(file, headers={"Range": asked})
    assert_problem(answer, 416, "range-not-satisfiable", "2048")
    assert answer.headers["content-range"] == "bytes */2048"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=5-1", "bytes=-", "bytes=a-b", "x"]
)
def test_a_range_that_is_not_understood_is_answered_whole(api, file, asked: str):
    answer = api.get(file, headers={"Range": asked})
    assert answer.status_code == 200
    assert answer.content == LABELS


def test_an_empty_file_can_be_fetched(api, job):
    answer = api.get(f"/v1/jobs/{job}/results/empty.nii.gz")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_range_of_the_version_that_is_known(api, file):
    etag = api.head(file).headers["etag"]
    headers = {"Range": "bytes=0-9", "If-Range": etag}
    assert api.get(file, headers=headers).status_code == 206


@pytest.mark.parametrize(
    "known", ['"other"', "Wed, 21 Oct 2026 07:28:00 GMT", 'W/"weak"']
)
def test_a_range_of_another_version_is_answered_whole(api, file, known: str):
    headers = {"Range": "bytes=0-9", "If-Range": known}
    assert api.get(file, headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_that_is_known_is_not_sent_again(api, file, method: str):
    etag = api.head(file).headers["etag"]
    headers = {"If-None-Match": etag, "Range": "bytes=0-9"}
    answer = api.request(method, file, headers=headers)
    assert answer.status_code == 304
    assert answer.content == b""
    assert answer.headers["etag"] == etag


@pytest.mark.parametrize(
    "name",
    [
        "nothing.nii.gz",
        "../jobs.sqlite",
        "..%2f..%2fjobs.sqlite",
        "%2e%2e/x",
        "/etc/passwd",
        "masks",
    ],
)
def test_what_is_not_in_the_manifest_is_not_found(api, job, name: str):
    answer = api.get(f"/v1/jobs/{job}/results/{name}")
    assert answer.status_code == 404


def test_an_unfinished_job_has_no_results_yet(api):
    job_id = new_job(api)
    for path in ("results", "results/segmentation.nii.gz"):
        answer = api.get(f"/v1/jobs/{job_id}/{path}")
        assert_problem(answer, 409, "not-finished", "queued", "ask again")
        assert answer.json()["state"] == "queued"


def test_a_failed_job_has_no_results(api, worker, services):
    job = worker.begin(new_job(api))
    services.tables.claims.fail(job, Problem(type="urn:x", title="Failed"))
    answer = api.get(f"/v1/jobs/{job.id}/results")
    assert_problem(answer, 409, "not-finished", "failed")


def test_the_results_of_an_expired_job_are_gone(api, job):
    api.delete(f"/v1/jobs/{job}")
    for path in ("results", "results/segmentation.nii.gz"):
        answer = api.get(f"/v1/jobs/{job}/{path}")
        assert_problem(answer, 410, "expired", "deleted on request")


def test_a_file_missing_from_the_store_is_a_fault_that_names_no_internals(
    api, job, file, services
):
    services.store.purge(job)
    answer = api.get(file)
    assert_problem(answer, 500, "internal-error", answer.headers["x-request-id"])


DICOM_ONLY = {"Accept": 'multipart/related; type="application/dicom"'}


def test_all_dicom_objects_come_in_one_answer(api, worker):
    job_id = new_job(api)
    objects = {"mr_series/0001.dcm": b"slice\r\n--", "rtstruct.dcm": b"contours"}
    worker.succeed(job_id, {"segmentation.nii.gz": b"masks", **objects})
    answer = api.get(f"/v1/jobs/{job_id}/results", headers=DICOM_ONLY)
    assert answer.status_code == 200
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content)
    assert message.get_content_type() == "multipart/related"
    assert message.get_param("type") == "application/dicom"
    parts = list(message.walk())[1:]
    assert [part.get_content_type() for part in parts] == ["application/dicom"] * 2
    assert [part.get_payload(decode=True) for part in parts] == list(objects.values())
    locations = [part["Content-Location"] for part in parts]
    assert [api.get(where).content for where in locations] == list(objects.values())


def test_a_job_without_dicom_objects_has_none_to_send(api, job):
    answer = api.get(f"/v1/jobs/{job}/results", headers=DICOM_ONLY)
    assert_problem(answer, 406, "not-acceptable", "no DICOM objects")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "multipart/mixed"])
def test_everyone_else_gets_the_list(api, job, accept):
    answer = api.get(f"/v1/jobs/{job}/results", headers={"Accept": accept})
    assert answer.json()["job"] == job
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize("content", [b"x" * len(LABELS), LABELS + b"x", LABELS[:-1]])
@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-3"}])
def test_an_altered_file_is_never_sent(
    api, services, job, file, content: bytes, headers: dict[str, str]
):
    (stored,) = [
        each for each in services.tables.jobs.get(job).files if each.bytes == 2048
    ]
    path = services.settings.data / "payloads" / job / stored.sha256
    path.write_bytes(content)
    answer = api.get(file, headers=headers)
    assert_problem(answer, 500, "internal-error", "segmentation.nii.gz", "altered")
    assert "etag" not in answer.headers
