"""Corrected contours are kept beside the model's own, and compared at once."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hanseg_shared.result_files import SEGMENTATION
from tests.api.fakes import FakeWorker
from tests.api.requests import assert_problem, new_job
from tests.review.cases import SMALLER, mask_of, pack, write_labels


@pytest.fixture
def review(api: TestClient, worker: FakeWorker, tmp_path: Path) -> str:
    job_id = new_job(api)
    label_map = write_labels(tmp_path / "own.nii.gz").read_bytes()
    worker.succeed(
        job_id, {SEGMENTATION: label_map}, contoured={"Brainstem": 0.4, "Lips": 1.0}
    )
    return f"/v1/jobs/{job_id}/review"


def paint(api: TestClient, review: str, content: bytes, **headers: str) -> Any:
    return api.put(
        f"{review}/organs/Brainstem/mask",
        content=content,
        headers={"Content-Type": "application/gzip"} | headers,
    )


def test_a_painted_mask_is_a_version_beside_the_model_s_own(api, review):
    document = paint(api, review, pack(SMALLER)).json()
    [said] = document["organs"]
    assert (document["version"], document["change"]["what"]) == (1, "correction")
    assert said["verdict"] == "edited"
    assert said["mask"]["source"] == "viewer"
    assert said["comparison"]["corrected_ml"] == pytest.approx(0.36)
    assert document["unjudged"] == ["Lips"]


def test_any_version_s_mask_is_fetched(api, review):
    first = paint(api, review, pack(SMALLER)).json()["organs"][0]["mask"]["href"]
    other = mask_of("Brainstem") & ~SMALLER
    second = paint(api, review, pack(other)).json()["organs"][0]["mask"]["href"]
    for href, mask in ((first, SMALLER), (second, other)):
        answer = api.get(href)
        assert gzip.decompress(answer.content) == mask.astype(np.uint8).tobytes()
        known = {"If-None-Match": answer.headers["etag"]}
        unchanged = api.get(href, headers=known)
        assert unchanged.status_code == 304
        assert unchanged.headers["cache-control"] == answer.headers["cache-control"]
    assert api.get(f"{review}/versions/0/masks/Brainstem").status_code == 404
    assert api.get(f"{review}/versions/1/masks/Lips").status_code == 404


def test_what_equals_the_model_s_own_makes_no_version(api, review):
    assert paint(api, review, pack(mask_of("Brainstem"))).json()["version"] == 0


def test_a_file_is_compared_organ_by_organ(api, review, tmp_path):
    path = write_labels(tmp_path / "sent.nrrd", {"Brainstem": SMALLER})
    answer = api.post(f"{review}/corrections", content=path.read_bytes())
    assert [o["organ"] for o in answer.json()["organs"]] == ["Brainstem"]
    assert answer.json()["organs"][0]["mask"]["source"] == "label_map"


def test_a_verdict_puts_a_correction_aside(api, review):
    paint(api, review, pack(SMALLER))
    said = {"verdict": "accepted"}
    answer = api.put(f"{review}/organs/Brainstem", json=said)
    assert answer.json()["organs"][0]["mask"] is None
    assert api.get(f"{review}/versions/1/masks/Brainstem").status_code == 200


def test_two_painters_do_not_overwrite_each_other(api, review):
    assert paint(api, review, pack(SMALLER), **{"If-Match": '"0"'}).is_success
    late = paint(api, review, pack(SMALLER), **{"If-Match": '"0"'})
    assert_problem(late, 412, "precondition-failed")


def test_what_cannot_be_used_is_refused_and_leaves_nothing(api, review, services):
    assert_problem(
        paint(api, review, b"no gzip at all"), 422, "bad-image-content", "no gzip"
    )
    answer = api.post(f"{review}/corrections", content=b"no image")
    assert_problem(answer, 422, "not-an-image")
    assert str(services.settings.data) not in answer.text
    assert api.get(review).json()["version"] == 0
    assert list(services.settings.scratch.rglob("*correction*")) == []


def test_a_mask_of_another_type_is_refused(api, review):
    url = f"{review}/organs/Brainstem/mask"
    answer = api.put(url, content=pack(SMALLER), headers={"Content-Type": "text/plain"})
    assert_problem(answer, 415, "unsupported-media-type")


def test_a_media_type_is_the_same_in_capitals_and_with_parameters(api, review):
    named = {"Content-Type": "Application/GZIP ; level=9"}
    assert paint(api, review, pack(SMALLER), **named).status_code == 200


def test_corrections_go_with_the_results_and_not_with_the_images(api, review, services):
    paint(api, review, pack(SMALLER))
    job_id = review.split("/")[3]
    [sha256] = services.tables.reviews.payloads(job_id)
    assert services.store.exists(job_id, sha256)
    assert api.delete(f"/v1/jobs/{job_id}").is_success
    assert not services.store.exists(job_id, sha256)
