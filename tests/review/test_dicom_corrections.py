"""Corrections that come as DICOM: read by name, and refused if they are another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileDataset

from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.documents import DicomOutput, ModelSummary
from hanseg_shared.errors import ImageContentError, ImageError
from hanseg_shared.review.sandbox import SentCorrection, compare_files
from tests.api.fakes import organs_with
from tests.dicom.cases import dicom_case
from tests.review.cases import BOXES, GRID, SMALLER, make_labels, mask_of, write_labels

CASE = dicom_case(GRID)
MODEL = ModelSummary(name="default", version="1", sha256="a" * 64)
MASKS = {name: mask_of(name) for name in BOXES} | {"Brainstem": SMALLER}


@pytest.fixture
def sent(tmp_path: Path) -> SentCorrection:
    """A case whose CT came as DICOM, and a file that is still to be written."""
    (tmp_path / "source.json").write_text(CASE.source.model_dump_json())
    (tmp_path / "identity.json").write_text(CASE.identity.model_dump_json())
    (tmp_path / "out").mkdir()
    return SentCorrection(
        tmp_path / "sent.dcm",
        write_labels(tmp_path / "own.nii.gz"),
        source=tmp_path / "source.json",
        identity=tmp_path / "identity.json",
    )


def write_contours(path: Path) -> None:
    write_rtstruct(
        path,
        make_labels(MASKS),
        case=CASE,
        template=default_template(),
        organs=organs_with(dict.fromkeys(BOXES, 1.0)),
        model=MODEL,
    )


def write_segments(path: Path) -> None:
    write_segmentation(
        path,
        make_labels(MASKS),
        case=CASE,
        organs=list(BOXES),
        model=MODEL,
        kind=DicomOutput.SEG,
    )


@pytest.mark.parametrize(
    ("write", "kind"), [(write_contours, "rtstruct"), (write_segments, "seg")]
)
def test_structures_that_differ_are_corrections(sent: SentCorrection, write, kind):
    write(sent.path)
    found = compare_files(sent, sent.path.parent / "out")
    assert found.kind == kind
    assert [each.organ for each in found.organs] == ["Brainstem"]
    assert found.organs[0].comparison.corrected_ml == pytest.approx(0.36)
    assert found.unchanged == ("Parotid_L", "Parotid_R")


def of_another_patient(dataset: FileDataset) -> None:
    dataset.PatientID = "4711"


def on_other_images(dataset: FileDataset) -> None:
    for roi in dataset.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = "1.2.3"


def of_no_organ(dataset: FileDataset) -> None:
    for number, roi in enumerate(dataset.StructureSetROISequence):
        roi.ROIName = f"PTV{number}"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (of_another_patient, "another patient's"),
        (on_other_images, "contoured on other images"),
        (of_no_organ, "no structure is one of the 30 organs"),
    ],
)
def test_what_is_not_this_case_s_is_refused(
    sent: SentCorrection, spoil: Callable[[FileDataset], None], told: str
):
    write_contours(sent.path)
    dataset = pydicom.dcmread(sent.path)
    spoil(dataset)
    dataset.save_as(sent.path)
    with pytest.raises(ImageContentError, match=told):
        compare_files(sent, sent.path.parent / "out")


def test_a_damaged_object_is_refused(sent: SentCorrection):
    write_contours(sent.path)
    content = sent.path.read_bytes()
    sent.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match="damaged or cut off"):
        compare_files(sent, sent.path.parent / "out")
