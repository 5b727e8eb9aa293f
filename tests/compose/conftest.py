"""The containers for these tests: built, started and thrown away for real."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hanseg_lab.phantom import PhantomCase, make_case
from hanseg_shared.io import write_volume
from tests.compose.containers import Containers, answers

BUILD_SECONDS = 1800.0
START_SECONDS = 300.0


@pytest.fixture(scope="session")
def compose_command() -> None:
    if not answers("docker", "compose", "version"):
        pytest.skip("docker compose is not installed")


@pytest.fixture(scope="session")
def engine(compose_command: None) -> None:
    if not answers("docker", "info"):
        pytest.skip("no Docker engine answers to `docker info`")


@pytest.fixture(scope="session")
def containers(engine: None) -> Iterator[Containers]:
    name = f"hanseg-test-{uuid.uuid4().hex[:8]}"
    # ports of our own: one that the engine chooses is another after a restart
    api, dicom, orthanc, tls, plain = free_ports(5)
    found = Containers(
        name,
        {
            "COMPOSE_PROFILES": "cpu,orthanc,tls",
            "HANSEG_PUBLISH": f"127.0.0.1:{api}",
            "HANSEG_DICOM_PUBLISH": f"127.0.0.1:{dicom}",
            "HANSEG_ORTHANC_PUBLISH": f"127.0.0.1:{orthanc}",
            "HANSEG_TLS_PUBLISH": f"127.0.0.1:{tls}",
            "HANSEG_TLS_PORT": f"{tls}",
            "HANSEG_TLS_REDIRECT_PUBLISH": f"127.0.0.1:{plain}",
            "HANSEG_TAG": name,
        },
    )
    assert found.volumes() == []
    try:
        found.compose("build", seconds=BUILD_SECONDS)
        found.compose(
            *("up", "--detach", "--wait", "--wait-timeout", f"{START_SECONDS:.0f}"),
            seconds=START_SECONDS + 60,
        )
        yield found
    finally:
        _keep_logs(found)
        found.compose("down", "--volumes", "--rmi", "all", "--timeout", "5")


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _keep_logs(containers: Containers) -> None:
    """Write the logs to the folder that is named for them, before they are lost."""
    folder = os.environ.get("HANSEG_TEST_LOGS")
    if folder:
        path = Path(folder) / f"{containers.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(containers.compose("logs", "--no-color", "--timestamps"))


@pytest.fixture(scope="session")
def api(containers: Containers) -> Iterator[httpx.Client]:
    address = containers.compose("port", "api", "8000").strip()
    key = containers.compose("exec", "api", "cat", "/var/lib/hanseg/first-key").strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(
        base_url=f"http://{address}", timeout=90.0, headers=headers
    ) as client:
        yield client


@pytest.fixture(scope="session")
def case() -> PhantomCase:
    return make_case(3, ct_spacing=(2.0, 2.0, 3.0), mr_spacing=(1.5, 1.5, 3.0))


@pytest.fixture(scope="session")
def images(case: PhantomCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the case's ``ct.nii.gz`` and ``mr.nrrd``."""
    folder = tmp_path_factory.mktemp("case")
    assert case.mr is not None
    write_volume(case.ct, folder / "ct.nii.gz")
    write_volume(case.mr, folder / "mr.nrrd")
    return folder
