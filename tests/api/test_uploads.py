"""Announcing files, sending them, and having them verified."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.api.fakes import CT
from tests.api.requests import announce, assert_problem, upload


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


@pytest.fixture
def announced(api) -> str:
    return str(announce(api, CT).headers["location"])


def test_an_announced_file_says_where_to_send_it(api):
    answer = announce(api, CT)
    assert answer.status_code == 201
    document = answer.json()
    assert answer.headers["location"] == document["links"]["self"]
    assert document["links"]["content"] == document["links"]["self"] + "/content"
    assert document["bytes"] == len(CT)
    assert not document["received"]


def test_a_file_that_was_sent_is_received(api, services):
    upload_id = upload(api, CT)
    document = api.get(f"/v1/uploads/{upload_id}").json()
    assert document["received"]
    assert services.store.exists(f"upload-{upload_id}", document["sha256"])
    assert document["expires_at"] > document["created_at"]


def test_sending_twice_changes_nothing(api, announced):
    for _ in range(2):
        assert api.put(f"{announced}/content", content=CT).status_code == 204


def test_content_in_chunks_is_put_together(api, announced):
    chunks = (bytes([byte]) for byte in CT)
    assert api.put(f"{announced}/content", content=chunks).status_code == 204


def assert_refused(api, services, announced: str, answer, *says: str) -> None:
    assert_problem(answer, 422, "content-mismatch", *says)
    assert not api.get(announced).json()["received"]
    assert list(services.settings.scratch.glob("*")) == []
    assert services.store.owners() == []


def test_other_bytes_of_the_same_size_are_refused(api, services, announced):
    answer = api.put(f"{announced}/content", content=b"x" * len(CT))
    assert_refused(api, services, announced, answer, "SHA-256")


@pytest.mark.parametrize("content", [CT + b"x", CT[:-1], b""])
def test_another_size_is_refused(api, services, announced, content: bytes):
    answer = api.put(f"{announced}/content", content=content)
    assert_refused(api, services, announced, answer, f"{len(CT)} bytes")


def test_more_bytes_than_announced_are_cut_off(api, services, announced):
    answer = api.put(f"{announced}/content", content=iter([CT, b"x", b"y"]))
    assert_refused(api, services, announced, answer, "more bytes")


def test_a_content_digest_is_checked_before_the_content(api, services, announced):
    headers = {"Content-Digest": digest(b"other")}
    answer = api.put(f"{announced}/content", content=CT, headers=headers)
    assert_refused(api, services, announced, answer, "Content-Digest")


@pytest.mark.parametrize(
    "value", [digest(CT), f"md5=:AAAA:, {digest(CT)}", "md5=:AAAA:"]
)
def test_a_content_digest_that_fits_or_is_unknown_is_fine(api, announced, value: str):
    headers = {"Content-Digest": value}
    answer = api.put(f"{announced}/content", content=CT, headers=headers)
    assert answer.status_code == 204


def test_an_encoded_body_is_not_supported(api, announced):
    headers = {"Content-Encoding": "gzip"}
    answer = api.put(f"{announced}/content", content=CT, headers=headers)
    assert_problem(answer, 415, "unsupported-media-type", "gzip")


def test_a_file_larger_than_the_limit_is_refused_when_announced(api, settings):
    size = settings.max_upload_bytes + 1
    answer = api.post("/v1/uploads", json={"bytes": size, "sha256": "0" * 64})
    assert_problem(answer, 413, "too-large", str(size))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"bytes": 0, "sha256": "0" * 64}, "#/bytes"),
        ({"bytes": True, "sha256": "0" * 64}, "#/bytes"),
        ({"bytes": 1, "sha256": "0" * 63}, "#/sha256"),
        ({"bytes": 1, "sha256": "X" * 64}, "#/sha256"),
        ({"bytes": 1}, "#/sha256"),
        ({"bytes": 1, "sha256": "0" * 64, "name": "x"}, "#/name"),
    ],
)
def test_an_announcement_must_fit(api, body, pointer: str):
    answer = api.post("/v1/uploads", json=body)
    assert_problem(answer, 422, "invalid-request", pointer)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_upload_that_does_not_exist_is_not_found(api, method: str):
    answer = api.request(method, f"/v1/uploads/{'0' * 32}")
    assert_problem(answer, 404, "not-found")


def test_content_for_no_upload_is_refused_unread(api, services):
    answer = api.put(f"/v1/uploads/{'0' * 32}/content", content=CT)
    assert_problem(answer, 404, "not-found")
    assert services.store.owners() == []


def test_a_deleted_upload_is_gone_and_its_jobs_are_not(api, services):
    upload_id = upload(api, CT)
    job = api.post("/v1/jobs", json={"ct": upload_id}).json()
    assert api.delete(f"/v1/uploads/{upload_id}").status_code == 204
    assert api.get(f"/v1/uploads/{upload_id}").status_code == 404
    assert services.store.owners() == [job["id"]]
