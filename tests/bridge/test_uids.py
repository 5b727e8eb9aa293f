"""The series of a DICOM file, read without a DICOM library."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hanseg_dicom.uids import series_uid_of
from hanseg_shared.dicom.registration_object import write_registration
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.documents import DicomOutput, OrganResult
from hanseg_shared.errors import OutputError
from hanseg_shared.organs import OrganStatus, organ
from tests.bridge.dicom_files import dicom_file, uid_of
from tests.dicom.cases import dicom_case, series_source
from tests.dicom.organs_map import GRID, MODEL, ORGANS, organs_map

CASE = dicom_case(GRID, mr=series_source(GRID, modality="MR"))


def structures(path: Path) -> None:
    found = tuple(
        OrganResult(name=n, label=organ(n).label, status=OrganStatus.CONTOURED)
        for n in ORGANS
    )
    write_rtstruct(
        path,
        organs_map(),
        case=CASE,
        template=default_template(),
        organs=found,
        model=MODEL,
    )


def segmentation(path: Path, kind: DicomOutput = DicomOutput.SEG) -> None:
    write_segmentation(
        path, organs_map(), case=CASE, organs=ORGANS, model=MODEL, kind=kind
    )


def label_map(path: Path) -> None:
    segmentation(path, DicomOutput.LABELMAP)


def registration(path: Path) -> None:
    write_registration(path, np.eye(4), case=CASE)


@pytest.mark.parametrize("write", [structures, segmentation, label_map, registration])
def test_what_the_service_writes_is_read(tmp_path: Path, write: Callable[[Path], None]):
    path = tmp_path / "x.dcm"
    write(path)
    found = pydicom.dcmread(path, stop_before_pixels=True)
    assert series_uid_of(path) == found.SeriesInstanceUID


def test_sequences_before_it_are_passed_over(tmp_path: Path):
    path = tmp_path / "rtstruct.dcm"
    path.write_bytes(dicom_file("RTSTRUCT", "a"))
    assert series_uid_of(path) == uid_of("study", "a")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_nested_sequences_are_passed_over(tmp_path: Path, undefined: bool, syntax: UID):
    inner, outer = Dataset(), Dataset()
    inner.SeriesInstanceUID = "1.9"
    inner.is_undefined_length_sequence_item = undefined
    outer.ReferencedInstanceSequence = Sequence([inner])
    outer.ReferencedInstanceSequence.is_undefined_length = undefined
    outer.SeriesInstanceUID = "1.8"
    file = pydicom.dcmread(BytesIO(dicom_file("RTSTRUCT", "a")))
    file.ReferencedSeriesSequence = Sequence([outer, outer])
    file.ReferencedSeriesSequence.is_undefined_length = not undefined
    file.file_meta.TransferSyntaxUID = syntax
    implicit = syntax == ImplicitVRLittleEndian
    file.save_as(tmp_path / "x.dcm", implicit_vr=implicit, little_endian=True)
    assert series_uid_of(tmp_path / "x.dcm") == uid_of("study", "a")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        dicom_file("CT", "a")[:200],
        b"\0" * 128 + b"DICM" + b"\xff" * 9,
    ],
)
def test_what_is_no_dicom_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "reg.dcm").write_bytes(content)
    with pytest.raises(OutputError, match=r"^reg.dcm of the results"):
        series_uid_of(tmp_path / "reg.dcm")
