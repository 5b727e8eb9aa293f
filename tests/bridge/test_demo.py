"""The demonstration's DICOM, and what it says where it cannot run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from hanseg_lab.demo import orthanc_server
from hanseg_lab.demo.dicom_demo import DicomDemoCase
from hanseg_lab.demo.dicom_patient import DicomPatient, write_ct, write_mr
from hanseg_lab.demo.orthanc_server import require_programs
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.volume import Volume
from tests.grids import AXIAL, OBLIQUE

PATIENT = DicomPatient("A^B", "1")


def test_a_ct_keeps_its_values_and_its_place(tmp_path: Path):
    values = np.arange(np.prod(AXIAL.shape)).reshape(AXIAL.shape) - 900.0
    files = [
        pydicom.dcmread(p) for p in write_ct(Volume(values, AXIAL), tmp_path, PATIENT)
    ]
    read = np.stack(
        [f.pixel_array * f.RescaleSlope + f.RescaleIntercept for f in files]
    )
    np.testing.assert_array_equal(read, values)
    for index, file in enumerate(files):
        np.testing.assert_allclose(
            file.ImagePositionPatient, AXIAL.index_to_world((0, 0, index)), atol=1e-6
        )
    assert list(files[0].PixelSpacing) == [AXIAL.spacing[1], AXIAL.spacing[0]]


def test_an_mr_may_lie_aslant(tmp_path: Path):
    mr = Volume(np.ones(OBLIQUE.shape), OBLIQUE)
    file = pydicom.dcmread(write_mr(mr, tmp_path, PATIENT)[0])
    direction = np.array(OBLIQUE.direction)
    np.testing.assert_allclose(
        file.ImageOrientationPatient, direction[:, :2].T.ravel(), atol=1e-6
    )


def test_an_mr_beyond_twelve_bits_is_scaled(tmp_path: Path):
    values = np.linspace(0, 90_000, np.prod(AXIAL.shape)).reshape(AXIAL.shape)
    files = write_mr(Volume(values, AXIAL), tmp_path, PATIENT)
    assert pydicom.dcmread(files[-1]).pixel_array.max() == 4095


def test_the_same_patient_is_the_same_instances(tmp_path: Path):
    volume = Volume(np.zeros(AXIAL.shape), AXIAL)
    for name in ("a", "b"):
        write_ct(volume, tmp_path / name, PATIENT)
    first, again = (sorted((tmp_path / n).iterdir()) for n in ("a", "b"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


def test_without_orthanc_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(orthanc_server, "STORESCU", Path("/nowhere/storescu"))
    with pytest.raises(ServiceUnavailableError, match="apt-get install orthanc dcmtk"):
        require_programs()


def test_a_patient_without_mr_comes_back_without_registration():
    case = DicomDemoCase("a head", "head", Path("ct.nii"))
    assert set(case.wanted) == {"RTSTRUCT"}
