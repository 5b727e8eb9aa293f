"""What is handed on of a signed review, and what a site holds back until then."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from fastapi.testclient import TestClient

from hanseg_shared.io.read import read_labels
from hanseg_shared.io.write import write_volume
from hanseg_shared.organs import organ
from hanseg_shared.result_files import RTSTRUCT, SEG, SEGMENTATION
from hanseg_shared.volume import Volume
from tests.api.conftest import make_app
from tests.api.fakes import PATIENT, SERIES, FakeWorker
from tests.api.requests import assert_problem, submit
from tests.review.cases import pack

ARCHIVE = b"PK\x03\x04CT of a patient"
DICOM = 'multipart/related; type="application/dicom"'
GRID = SERIES.grid


def label_map(path: Path) -> bytes:
    """Return a label map with a brainstem and a cord, on the fake CT's grid."""
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[:, 0:2, 0:3] = organ("Brainstem").label
    array[:, 3:5, 0:3] = organ("SpinalCord").label
    write_volume(Volume(array, GRID), path / "own.nii.gz")
    return (path / "own.nii.gz").read_bytes()


@pytest.fixture
def job_id(api: TestClient, worker: FakeWorker, tmp_path: Path) -> str:
    made = str(submit(api, ARCHIVE).json()["id"])
    files = {SEGMENTATION: label_map(tmp_path), RTSTRUCT: b"own", SEG: b"segments"}
    worker.succeed(made, files, contoured={"Brainstem": 0.02, "SpinalCord": 0.02})
    return made


def judge(api: TestClient, job_id: str, **verdicts: str) -> int:
    said = [{"organ": n, "verdict": v} for n, v in verdicts.items()]
    answer = api.post(f"/v1/jobs/{job_id}/review/organs", json={"organs": said})
    return int(answer.json()["version"])


def sign(api: TestClient, job_id: str, version: int) -> Any:
    body = {"version": version, "name": "Dr. Muster"}
    return api.post(f"/v1/jobs/{job_id}/review/signature", json=body)


def paint(api: TestClient, job_id: str, mask: np.ndarray) -> None:
    painted = api.put(
        f"/v1/jobs/{job_id}/review/organs/Brainstem/mask",
        content=pack(mask),
        headers={"Content-Type": "application/gzip"},
    )
    assert painted.status_code == 200, painted.text


def fetch_file(api: TestClient, job_id: str, name: str) -> bytes:
    answer = api.get(f"/v1/jobs/{job_id}/results/reviewed/{name}")
    assert answer.status_code == 200, answer.text
    return answer.content


def fetch(api: TestClient, job_id: str) -> pydicom.FileDataset:
    return pydicom.dcmread(BytesIO(fetch_file(api, job_id, RTSTRUCT)))


def names_of(dataset: pydicom.FileDataset) -> list[str]:
    return [str(roi.ROIName) for roi in dataset.StructureSetROISequence]


def listed(api: TestClient, job_id: str) -> dict[str, str | None]:
    files = api.get(f"/v1/jobs/{job_id}/results").json()["files"]
    return {file["name"]: file["withheld"] for file in files}


def test_the_structure_set_is_approved_in_the_reviewer_s_name(api, job_id):
    version = judge(api, job_id, Brainstem="accepted", SpinalCord="accepted")
    signed = sign(api, job_id, version).json()
    assert {file["name"] for file in signed["files"]} == {
        "reviewed/rtstruct.dcm",
        "reviewed/seg.dcm",
        "reviewed/segmentation.nii.gz",
    }
    dataset = fetch(api, job_id)
    assert dataset.ApprovalStatus == "APPROVED"
    assert str(dataset.ReviewerName) == "Dr. Muster"
    assert str(dataset.PatientName) == PATIENT
    own = api.get(f"/v1/jobs/{job_id}/results/{RTSTRUCT}")
    assert own.content == b"own"


def test_what_was_rejected_or_corrected_changes_what_is_handed_on(api, job_id):
    larger = np.zeros(GRID.shape, dtype=np.bool_)
    larger[:, 0:4, 0:3] = True  # into the cord
    paint(api, job_id, larger)
    version = judge(api, job_id, SpinalCord="rejected")
    signed = sign(api, job_id, version).json()
    assert signed["left_out"]["SpinalCord"] == "rejected by the reviewer"
    dataset = fetch(api, job_id)
    assert names_of(dataset) == ["Brainstem"]
    assert float(dataset.StructureSetROISequence[0].ROIVolume) == pytest.approx(0.048)


def test_every_form_has_the_contours_as_they_were_signed(api, job_id, tmp_path):
    larger = np.zeros(GRID.shape, dtype=np.bool_)
    larger[:, 0:4, 0:3] = True  # into the cord, which keeps its last row
    paint(api, job_id, larger)
    sign(api, job_id, judge(api, job_id, SpinalCord="accepted"))
    segments = pydicom.dcmread(BytesIO(fetch_file(api, job_id, SEG)))
    kinds = {
        str(each.SegmentLabel): str(each.SegmentAlgorithmType)
        for each in segments.SegmentSequence
    }
    assert kinds == {"Brainstem": "SEMIAUTOMATIC", "SpinalCord": "AUTOMATIC"}
    assert str(segments.ContentCreatorName) == "Dr. Muster"
    path = tmp_path / SEGMENTATION
    path.write_bytes(fetch_file(api, job_id, SEGMENTATION))
    values = read_labels(path).array
    assert (values[larger] == organ("Brainstem").label).all()
    rest = (values == organ("SpinalCord").label).sum()
    assert rest == 3 * GRID.shape[0]


def test_what_was_rejected_is_in_no_form(api, job_id, tmp_path):
    sign(api, job_id, judge(api, job_id, Brainstem="accepted", SpinalCord="rejected"))
    segments = pydicom.dcmread(BytesIO(fetch_file(api, job_id, SEG)))
    assert [str(each.SegmentLabel) for each in segments.SegmentSequence] == [
        "Brainstem"
    ]
    path = tmp_path / SEGMENTATION
    path.write_bytes(fetch_file(api, job_id, SEGMENTATION))
    assert set(np.unique(read_labels(path).array)) == {0, organ("Brainstem").label}


def test_where_every_contour_was_rejected_nothing_is_handed_on(api, job_id):
    version = judge(api, job_id, Brainstem="rejected", SpinalCord="rejected")
    signed = sign(api, job_id, version).json()
    assert signed["files"] == []
    assert set(signed["left_out"]) == {RTSTRUCT, SEG, SEGMENTATION}


def test_without_the_slices_the_label_map_is_still_handed_on(api, worker, tmp_path):
    made = str(submit(api).json()["id"])
    worker.succeed(
        made,
        {SEGMENTATION: label_map(tmp_path)},
        contoured={"Brainstem": 0.02, "SpinalCord": 0.02},
    )
    version = judge(api, made, Brainstem="rejected", SpinalCord="accepted")
    signed = sign(api, made, version).json()
    assert [file["name"] for file in signed["files"]] == [f"reviewed/{SEGMENTATION}"]


def test_of_a_review_that_is_reopened_nothing_is_handed_on(api, job_id):
    version = judge(api, job_id, Brainstem="accepted", SpinalCord="accepted")
    sign(api, job_id, version)
    api.post(f"/v1/jobs/{job_id}/review/reopen")
    url = f"/v1/jobs/{job_id}/results/reviewed/{RTSTRUCT}"
    assert api.get(url).status_code == 404
    first = api.get(f"/v1/jobs/{job_id}/review/versions/2").json()
    assert first["files"]


def test_it_is_signed_after_the_images_have_gone_too(api, job_id, services):
    job = services.tables.jobs.get(job_id)
    kept = {file.sha256 for file in (*job.files, *job.kept_with_results)}
    services.store.purge_except(job_id, kept)
    services.tables.jobs.note_inputs_gone(job_id)
    version = judge(api, job_id, Brainstem="accepted", SpinalCord="accepted")
    assert sign(api, job_id, version).json()["files"]


def test_a_job_without_a_label_map_is_signed_and_hands_nothing_on(api, worker):
    made = str(submit(api).json()["id"])
    worker.succeed(made, contoured={"Brainstem": 1.0})
    version = judge(api, made, Brainstem="rejected")
    signed = sign(api, made, version).json()
    assert (signed["state"], signed["files"]) == ("signed", [])


class TestRequired:
    @pytest.fixture
    def app(self, services, models, checker, converter):
        settings = services.settings.model_copy(update={"require_review": True})
        return make_app(
            replace(services, settings=settings), models, checker, converter
        )

    def test_dicom_objects_wait_for_the_signature(self, api, job_id):
        for method in ("GET", "HEAD"):
            url = f"/v1/jobs/{job_id}/results/{RTSTRUCT}"
            assert api.request(method, url).status_code == 409
        answer = api.get(f"/v1/jobs/{job_id}/results/{RTSTRUCT}")
        assert_problem(answer, 409, "not-reviewed", "once a review is signed")
        whole = api.get(f"/v1/jobs/{job_id}/results", headers={"Accept": DICOM})
        assert_problem(whole, 409, "not-reviewed")
        withheld = listed(api, job_id)
        assert withheld[RTSTRUCT] is not None
        assert withheld[SEGMENTATION] is None

    def test_masks_are_there_for_the_page(self, api, job_id):
        url = f"/v1/jobs/{job_id}/results/{SEGMENTATION}"
        assert api.get(url).status_code == 200

    def test_what_was_signed_leaves_and_the_model_s_own_never(self, api, job_id):
        version = judge(api, job_id, Brainstem="accepted", SpinalCord="rejected")
        sign(api, job_id, version)
        assert names_of(fetch(api, job_id)) == ["Brainstem"]
        whole = api.get(f"/v1/jobs/{job_id}/results", headers={"Accept": DICOM})
        assert b"reviewed/rtstruct.dcm" in whole.content
        assert b"own" not in whole.content.split(b"\r\n")
        assert api.get(f"/v1/jobs/{job_id}/results/{RTSTRUCT}").status_code == 409
