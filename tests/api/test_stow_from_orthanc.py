"""A real Orthanc as the sender of STOW-RS: both sides understand each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bridge.real_orthanc import RealOrthanc, find_orthanc
from tests.io.dicom.made_series import made_grid, made_uid, made_volume, write_series

pytestmark = pytest.mark.orthanc


@pytest.fixture
def orthanc():
    found = find_orthanc()
    found.empty()
    yield found
    found.empty()


def test_orthanc_sends_a_study_and_is_satisfied(
    orthanc: RealOrthanc, running, services, tmp_path: Path
):
    volume = made_volume(made_grid(size=(16, 16, 12)), lowest=0)
    folder = tmp_path / "patient"
    folder.mkdir()
    write_series(folder, volume, "CT")
    write_series(folder, volume, "MR")
    orthanc.send(folder)
    with orthanc.client() as client:
        server = {"Url": f"http://127.0.0.1:{running.port}/v1/dicom-web/"}
        client.put("/dicom-web/servers/contours", json=server).raise_for_status()
        (study,) = client.get("/studies").json()
        asked = {"Resources": [study], "Synchronous": True}
        for _ in range(2):
            sent = client.post("/dicom-web/servers/contours/stow", json=asked)
            assert sent.status_code == 200, sent.text
    stored = services.tables.dicom_instances.list_study(made_uid("study", "1"))
    assert len(stored) == 24
