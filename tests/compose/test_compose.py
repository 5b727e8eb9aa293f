"""The service in containers takes a job, survives, and shows nothing it should not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hanseg_lab.phantom import PhantomCase
from hanseg_shared.documents import FINAL_STATES, JobState
from hanseg_shared.io import read_labels
from hanseg_shared.organs import ORGANS
from tests.compose.containers import Containers, run

pytestmark = [pytest.mark.compose, pytest.mark.xdist_group("compose")]

SERVICES = (
    *("redis", "api", "sweep", "registration", "segmentation"),
    *("orthanc", "bridge", "tls"),
)
IMAGE_SERVICES = ("api", "registration", "segmentation")
PYTHON_SERVICES = (*IMAGE_SERVICES, "bridge")
WORKERS = ("registration", "segmentation")

PATIENCE_SECONDS = 420.0
"""Longest time of a job, on a small machine and with a lost lease."""


def submit(api: httpx.Client, images: Path) -> dict[str, Any]:
    with (images / "ct.nii.gz").open("rb") as ct, (images / "mr.nrrd").open("rb") as mr:
        files = {"ct": ("ct.nii.gz", ct), "mr": ("mr.nrrd", mr)}
        answer = api.post("/v1/jobs", files=files)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    return dict(answer.json())


def finished(api: httpx.Client, job_id: str) -> dict[str, Any]:
    """Return the job once it has ended; the service itself does the waiting."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < limit:
        answer = api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=30"})
        job = dict(answer.raise_for_status().json())
        if JobState(job["state"]) in FINAL_STATES:
            return job
    pytest.fail(f"job {job_id} is still {job['state']} after {PATIENCE_SECONDS} s")


@pytest.fixture(scope="module")
def done(api: httpx.Client, images: Path) -> dict[str, Any]:
    job = finished(api, submit(api, images)["id"])
    assert job["state"] == "succeeded", job["error"]
    return job


def test_all_containers_are_healthy(containers: Containers):
    states = {name: containers.inspect(name)["State"] for name in SERVICES}
    assert {state["Health"]["Status"] for state in states.values()} == {"healthy"}


def test_the_service_is_ready(api: httpx.Client):
    answer = api.get("/readyz")
    assert answer.status_code == 200, answer.text


def test_the_page_and_all_that_it_needs_are_in_the_image(api: httpx.Client):
    page = httpx.get(f"{api.base_url}/")
    assert page.headers["Content-Type"].startswith("text/html")
    files = re.findall(r'(?:src|href)="(?:\./)?(assets/[^"]+)"', page.text)
    assert {Path(name).suffix for name in files} >= {".css", ".js"}
    for name in files:
        answer = httpx.get(f"{api.base_url}/{name}").raise_for_status()
        assert len(answer.content) > 0


def test_the_api_can_check_the_tokens_of_an_identity_provider(containers: Containers):
    code = "import jwt; jwt.PyJWKClient; jwt.algorithms.RSAAlgorithm"
    assert containers.python("api", code).stderr == ""


def test_every_organ_comes_back_with_a_status(done: dict[str, Any]):
    assert [organ["name"] for organ in done["organs"]] == [o.name for o in ORGANS]
    assert all(organ["status"] for organ in done["organs"])


def test_the_mr_has_a_verdict(done: dict[str, Any]):
    assert done["mr_verdict"] in {"used", "rejected"}
    assert done["registration"]["reason"]


def test_the_masks_lie_on_the_grid_of_the_ct(
    api: httpx.Client, done: dict[str, Any], case: PhantomCase, tmp_path: Path
):
    answer = api.get(f"/v1/jobs/{done['id']}/results/segmentation.nii.gz")
    path = tmp_path / "segmentation.nii.gz"
    path.write_bytes(answer.raise_for_status().content)
    labels = read_labels(path)
    labels.grid.require_same(case.ct.grid, what="segmentation.nii.gz")
    contoured = {o["label"] for o in done["organs"] if o["status"] == "contoured"}
    assert contoured <= set(labels.array.ravel().tolist())


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_runs_without_privileges(containers: Containers, service: str):
    host = containers.inspect(service)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["PidsLimit"] > 0


@pytest.mark.parametrize("service", PYTHON_SERVICES)
def test_a_container_is_not_root(containers: Containers, service: str):
    code = "import os; print(os.getuid(), os.getgid())"
    assert containers.python(service, code).stdout.split() == ["10001", "10001"]


@pytest.mark.parametrize("service", PYTHON_SERVICES)
def test_a_container_cannot_write_beside_its_volumes(
    containers: Containers, service: str
):
    code = "open('/var/tmp/anyone-may-write-here', 'w')"
    assert "Read-only file system" in containers.python(service, code).stderr


@pytest.mark.parametrize("service", PYTHON_SERVICES)
def test_a_container_does_not_own_its_code(containers: Containers, service: str):
    code = "import hanseg_shared as h, os; print(os.stat(h.__file__).st_uid)"
    assert containers.python(service, code).stdout.strip() == "0"


@pytest.mark.parametrize("service", ["api", "registration", "bridge"])
@pytest.mark.parametrize("module", ["torch", "numba"])
def test_an_image_lacks_what_it_does_not_need(
    containers: Containers, service: str, module: str
):
    assert (
        "ModuleNotFoundError" in containers.python(service, f"import {module}").stderr
    )


@pytest.mark.parametrize("module", ["SimpleITK", "pydicom", "celery", "fastapi"])
def test_the_bridges_image_has_only_a_client(containers: Containers, module: str):
    error = containers.python("bridge", f"import {module}").stderr
    assert "ModuleNotFoundError" in error


def test_the_worker_images_have_no_web_server(containers: Containers):
    for service in WORKERS:
        error = containers.python(service, "import fastapi").stderr
        assert "ModuleNotFoundError" in error


@pytest.mark.parametrize("service", IMAGE_SERVICES)
def test_elastix_is_not_replaced_by_plain_simpleitk(
    containers: Containers, service: str
):
    code = "import SimpleITK; SimpleITK.ElastixImageFilter"
    assert containers.python(service, code).returncode == 0


@pytest.mark.parametrize("service", ["redis", "bridge", *WORKERS])
def test_a_part_behind_the_api_has_no_way_out(containers: Containers, service: str):
    networks = containers.inspect(service)["NetworkSettings"]["Networks"]
    internal = run("docker", "network", "inspect", *networks, "-f", "{{.Internal}}")
    assert internal.split() == ["true"]


def test_only_api_orthanc_and_the_proxy_are_published(containers: Containers):
    ports = {n: containers.inspect(n)["NetworkSettings"]["Ports"] for n in SERVICES}
    published = {name for name, found in ports.items() if any((found or {}).values())}
    assert published == {"api", "orthanc", "tls"}
    bindings = [each for name in published for each in ports[name].values()]
    assert {each["HostIp"] for found in bindings for each in found} == {"127.0.0.1"}


def test_the_broker_asks_for_a_password(containers: Containers):
    code = "import redis; redis.Redis('redis').ping()"
    assert "AuthenticationError" in containers.python("api", code).stderr


def test_the_password_is_neither_in_the_environment_nor_in_the_logs(
    containers: Containers,
):
    code = "print(open('/run/hanseg/hanseg_broker_url').read())"
    url = containers.python("api", code).stdout
    password = url.split(":")[2].split("@")[0]
    assert len(password) == 64
    assert password not in containers.compose("logs")
    for service in SERVICES:
        assert password not in str(containers.inspect(service))


@pytest.mark.parametrize("part", ["api", "registration"])
def test_the_health_check_finds_another_containers_part_missing(
    containers: Containers, part: str
):
    code = (
        "import sys; from hanseg_shared.jobs.probe import main;"
        f" sys.exit(main(['{part}']))"
    )
    assert containers.python("segmentation", code).returncode == 1


def wait_until_claimed(api: httpx.Client, job_id: str, state: JobState) -> None:
    """Follow the job's events until a worker has claimed it in a state."""
    claims = 0
    with api.stream("GET", f"/v1/jobs/{job_id}/events") as events:
        for job in jobs_in(events):
            if job["state"] == state and job["attempt"] > claims:
                return
            if job["state"] != state:
                claims = job["attempt"]
    pytest.fail(f"job {job_id} ended before it was seen {state}")


def jobs_in(events: httpx.Response) -> Iterator[dict[str, Any]]:
    """Yield the job as each server-sent event has it."""
    for line in events.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))
