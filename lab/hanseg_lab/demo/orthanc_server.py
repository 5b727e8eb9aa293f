"""Debian's Orthanc, and dcmtk's `storescu`, for the time of the demonstration."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.stack.children import Child
from hanseg_shared.stack.redis_server import free_port

STORESCU = Path("/usr/bin/storescu")
"""dcmtk's, by its full path: pynetdicom puts a program of that name beside Python."""

AET = "ORTHANC"
USER = "hanseg"

STABLE_SECONDS = 2
"""After so many seconds without a new image, a series is complete."""

START_SECONDS = 30.0


def require_programs() -> None:
    """Raise unless Orthanc and dcmtk are installed.

    Raises:
        ServiceUnavailableError: One is missing.
    """
    has = {"orthanc": shutil.which("Orthanc"), "dcmtk": STORESCU.exists()}
    missing = [name for name, found in has.items() if not found]
    if missing:
        raise ServiceUnavailableError(
            f"this demonstration needs Debian's {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed; install with: "
            f"apt-get install {' '.join(missing)}"
        )


@dataclass(frozen=True, slots=True)
class OrthancServer:
    """A running Orthanc of this machine.

    Attributes:
        http: Port of its REST API.
        dicom: Port on which it takes images.
    """

    http: int
    dicom: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Its REST API."""
        return f"http://127.0.0.1:{self.http}"

    def send(self, folder: Path) -> None:
        """Send every file below a folder by DICOM.

        Raises:
            ServiceUnavailableError: Orthanc does not take them.
        """
        command = [STORESCU, "--call", AET, "--scan-directories", "--recurse"]
        done = subprocess.run(
            [*map(str, command), "127.0.0.1", str(self.dicom), str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ServiceUnavailableError(f"storescu could not send: {reason}")

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return what its REST API answers."""
        return self._http("GET", path).json()

    def find(self, patient_id: str, modality: str) -> list[str]:
        """Return its identifiers of a patient's instances of a modality."""
        found = self._http(
            "POST",
            "/tools/find",
            json={
                "Level": "Instance",
                "Query": {"PatientID": patient_id, "Modality": modality},
            },
        ).json()
        return [str(each) for each in found]

    def file(self, instance: str) -> bytes:
        """Return an instance's DICOM file."""
        return self._http("GET", f"/instances/{instance}/file").content

    def _http(self, method: str, path: str, **arguments: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        try:
            answer = httpx.request(
                method,
                f"{self.url}{path}",
                auth=(USER, self.password),
                timeout=30.0,
                trust_env=False,
                **arguments,
            )
            return answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceUnavailableError(f"Orthanc: {error}") from error


@contextmanager
def running_orthanc(folder: Path) -> Iterator[OrthancServer]:
    """Run an Orthanc that keeps everything in a folder, for the time of a block.

    Raises:
        ServiceUnavailableError: It does not start; the message says where its log is.
    """
    server = OrthancServer(free_port(), free_port(), secrets.token_urlsafe(24))
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "orthanc.json"
    configuration.touch(mode=0o600)
    configuration.write_text(json.dumps(_configuration(server, folder), indent=2))
    program = str(shutil.which("Orthanc"))
    log = folder / "orthanc.log"
    child = Child("orthanc", [program, str(configuration)], dict(os.environ), log)
    child.start()
    try:
        _wait_until_it_answers(server, child)
        yield server
    finally:
        child.terminate()
        child.wait(time.monotonic() + START_SECONDS)


def _configuration(server: OrthancServer, folder: Path) -> dict[str, object]:
    return {
        "Name": "demonstration",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": server.http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: server.password},
        "DicomAet": AET,
        "DicomPort": server.dicom,
        "StableAge": STABLE_SECONDS,
        "UnknownSopClassAccepted": True,
    }


def _wait_until_it_answers(server: OrthancServer, child: Child) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            server.get("/system")
        except ServiceUnavailableError:
            time.sleep(0.2)
        else:
            return
    raise ServiceUnavailableError(f"Orthanc does not start; see {child.log}")
