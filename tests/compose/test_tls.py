"""The reverse proxy: a job goes in and out by TLS, and nothing goes without."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hanseg_shared.documents import FINAL_STATES, JobState
from tests.compose.containers import Containers, run, wait_until_healthy
from tests.compose.test_compose import PATIENCE_SECONDS, jobs_in, submit

pytestmark = [pytest.mark.compose, pytest.mark.xdist_group("compose")]


@pytest.fixture(scope="module")
def certificate(containers: Containers) -> str:
    path = "/run/tls/fullchain.pem"
    return run("docker", "exec", containers.ids()["tls"], "cat", path)


@pytest.fixture(scope="module")
def address(containers: Containers) -> str:
    return containers.compose("port", "tls", "8443").strip()


@pytest.fixture(scope="module")
def secure(api: httpx.Client, address: str, certificate: str) -> Iterator[httpx.Client]:
    verified = ssl.create_default_context(cadata=certificate)
    key = {"Authorization": api.headers["Authorization"]}
    with httpx.Client(
        base_url=f"https://{address}", verify=verified, timeout=150.0, headers=key
    ) as client:
        yield client


@pytest.fixture(scope="module")
def done(secure: httpx.Client, images: Path) -> dict[str, Any]:
    """A job that was sent, and followed by its events, through the proxy."""
    job_id = submit(secure, images)["id"]
    states = []
    with secure.stream(
        "GET", f"/v1/jobs/{job_id}/events", timeout=PATIENCE_SECONDS
    ) as events:
        for job in jobs_in(events):
            states.append(JobState(job["state"]))
            if states[-1] in FINAL_STATES:
                break
    assert len(set(states)) > 1, "no event came before the end"
    return dict(job)


def test_a_job_goes_in_and_its_results_come_out(
    secure: httpx.Client, api: httpx.Client, done: dict[str, Any]
):
    assert done["state"] == "succeeded", done["error"]
    path = f"/v1/jobs/{done['id']}/results/segmentation.nii.gz"
    assert secure.get(path).raise_for_status().content == api.get(path).content


def test_browsers_are_told_to_stay_with_tls(secure: httpx.Client):
    told = secure.get("/livez").headers["Strict-Transport-Security"]
    assert told == "max-age=31536000"


def test_without_tls_callers_are_sent_to_it(containers: Containers, address: str):
    plain = containers.compose("port", "tls", "8080").strip()
    answer = httpx.post(f"http://{plain}/v1/jobs?x=1")
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://{address}/v1/jobs?x=1"


def test_a_certificate_that_nobody_knows_is_refused_by_callers(address: str):
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://{address}/livez")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_before_1_2_is_refused(address: str, certificate: str):
    old = ssl.create_default_context(cadata=certificate)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.TransportError):
        httpx.get(f"https://{address}/livez", verify=old)


def test_what_was_sent_for_another_host_is_refused_behind_the_proxy_too(
    secure: httpx.Client,
):
    answer = secure.get("/v1/jobs", headers={"Host": "evil.example.org"})
    assert answer.status_code == 421


def test_the_api_knows_who_came_through_the_proxy(
    containers: Containers, address: str, certificate: str
):
    """The caller's address, not the proxy's, and not what the caller says it is."""
    verified = ssl.create_default_context(cadata=certificate)
    httpx.get(
        f"https://{address}/v1/jobs",
        verify=verified,
        headers={"Authorization": "Bearer wrong", "X-Forwarded-For": "192.0.2.77"},
    )
    networks = containers.inspect("tls")["NetworkSettings"]["Networks"].values()
    log = containers.compose("logs", "--no-color", "api")
    refused = [line for line in log.splitlines() if "was refused" in line][-1]
    assert "192.0.2.77" not in refused
    assert not [n for n in networks if f"{n['IPAddress']} was refused" in refused]


def test_the_proxy_bears_the_apis_absence_and_logs_nothing_of_a_request(
    containers: Containers, secure: httpx.Client
):
    asked = "/v1/jobs?case=Planted-Name"
    containers.compose("stop", "--timeout", "5", "api")
    try:
        answer = secure.get(asked)
    finally:
        containers.compose("start", "api")
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:hanseg:problem:unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    wait_until_healthy(containers, "api")
    assert secure.get(asked).status_code == 200
    assert "Planted" not in containers.compose("logs", "tls", "api")
