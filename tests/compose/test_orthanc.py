"""What is sent by DICOM to the Orthanc in the containers comes back as contours."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hanseg_lab.demo.dicom_patient import DicomPatient, write_ct, write_mr
from hanseg_lab.phantom import PhantomCase
from tests.bridge.real_orthanc import NO_REUSE, STORESCU
from tests.compose.containers import Containers, run
from tests.compose.test_compose import PATIENCE_SECONDS

pytestmark = [pytest.mark.compose, pytest.mark.xdist_group("compose")]

PATIENT = DicomPatient("Compose^Test", "compose")

STATUS = ("hanseg", "bridge", "status")

LOOK_SECONDS = 1.0


@pytest.fixture(scope="module")
def password(containers: Containers) -> str:
    path = "/run/orthanc/hanseg_bridge_orthanc_password"
    return run("docker", "exec", containers.ids()["orthanc"], "cat", path)


@pytest.fixture(scope="module")
def orthanc(containers: Containers, password: str) -> Iterator[httpx.Client]:
    address = containers.compose("port", "orthanc", "8042").strip()
    with httpx.Client(
        base_url=f"http://{address}",
        auth=("hanseg", password),
        timeout=60.0,
        limits=NO_REUSE,
    ) as client:
        yield client


@pytest.fixture(scope="module")
def sent(
    containers: Containers,
    case: PhantomCase,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """CT and MR of a simulated patient, sent by DICOM."""
    if not STORESCU.exists():
        pytest.skip("dcmtk's storescu is not installed")
    folder = tmp_path_factory.mktemp("dicom")
    assert case.mr is not None
    write_ct(case.ct, folder / "ct", PATIENT)
    write_mr(case.mr, folder / "mr", PATIENT)
    send(containers, folder)


def send(containers: Containers, folder: Path) -> None:
    host, port = containers.compose("port", "orthanc", "4242").strip().split(":")
    command = [str(STORESCU), "--call", "ORTHANC", "--scan-directories", "--recurse"]
    subprocess.run([*command, host, port, str(folder)], check=True, timeout=120)


def wait_for(orthanc: httpx.Client, modality: str) -> list[dict[str, Any]]:
    """Return the tags of the patient's instances of a modality once there are any."""
    query = {"PatientID": PATIENT.patient_id, "Modality": modality}
    asked = {"Level": "Instance", "Query": query}
    limit = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < limit:
        found = orthanc.post("/tools/find", json=asked).raise_for_status().json()
        if found:
            return [
                orthanc.get(f"/instances/{each}/simplified-tags").json()
                for each in found
            ]
        time.sleep(LOOK_SECONDS)
    pytest.fail(f"no {modality} in Orthanc after {PATIENCE_SECONDS} s")


def test_ct_and_mr_come_back_as_a_structure_set(sent: None, orthanc: httpx.Client):
    (structures,) = wait_for(orthanc, "RTSTRUCT")
    assert structures["StudyInstanceUID"] == PATIENT.uid()
    assert structures["PatientName"] == PATIENT.name
    assert len(structures["StructureSetROISequence"]) > 1


def test_the_bridge_has_nothing_under_way_then(
    sent: None, orthanc: httpx.Client, containers: Containers
):
    wait_for(orthanc, "RTSTRUCT")
    limit = time.monotonic() + 60.0
    while time.monotonic() < limit:
        status = run("docker", "exec", containers.ids()["bridge"], *STATUS)
        if "0 under way, 0 failed, 1 done" in status:
            return
        time.sleep(LOOK_SECONDS)
    pytest.fail(status)


def test_orthanc_asks_for_a_password(orthanc: httpx.Client):
    assert httpx.get(f"{orthanc.base_url}/system").status_code == 401


def test_its_password_is_neither_in_the_environment_nor_in_the_logs(
    containers: Containers, password: str
):
    assert len(password) == 64
    assert password not in containers.compose("logs", "orthanc", "bridge")
    for service in ("orthanc", "bridge"):
        assert password not in str(containers.inspect(service))


def test_the_bridge_logs_nothing_of_the_patient(
    sent: None, orthanc: httpx.Client, containers: Containers
):
    wait_for(orthanc, "RTSTRUCT")
    logs = containers.compose("logs", "bridge", "api", "segmentation", "registration")
    assert "are in Orthanc" in logs
    assert "Compose" not in logs
    assert PATIENT.uid() not in logs
