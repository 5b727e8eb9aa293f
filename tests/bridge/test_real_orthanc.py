"""The bridge beside Debian's Orthanc; only the contouring service is a fake."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hanseg_dicom.bridge import Bridge
from hanseg_dicom.errors import (
    NotInOrthancError,
    OrthancAccessError,
    OrthancRefusedError,
)
from hanseg_dicom.orthanc import Orthanc
from hanseg_dicom.records import CaseState
from hanseg_dicom.settings import BridgeSettings
from hanseg_lab.demo.dicom_patient import DicomPatient, write_ct, write_mr
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume
from tests.bridge.fake_service import FakeService, files_in
from tests.bridge.real_orthanc import RealOrthanc, find_orthanc

pytestmark = [pytest.mark.orthanc, pytest.mark.xdist_group("orthanc")]

PATIENCE_SECONDS = 30.0
SLICES = 6


@pytest.fixture(scope="module")
def orthanc() -> Iterator[RealOrthanc]:
    found = find_orthanc()
    found.empty()
    yield found
    found.empty()


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def bridge(
    orthanc: RealOrthanc, service: FakeService, tmp_path: Path
) -> Iterator[Bridge]:
    settings = BridgeSettings.model_validate(
        {
            "data": tmp_path,
            "minimal_slices": SLICES,
            "HANSEG_URL": "http://service",
            "poll_seconds": 0.01,
            **orthanc.settings,
        }
    )
    found = Bridge(settings, service=service.transport)
    found.round()
    yield found
    found.close()


def images(folder: Path, patient: str) -> Path:
    """Write a small CT and MR of a patient."""
    grid = Grid((8, 8, SLICES), (20.0, 20.0, 3.0))
    noise = np.random.default_rng(1).integers(-900, 900, grid.shape).astype("f4")
    whose = DicomPatient("Test^Patient", patient)
    write_ct(Volume(noise, grid), folder / "ct", whose)
    write_mr(Volume(noise + 900, grid), folder / "mr", whose)
    return folder


def run_until_done(bridge: Bridge, cases: int = 1) -> None:
    """Do rounds until so many cases have ended; Orthanc's own pace is waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        bridge.round()
        if len(bridge.ledger.cases(CaseState.DONE)) == cases:
            return
        time.sleep(0.05)
    pytest.fail(f"not done: {bridge.ledger.cases()}")


def instances_of(orthanc: RealOrthanc, patient: str) -> dict[str, list[str]]:
    """Return the SOP Instance UIDs that Orthanc has of a patient, by modality."""
    query = {"Level": "Instance", "Expand": True, "Query": {"PatientID": patient}}
    found: dict[str, list[str]] = {}
    with orthanc.client() as client:
        for each in client.post("/tools/find", json=query).raise_for_status().json():
            series = client.get(f"/series/{each['ParentSeries']}").json()
            modality = series["MainDicomTags"]["Modality"]
            uid = each["MainDicomTags"]["SOPInstanceUID"]
            found.setdefault(modality, []).append(uid)
    return found


def test_ct_and_mr_sent_by_dicom_come_back_as_results(
    orthanc: RealOrthanc, bridge: Bridge, service: FakeService, tmp_path: Path
):
    orthanc.send(images(tmp_path / "send", "one"))
    run_until_done(bridge)
    found = instances_of(orthanc, "one")
    assert {modality: len(uids) for modality, uids in found.items()} == {
        "CT": SLICES,
        "MR": SLICES,
        "RTSTRUCT": 1,
        "REG": 1,
    }
    (sent,) = service.sent.values()
    assert sorted(str(e.SOPInstanceUID) for e in files_in(sent["ct"])) == sorted(
        found["CT"]
    )
    orthanc.send(tmp_path / "send")  # once more, all of it
    settle(bridge)
    assert len(service.jobs) == 1


def settle(bridge: Bridge) -> None:
    """Do rounds until Orthanc tells nothing new for longer than its series settle."""
    quiet_since, seen = time.monotonic(), bridge.ledger.fact("since")
    while time.monotonic() < quiet_since + 3.0:
        bridge.round()
        if bridge.ledger.fact("since") != seen:
            quiet_since, seen = time.monotonic(), bridge.ledger.fact("since")
        time.sleep(0.05)


def test_a_bridge_that_was_away_does_what_arrived_meanwhile(
    orthanc: RealOrthanc, bridge: Bridge, service: FakeService, tmp_path: Path
):
    bridge.close()
    orthanc.send(images(tmp_path / "send", "two"))
    settings = BridgeSettings.model_validate(
        {
            "data": tmp_path,
            "minimal_slices": SLICES,
            "HANSEG_URL": "http://service",
            **orthanc.settings,
        }
    )
    another = Bridge(settings, service=service.transport)
    try:
        run_until_done(another)
    finally:
        another.close()
    assert set(instances_of(orthanc, "two")) == {"CT", "MR", "RTSTRUCT", "REG"}


def test_a_wrong_password_is_told(orthanc: RealOrthanc):
    stranger = Orthanc(orthanc.settings["orthanc_url"], user="hanseg", password="wrong")
    with pytest.raises(OrthancAccessError):
        stranger.last_change()
    stranger.close()


def test_a_destination_that_does_not_listen_is_told(
    orthanc: RealOrthanc, tmp_path: Path
):
    with orthanc.client() as client:
        nowhere = {"AET": "NOWHERE", "Host": "127.0.0.1", "Port": 1}
        client.put("/modalities/NOWHERE", json=nowhere).raise_for_status()
    found = Orthanc(
        orthanc.settings["orthanc_url"],
        user=orthanc.settings["orthanc_user"],
        password=orthanc.settings["orthanc_password"],
    )
    path = write_ct(
        Volume(np.zeros((1, 8, 8)), Grid((8, 8, 1))), tmp_path, DicomPatient("A", "3")
    )[0]
    instance = found.store(path)
    with pytest.raises(OrthancRefusedError, match="NOWHERE did not take them"):
        found.send("NOWHERE", [instance])
    with pytest.raises(NotInOrthancError):
        found.send("UNKNOWN", [instance])
    found.close()
