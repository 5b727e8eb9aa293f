"""Every object that is written, sent to a real Orthanc and to dcmtk's dcmdump."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from hanseg_shared.documents import DicomOutput
from tests.bridge.real_orthanc import RealOrthanc, find_orthanc
from tests.dicom.test_export import ALL, contoured, write
from tests.dicom.tools import program

pytestmark = [
    pytest.mark.orthanc,
    pytest.mark.dicom,
    pytest.mark.xdist_group("orthanc"),
]


@pytest.fixture
def orthanc() -> Iterator[RealOrthanc]:
    found = find_orthanc()
    found.empty()
    yield found
    found.empty()


def uids_in(orthanc: RealOrthanc) -> set[str]:
    with orthanc.client() as client:
        answer = client.get("/instances", params={"expand": ""}).raise_for_status()
        return {each["MainDicomTags"]["SOPInstanceUID"] for each in answer.json()}


def uids_of(folder: Path) -> set[str]:
    return {str(pydicom.dcmread(path).SOPInstanceUID) for path in objects(folder)}


def objects(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.dcm"))


def test_all_are_taken_by_dimse_and_read_by_dcmdump(orthanc, tmp_path):
    write(tmp_path, ALL, contoured())
    (tmp_path / "report.pdf").unlink()
    orthanc.send(tmp_path)
    assert uids_in(orthanc) == uids_of(tmp_path)
    for path in objects(tmp_path):
        dump = [program("dcmdump"), "-q", str(path)]
        assert not subprocess.run(dump, capture_output=True, check=True).stderr


def test_a_label_map_is_taken_over_http(orthanc, tmp_path):
    write(tmp_path, (DicomOutput.LABELMAP,), contoured())
    (path,) = objects(tmp_path)
    with orthanc.client() as client:
        client.post("/instances", content=path.read_bytes()).raise_for_status()
    assert uids_in(orthanc) == uids_of(tmp_path)
