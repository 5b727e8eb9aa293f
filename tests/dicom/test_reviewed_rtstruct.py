"""A structure set that somebody has signed says so, and has what was made of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from hanseg_shared.dicom import gate
from hanseg_shared.dicom.organ_masks import OrganMasks, Review
from hanseg_shared.dicom.person_name import fit_name
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.scanline import Part
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.errors import OutputError
from tests.dicom.cases import dicom_case, series_source
from tests.dicom.test_rtstruct import GRID, MODEL, labels_of, results
from tests.dicom.verifier import errors_of

SIGNED_AT = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
ORGANS = ("Brainstem", "Parotid_L", "SpinalCord")
LABELS = labels_of(*ORGANS)

OVER_THE_PAROTID = Part(np.ones((2, 3, 6), dtype=np.bool_), (1, 1, 2))
"""A brainstem that reaches into the parotid, which a label map could not hold."""


def write(path: Path, review: Review | None, *, seed: str = "seed") -> FileDataset:
    """Write a structure set, have the gate look at it, and read it."""
    case = dicom_case(series_source(GRID, missing=()), seed=seed)
    file = path / "rtstruct.dcm"
    organs = results(LABELS)
    write_rtstruct(
        file,
        LABELS,
        case=case,
        template=default_template(),
        organs=organs,
        model=MODEL,
        review=review,
    )
    masks = OrganMasks(LABELS, review)
    gate.require_rtstruct(
        file,
        LABELS,
        case=case,
        template=default_template(),
        organs=[each.name for each in organs if masks.has(each.name)],
        review=review,
    )
    return pydicom.dcmread(file)


def names(dataset: FileDataset) -> list[str]:
    return [str(roi.ROIName) for roi in dataset.StructureSetROISequence]


def contours_of(dataset: FileDataset, name: str) -> list[list[float]]:
    number = {r.ROIName: r.ROINumber for r in dataset.StructureSetROISequence}[name]
    [drawn] = [e for e in dataset.ROIContourSequence if e.ReferencedROINumber == number]
    return [list(map(float, each.ContourData)) for each in drawn.ContourSequence]


EDITED = Review("Muster^A", SIGNED_AT, {"Brainstem": OVER_THE_PAROTID})


def test_it_is_approved_by_whom_and_when(tmp_path):
    dataset = write(tmp_path, Review("Muster^A", SIGNED_AT))
    assert dataset.ApprovalStatus == "APPROVED"
    assert (dataset.ReviewDate, dataset.ReviewTime) == ("20260506", "070809")
    assert str(dataset.ReviewerName) == "Muster^A"
    assert "reviewed and approved" in dataset.StructureSetDescription
    assert errors_of(tmp_path / "rtstruct.dcm") == []


def test_what_was_rejected_is_left_out_and_listed(tmp_path):
    dataset = write(tmp_path, Review("A", SIGNED_AT, rejected=frozenset({"Parotid_L"})))
    assert names(dataset) == ["Brainstem", "SpinalCord"]
    described = dataset.StructureSetDescription
    assert "Parotid_L (rejected by the reviewer)" in described


def test_what_was_corrected_is_drawn_anew_and_overlaps_if_it_must(tmp_path):
    own, edited = write(tmp_path, None), write(tmp_path, EDITED)
    assert contours_of(edited, "Brainstem") != contours_of(own, "Brainstem")
    assert len(contours_of(edited, "Brainstem")) == 2  # slices
    for unchanged in ("Parotid_L", "SpinalCord"):
        assert contours_of(edited, unchanged) == contours_of(own, unchanged)
    kinds = {
        str(roi.ROIName): roi.ROIGenerationAlgorithm
        for roi in edited.StructureSetROISequence
    }
    assert kinds["Brainstem"] == "SEMIAUTOMATIC"
    assert kinds["Parotid_L"] == "AUTOMATIC"
    assert "Corrected: Brainstem." in edited.StructureSetDescription


def test_it_is_another_object_than_the_model_s_own_and_always_the_same(tmp_path):
    own = write(tmp_path, None)
    write(tmp_path, EDITED, seed="signed")
    first = (tmp_path / "rtstruct.dcm").read_bytes()
    again = write(tmp_path, EDITED, seed="signed")
    assert (tmp_path / "rtstruct.dcm").read_bytes() == first
    assert own.SOPInstanceUID != again.SOPInstanceUID


def test_a_reviewer_s_name_is_written_in_the_ct_s_character_set(tmp_path):
    dataset = write(tmp_path, Review("Müller^Jürgen^^Dr.", SIGNED_AT))
    assert str(dataset.ReviewerName) == "Müller^Jürgen^^Dr."
    assert errors_of(tmp_path / "rtstruct.dcm") == []


@pytest.mark.parametrize(
    ("character_set", "written"),
    [
        (["ISO_IR 192"], "Żółć^Ü"),
        (["ISO_IR 100"], "Zo?c^U"),
        (["", "ISO 2022 IR 101"], "Żółć^Ü"),
        ([], "Zo?c^U"),
    ],
)
def test_a_name_is_plain_where_the_character_set_lacks_its_letters(
    character_set, written
):
    assert fit_name("Żółć^Ü", character_set) == written


def test_nothing_is_handed_on_if_all_was_rejected(tmp_path):
    with pytest.raises(OutputError, match="cannot be empty"):
        write(tmp_path, Review("A", SIGNED_AT, rejected=frozenset(ORGANS)))


def test_the_gate_lets_no_draft_pass_as_approved(tmp_path):
    write(tmp_path, EDITED)
    with pytest.raises(OutputError, match="ApprovalStatus is not as the review says"):
        gate.require_rtstruct(
            tmp_path / "rtstruct.dcm",
            LABELS,
            case=dicom_case(GRID),
            template=default_template(),
            organs=list(ORGANS),
        )
