"""What is written of a contoured case, what is left out, and that it is proved."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hanseg_shared.dicom import export
from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.export import ContouredCase, write_dicom_results
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.template import Structure, Template
from hanseg_shared.documents import (
    NATURAL_OUTPUTS,
    DicomOutput,
    DicomReport,
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
)
from hanseg_shared.errors import OutputError
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS, OrganStatus, organ
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case, identity, series_source

GRID = Grid((40, 38, 12), (1.5, 1.5, 3.0), (-30.0, -28.0, 5.0))
MR_GRID = Grid((20, 20, 10), (3.0, 3.0, 3.0), (-30.0, -28.0, 5.0))
TEMPLATE = Template(
    name="clinic",
    version=3,
    structures=(
        Structure(name="Parotid_L", organs=("Parotid_L",)),
        Structure(name="Eye_L", organs=("Eye_AL", "Eye_PL")),
    ),
)
SHIFT = np.array([[1.0, 0, 0, 4], [0, 1, 0, -2], [0, 0, 1, 1], [0, 0, 0, 1]])
ALL = tuple(output for output in DicomOutput if output is not DicomOutput.LABELMAP)


def labels(*, empty: bool = False) -> Volume:
    array = np.zeros(GRID.shape, dtype=np.uint8)
    if not empty:
        array[3:9, 10:20, 8:18] = organ("Parotid_L").label
        array[2:10, 24:28, 24:30] = organ("SpinalCord").label
    return Volume(array, GRID)


def contoured(
    verdict: MrVerdict = MrVerdict.USED, *, empty: bool = False
) -> ContouredCase:
    masks = labels(empty=empty)
    there = np.bincount(masks.array.ravel(), minlength=31) > 0
    mr = Volume(np.full(GRID.shape, 100, dtype=np.int16), GRID)
    has_mr = verdict is not MrVerdict.ABSENT
    return ContouredCase(
        ct=Volume(np.full(GRID.shape, 20, dtype=np.int16), GRID),
        labels=masks,
        organs=tuple(
            OrganResult(
                name=each.name,
                label=each.label,
                status=OrganStatus.CONTOURED
                if there[each.label]
                else OrganStatus.EMPTY,
            )
            for each in ORGANS
        ),
        model=ModelSummary(name="any", version="1", sha256="0" * 64),
        registration=RegistrationReport(verdict=verdict, reason=f"MR {verdict}: so"),
        mr=mr if has_mr else None,
        field_of_view=Volume(np.ones(GRID.shape, dtype=np.uint8), GRID)
        if has_mr
        else None,
        mr_from_ct=SHIFT if has_mr else None,
    )


def case(*, mr: bool = True) -> DicomCase:
    frame = "1.2.826.0.1.3680043.8.498.9"
    series = series_source(MR_GRID, modality="MR", frame_of_reference_uid=frame)
    return dicom_case(GRID, mr=series if mr else None)


def write(
    folder: Path,
    outputs: tuple[DicomOutput, ...],
    of: ContouredCase,
    whose: DicomCase | None = None,
) -> DicomReport:
    folder.mkdir(exist_ok=True)
    return write_dicom_results(
        folder, outputs, of, case=whose or case(), template=TEMPLATE
    )


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_object_that_is_asked_for_is_written(tmp_path):
    report = write(tmp_path, ALL, contoured())
    assert (report.written, report.left_out) == (ALL, {})
    assert report.template == "clinic@3"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "rtstruct.dcm", "seg.dcm", "reg.dcm", "mr_series", "report.dcm", "report.pdf",
    }  # fmt: skip
    assert len(list((tmp_path / "mr_series").iterdir())) == GRID.size[2]


def test_a_structure_that_is_left_out_is_told(tmp_path):
    report = write(tmp_path, (DicomOutput.RTSTRUCT,), contoured())
    (remark,) = report.remarks
    assert "no Eye_L" in remark


def test_the_same_job_gives_the_same_bytes(tmp_path):
    write(tmp_path / "one", ALL, contoured())
    write(tmp_path / "two", ALL, contoured())
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


@pytest.mark.parametrize(
    ("verdict", "says"),
    [(MrVerdict.REJECTED, "was rejected"), (MrVerdict.ABSENT, "no MR was sent")],
)
def test_an_mr_that_cannot_be_trusted_is_not_handed_on(tmp_path, verdict, says):
    asked = (DicomOutput.REG, DicomOutput.MR)
    report = write(tmp_path, asked, contoured(verdict))
    assert report.written == ()
    assert set(report.left_out) == set(asked)
    assert all(says in why for why in report.left_out.values())
    assert list(tmp_path.iterdir()) == []


def test_a_deformation_has_no_registration_object(tmp_path):
    deformed = replace(contoured(), mr_from_ct=None)
    report = write(tmp_path, (DicomOutput.REG, DicomOutput.MR), deformed)
    assert report.written == (DicomOutput.MR,)
    assert "deformed" in report.left_out[DicomOutput.REG]


def test_an_mr_that_was_no_dicom_has_no_registration_object(tmp_path):
    report = write(tmp_path, (DicomOutput.REG,), contoured(), case(mr=False))
    assert "did not come as DICOM" in report.left_out[DicomOutput.REG]


def test_a_case_without_organs_has_a_report_and_no_structure_set(tmp_path):
    asked = (DicomOutput.RTSTRUCT, DicomOutput.SEG, DicomOutput.REPORT)
    report = write(tmp_path, asked, contoured(MrVerdict.ABSENT, empty=True))
    assert report.written == (DicomOutput.REPORT,)
    assert "cannot be empty" in report.left_out[DicomOutput.RTSTRUCT]
    assert "no organ" in report.left_out[DicomOutput.SEG]


def test_nothing_is_written_where_nothing_is_asked_for(tmp_path):
    assert write(tmp_path, (), contoured()).written == ()


def test_an_object_that_says_something_else_is_an_error(tmp_path, monkeypatch):
    def shift(path, wrong, **keywords):
        moved = Volume(np.roll(wrong.array, 4, axis=2), wrong.grid)
        return write_rtstruct(path, moved, **keywords)

    monkeypatch.setattr(export, "write_rtstruct", shift)
    with pytest.raises(OutputError, match="Parotid_L"):
        write(tmp_path, (DicomOutput.RTSTRUCT,), contoured())


def test_headers_that_break_a_rule_withhold_no_contours_and_are_not_logged(
    tmp_path, caplog
):
    whose = identity()
    odd = {
        "00080050": {"vr": "SH", "Value": ["A" * 20]},
        "00100030": {"vr": "DA", "Value": ["1970-01-02"]},
    }
    broken = whose.model_copy(update={"attributes": whose.attributes | odd})
    series = series_source(MR_GRID, modality="MR")
    report = write(
        tmp_path,
        NATURAL_OUTPUTS,
        contoured(),
        dicom_case(GRID, mr=series, whose=broken),
    )
    assert DicomOutput.RTSTRUCT in report.written
    assert caplog.messages == []
    written = pydicom.dcmread(tmp_path / "rtstruct.dcm")
    assert written.get_item("PatientBirthDate").value.strip() == b"1970-01-02"
