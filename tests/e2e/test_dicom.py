"""From a folder of DICOM to a structure set: what a treatment-planning system has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hanseg_lab.phantom import make_case
from hanseg_shared.dicom.rtstruct_reader import read_structure_set
from hanseg_shared.volume import Volume
from tests.e2e.test_commands import run
from tests.io.dicom.made_series import write_series

OUTPUTS = ["rtstruct", "seg", "reg", "mr", "report"]


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CT's and an MR's series, as an archive exports them."""
    folder = tmp_path_factory.mktemp("patient")
    case = make_case(7, ct_spacing=(2.5, 2.5, 3.0), mr_spacing=(1.5, 1.5, 4.0))
    assert case.mr is not None
    for name, image in (("CT", case.ct), ("MR", case.mr)):
        (folder / name).mkdir()
        whole = np.rint(image.array).astype(np.int16)
        write_series(folder / name, Volume(whole, image.grid), name)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def out(stack, patient: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stack.wait_until_ready()
    folder = tmp_path_factory.mktemp("dicom") / "out"
    done = run("segment", patient, "--dicom", "--out", folder, "--url", stack.url)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_folder_of_ct_and_mr_gives_all_objects(out: Path):
    record = json.loads((out / "job.json").read_text())
    assert record["dicom"]["written"] == OUTPUTS, record["dicom"]
    for name in ("rtstruct.dcm", "seg.dcm", "reg.dcm", "report.dcm", "report.pdf"):
        assert (out / name).is_file(), name
    assert [each["format"] for each in record["inputs"]] == ["dicom", "dicom"]


def test_the_structures_are_the_organs_that_were_found(out: Path):
    record = json.loads((out / "job.json").read_text())
    found = {each["name"] for each in record["organs"] if each["volume_ml"] > 0}
    structures = read_structure_set(out / "rtstruct.dcm")
    assert "Brainstem" in {roi.name for roi in structures.rois}
    assert len(structures.rois) >= len(found) - 5  # a union needs all of its parts


def test_the_objects_are_the_patients_and_the_record_is_not(out: Path, patient: Path):
    for path in sorted(out.rglob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert (dataset.PatientName, dataset.PatientID) == ("Made^Patient", "P1")
    assert "Made^Patient" not in (out / "job.json").read_text()
    slices = len(list((patient / "CT").iterdir()))
    assert len(list((out / "mr_series").iterdir())) == slices


def test_dicom_is_refused_where_the_ct_is_none(stack, ct_alone, tmp_path):
    done = run(
        "segment", ct_alone.ct, "--dicom", "--out", tmp_path / "out",
        "--url", stack.url,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--dicom needs DICOM" in done.stderr
