"""What containers may not do, tried; and what is killed comes back."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from hanseg_shared.documents import JobState
from tests.compose.containers import Containers, answers, run, wait_until_healthy
from tests.compose.test_compose import (
    PYTHON_SERVICES,
    SERVICES,
    finished,
    submit,
    wait_until_claimed,
)

pytestmark = [pytest.mark.compose, pytest.mark.xdist_group("compose")]

ON_THE_ROAD = ("redis", "api", "sweep", "registration", "segmentation")
"""The containers that a job needs, or that work on its files."""


def sh(
    containers: Containers, service: str, script: str, *, user: str | None = None
) -> subprocess.CompletedProcess[str]:
    options = ["--user", user] if user else []
    command = ["docker", "exec", *options, containers.ids()[service]]
    return subprocess.run(
        [*command, "sh", "-c", script],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
def test_nobody_writes_to_the_root_file_system(containers: Containers, service: str):
    tried = sh(containers, service, "touch /var/tmp/x; touch /tmp/x && echo may")
    assert "Read-only file system" in tried.stderr
    assert tried.stdout == "may\n"  # the control: elsewhere it can


@pytest.mark.parametrize("service", SERVICES)
def test_not_even_root_could_do_much(containers: Containers, service: str):
    """No capability, nothing executable in /tmp, no way to become another user."""
    status = sh(containers, service, "grep -E 'Cap(Eff|Bnd)|NoNewPrivs' /proc/1/status")
    assert sorted(status.stdout.split()) == sorted(
        ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]
    )
    run_it = "cp /bin/true /tmp/own && /tmp/own"
    assert "Permission denied" in sh(containers, service, run_it).stderr
    tried = sh(containers, service, "touch /etc/x; chown 1 /tmp; id -u", user="0")
    assert tried.stdout.strip() == "0"
    assert "Read-only file system" in tried.stderr
    assert "not permitted" in tried.stderr


@pytest.mark.parametrize("service", [*PYTHON_SERVICES, "sweep"])
def test_no_part_reaches_out(containers: Containers, service: str):
    code = (
        "import socket\n"
        "for address in ('redis', 6379), ('1.1.1.1', 53), ('8.8.8.8', 443):\n"
        "    try:\n"
        "        socket.create_connection(address, timeout=3)\n"
        "        print('yes')\n"
        "    except OSError:\n"
        "        print('no')\n"
    )  # the first is the control: it would reach what there is
    assert containers.python(service, code).stdout.split() == ["yes", "no", "no"]


@pytest.mark.parametrize("service", ["bridge", "sweep", "api"])
def test_the_broker_opens_to_nobody_without_its_password(
    containers: Containers, service: str
):
    code = (
        "import socket\n"
        "s = socket.create_connection(('redis', 6379), timeout=5)\n"
        "s.sendall(b'KEYS *\\r\\nAUTH hanseg guess\\r\\nAUTH guess\\r\\n')\n"
        "s.settimeout(2)\n"
        "got = b''\n"
        "while got.count(b'\\r\\n') < 3: got += s.recv(4096)\n"
        "print(got.decode())\n"
    )
    answered = containers.python(service, code).stdout.splitlines()
    words = [line.split()[0] for line in answered if line.strip()]
    assert words == ["-NOAUTH", "-WRONGPASS", "-WRONGPASS"]


def test_the_bridge_has_no_password_of_the_broker(containers: Containers):
    found = sh(containers, "bridge", "cat /run/hanseg/hanseg_broker_url /run/hanseg/*")
    assert "redis://" not in found.stdout
    assert "No such file" in found.stderr


def test_the_proxy_reaches_the_api_and_no_broker(containers: Containers):
    networks = containers.inspect("redis")["NetworkSettings"]["Networks"].values()
    for address in [each["IPAddress"] for each in networks]:
        tried = sh(containers, "tls", f"curl -v -m 3 telnet://{address}:6379")
        assert "Connected to" not in tried.stderr
    tried = sh(containers, "tls", "curl -v -m 3 telnet://api:8000")
    assert "Connected to api" in tried.stderr


def test_another_key_reads_nothing_of_a_job(
    containers: Containers, api: httpx.Client, sent: str
):
    made = sh(containers, "api", f"hanseg keys create --owner {secrets.token_hex(4)}")
    key = next(word for word in made.stdout.split() if word.startswith("hanseg_"))
    other = {"Authorization": f"Bearer {key}"}
    for path in ("", "/results", "/results/segmentation.nii.gz", "/events"):
        answer = api.get(f"/v1/jobs/{sent}{path}", headers=other)
        assert answer.status_code == 404, path
    assert api.get("/v1/jobs", headers=other).json()["jobs"] == []
    assert api.delete(f"/v1/jobs/{sent}", headers=other).status_code == 404
    assert api.get(f"/v1/jobs/{sent}").status_code == 200


@pytest.fixture(scope="module")
def sent(api: httpx.Client, images: Path) -> str:
    """A job that nothing disturbs."""
    return str(submit(api, images)["id"])


@pytest.fixture(scope="module")
def undisturbed(api: httpx.Client, sent: str) -> bytes:
    """What a job makes of the images while nothing is killed."""
    return contours(api, finished(api, sent))


def contours(api: httpx.Client, job: dict[str, Any]) -> bytes:
    assert job["state"] == "succeeded", job["error"]
    path = f"/v1/jobs/{job['id']}/results/segmentation.nii.gz"
    return api.get(path).raise_for_status().content


@pytest.mark.parametrize("service", ON_THE_ROAD)
def test_a_job_ends_right_whichever_container_dies(
    containers: Containers,
    api: httpx.Client,
    images: Path,
    undisturbed: bytes,
    service: str,
):
    job_id = submit(api, images)["id"]
    during = {"registration": JobState.REGISTERING}.get(service, JobState.SEGMENTING)
    wait_until_claimed(api, job_id, during)
    kill_and_wait(containers, service)
    assert contours(api, finished(api, job_id)) == undisturbed


@pytest.mark.parametrize("service", sorted(set(SERVICES) - set(ON_THE_ROAD)))
def test_what_stands_beside_the_road_comes_back_too(
    containers: Containers, service: str
):
    kill_and_wait(containers, service)


def test_what_somebody_kills_by_the_engine_stays_down_until_it_is_started(
    containers: Containers, api: httpx.Client, images: Path, undisturbed: bytes
):
    """To the engine, `docker kill` is somebody's will and no fault."""
    worker = containers.ids()["segmentation"]
    before = containers.inspect("segmentation")["RestartCount"]
    job_id = submit(api, images)["id"]
    wait_until_claimed(api, job_id, JobState.SEGMENTING)
    run("docker", "kill", worker)
    run("docker", "wait", worker)
    found = containers.inspect("segmentation")
    assert (found["State"]["Status"], found["RestartCount"]) == ("exited", before)
    assert api.get(f"/v1/jobs/{job_id}").json()["state"] in {"queued", "segmenting"}

    run("docker", "start", worker)
    job = finished(api, job_id)
    assert job["attempt"] > 1
    assert contours(api, job) == undisturbed


def kill_and_wait(containers: Containers, service: str) -> None:
    """Kill a container's main process, as a fault would; wait until it is well."""
    found = containers.inspect(service)
    killed = answers("kill", "-KILL", str(found["State"]["Pid"]))
    assert killed, "these tests need the rights of the engine's host"
    wait_until_healthy(containers, service, restarts=found["RestartCount"] + 1)
