"""The gate for registrations, the registered MR and the review page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

from hanseg_shared.dicom.gate import (
    require_mr_series,
    require_registration,
    require_report,
)
from hanseg_shared.dicom.mr_series import write_mr_series
from hanseg_shared.dicom.registration_object import write_registration
from hanseg_shared.errors import OutputError
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case, series_source
from tests.dicom.organs_map import GEOMETRIES, GRID
from tests.dicom.spoiling import another_name, change

CASE = dicom_case(GRID)
MR_FRAME = "1.2.826.0.1.3680043.8.498.77"
WITH_MR = dicom_case(
    GRID,
    mr=series_source(
        Grid((30, 32, 9), (1.0, 1.0, 4.0), (-3.0, 5.0, -40.0)),
        modality="MR",
        frame_of_reference_uid=MR_FRAME,
    ),
)
MR_FROM_CT = np.array([
    [0.9962, -0.0872, 0.0, 12.5],
    [0.0872, 0.9962, 0.0, -3.25],
    [0.0, 0.0, 1.0, 40.0],
    [0.0, 0.0, 0.0, 1.0],
])  # fmt: skip
MR_FROM_CT[:2, :2] /= np.hypot(0.9962, 0.0872)


def test_a_registration_passes(tmp_path):
    write_registration(tmp_path / "r.dcm", MR_FROM_CT, case=WITH_MR)
    require_registration(tmp_path / "r.dcm", MR_FROM_CT, case=WITH_MR)


def test_a_registration_within_one_frame_of_reference_passes(tmp_path):
    mr = series_source(GRID, modality="MR")
    case = dicom_case(GRID, mr=mr)
    write_registration(tmp_path / "r.dcm", MR_FROM_CT, case=case)
    require_registration(tmp_path / "r.dcm", MR_FROM_CT, case=case)


def test_an_inverse_stored_the_wrong_way_round_is_caught(tmp_path):
    inverse = np.linalg.inv(MR_FROM_CT)
    write_registration(tmp_path / "r.dcm", inverse, case=WITH_MR)
    with pytest.raises(
        OutputError, match="maps the CT to the MR, not the MR to the CT"
    ):
        require_registration(tmp_path / "r.dcm", MR_FROM_CT, case=WITH_MR)


@pytest.mark.parametrize("element", [(0, 3), (2, 3), (1, 0)])
def test_a_registration_that_is_a_bit_off_is_caught(tmp_path, element):
    wrong = MR_FROM_CT.copy()
    wrong[element] += 0.02
    write_registration(tmp_path / "r.dcm", wrong, case=WITH_MR)
    with pytest.raises(OutputError, match=r"mm away, and at most 0\.01"):
        require_registration(tmp_path / "r.dcm", MR_FROM_CT, case=WITH_MR)


def items_exchanged(dataset: FileDataset) -> None:
    one, two = dataset.RegistrationSequence
    one.MatrixRegistrationSequence, two.MatrixRegistrationSequence = (
        two.MatrixRegistrationSequence,
        one.MatrixRegistrationSequence,
    )


def the_mrs_frame(dataset: FileDataset) -> None:
    dataset.FrameOfReferenceUID = MR_FRAME


def frames_exchanged(dataset: FileDataset) -> None:
    one, two = dataset.RegistrationSequence
    one.FrameOfReferenceUID, two.FrameOfReferenceUID = (
        two.FrameOfReferenceUID,
        one.FrameOfReferenceUID,
    )


def an_item_less(dataset: FileDataset) -> None:
    del dataset.RegistrationSequence[0]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (items_exchanged, "the CT's matrix is not the identity"),
        (the_mrs_frame, r"FrameOfReferenceUID \(0020,0052\) is not the CT's"),
        (frames_exchanged, r"\(0020,0052\) of the CT's item is not that of its images"),
        (an_item_less, "has 1 items"),
        (another_name, "PatientName"),
    ],
)
def test_a_wrong_registration_is_caught(tmp_path, spoil, says):
    write_registration(tmp_path / "r.dcm", MR_FROM_CT, case=WITH_MR)
    change(tmp_path / "r.dcm", spoil)
    with pytest.raises(OutputError, match=says):
        require_registration(tmp_path / "r.dcm", MR_FROM_CT, case=WITH_MR)


def registered_mr(grid: Grid = GRID) -> Volume:
    values = np.random.default_rng(3).normal(300.0, 90.0, grid.shape)
    return Volume(values.astype(np.float32), grid)


@pytest.mark.parametrize("name", ["HFS", "FFP", "oblique"])
def test_the_registered_mr_passes(tmp_path, name):
    case, volume = dicom_case(GEOMETRIES[name]), registered_mr(GEOMETRIES[name])
    write_mr_series(tmp_path / "mr", volume, case=case)
    require_mr_series(tmp_path / "mr", volume, case=case)


def test_the_registered_mr_of_an_uneven_ct_passes(tmp_path):
    case = dicom_case(series_source(GRID, missing=(3, 8)))
    write_mr_series(tmp_path / "mr", registered_mr(), case=case)
    require_mr_series(tmp_path / "mr", registered_mr(), case=case)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_reversed_mr_is_caught(tmp_path, axis):
    reversed_mr = Volume(np.flip(registered_mr().array, axis).copy(), GRID)
    write_mr_series(tmp_path / "mr", reversed_mr, case=WITH_MR)
    with pytest.raises(
        OutputError, match=r"^mr: .*slice 0 differs from the registered"
    ):
        require_mr_series(tmp_path / "mr", registered_mr(), case=WITH_MR)


def test_mr_images_in_reversed_places_are_caught(tmp_path):
    folder = tmp_path / "mr"
    paths = write_mr_series(folder, registered_mr(), case=WITH_MR)
    places = [dcmread(path).ImagePositionPatient for path in paths]
    for path, place in zip(paths, reversed(places), strict=True):
        image = dcmread(path)
        image.ImagePositionPatient = place
        image.save_as(path)
    with pytest.raises(
        OutputError, match=r"InstanceNumber \(0020,0013\) does not ascend"
    ):
        require_mr_series(folder, registered_mr(), case=WITH_MR)


def another_place(dataset: FileDataset) -> None:
    dataset.ImagePositionPatient[0] += 0.3


def another_orientation(dataset: FileDataset) -> None:
    dataset.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]


def another_slope(dataset: FileDataset) -> None:
    slope = float(dataset.get("RescaleSlope", 1.0))
    dataset.RescaleSlope = round(slope * 1.01, 6)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (another_place, "slice 4 lies 0.3 mm from the CT's slice"),
        (another_orientation, "slice 4 lies [0-9.]+ mm from the CT's slice"),
        (another_slope, "slice 4 differs from the registered MR"),
        (another_name, "PatientName"),
    ],
)
def test_a_wrong_image_of_the_mr_is_caught(tmp_path, spoil, says):
    paths = write_mr_series(tmp_path / "mr", registered_mr(), case=WITH_MR)
    change(paths[4], spoil)
    with pytest.raises(OutputError, match=says):
        require_mr_series(tmp_path / "mr", registered_mr(), case=WITH_MR)


def test_a_lost_image_of_the_mr_is_caught(tmp_path):
    paths = write_mr_series(tmp_path / "mr", registered_mr(), case=WITH_MR)
    paths[7].unlink()
    with pytest.raises(OutputError, match="13 images for the 14 slices"):
        require_mr_series(tmp_path / "mr", registered_mr(), case=WITH_MR)


def write_report(path: Path, document: bytes) -> None:
    dataset = CASE.start(
        "1.2.840.10008.5.1.4.1.1.104.1",
        modality="DOC",
        series="report",
        series_number=9005,
        description="Review page",
    )
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    dataset.EncapsulatedDocumentLength = len(document)
    dataset.save_as(path, enforce_file_format=True)


def another_type(dataset: FileDataset) -> None:
    dataset.MIMETypeOfEncapsulatedDocument = "text/plain"


def another_length(dataset: FileDataset) -> None:
    dataset.EncapsulatedDocumentLength = 8


def a_longer_document(dataset: FileDataset) -> None:
    dataset.EncapsulatedDocument += b"    "


@pytest.mark.parametrize("document", [b"%PDF-1.7 ... %%EOF", b"%PDF-1.4 ... %%EOF\n"])
def test_a_whole_review_page_passes(tmp_path, document):
    write_report(tmp_path / "p.dcm", document)
    require_report(tmp_path / "p.dcm", case=CASE)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (another_type, r"\(0042,0012\) is not application/pdf"),
        (another_length, "is no whole PDF"),
        (a_longer_document, "is 18, but the document has 22 bytes"),
        (another_name, "PatientName"),
    ],
)
def test_a_wrong_review_page_is_caught(tmp_path, spoil, says):
    write_report(tmp_path / "p.dcm", b"%PDF-1.7 ... %%EOF")
    change(tmp_path / "p.dcm", spoil)
    with pytest.raises(OutputError, match=says):
        require_report(tmp_path / "p.dcm", case=CASE)
