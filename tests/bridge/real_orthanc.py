"""The Orthanc server that `.ci/services.sh` starts for the tests."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

STORESCU = Path("/usr/bin/storescu")
"""dcmtk's, by its full path: pynetdicom puts a program of that name beside Python."""

NO_REUSE = httpx.Limits(max_keepalive_connections=0)
"""Orthanc closes a connection after a second, perhaps just when it is used again."""


@dataclass(frozen=True, slots=True)
class RealOrthanc:
    """A running Orthanc.

    Attributes:
        url: Its REST API, with user and password.
        dicom: ``AET@HOST:PORT``.
    """

    url: str
    dicom: str

    @property
    def settings(self) -> dict[str, Any]:
        """What the bridge must know of it."""
        url = httpx.URL(self.url)
        return {
            "orthanc_url": str(url.copy_with(userinfo=b"")),
            "orthanc_user": url.username,
            "orthanc_password": url.password,
        }

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, trust_env=False, timeout=30.0, limits=NO_REUSE
        )

    def send(self, folder: Path) -> None:
        """Send every file below a folder by DICOM."""
        aet, _, place = self.dicom.partition("@")
        host, _, port = place.partition(":")
        command = [STORESCU, "--required", "--call", aet]
        command += ["--scan-directories", "--recurse"]
        done = subprocess.run(
            [*map(str, command), host, port, str(folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    def empty(self) -> None:
        """Delete every patient."""
        with self.client() as client:
            for patient in client.get("/patients").raise_for_status().json():
                client.delete(f"/patients/{patient}").raise_for_status()


def find_orthanc() -> RealOrthanc:
    """Return the server of the tests; skips where there is none."""
    url = os.environ.get("HANSEG_TEST_ORTHANC_URL")
    dicom = os.environ.get("HANSEG_TEST_ORTHANC_DICOM")
    if not url or not dicom:
        pytest.skip("no Orthanc: HANSEG_TEST_ORTHANC_URL names none")
    if not STORESCU.exists():
        pytest.skip("dcmtk's storescu is not installed")
    return RealOrthanc(url, dicom)
