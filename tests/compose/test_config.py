"""docker-compose.yml is valid, and exactly one segmentation worker runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.compose.containers import run

pytestmark = pytest.mark.compose

BASIC = {"redis", "api", "sweep", "registration"}
PROFILES = ["cpu", "gpu", "cpu orthanc tls"]


@pytest.fixture
def config(compose_command: None, request: pytest.FixtureRequest) -> dict[str, Any]:
    profiles = [f"--profile={name}" for name in request.param.split()]
    text = run("docker", "compose", *profiles, "config", "--format", "json")
    return dict(json.loads(text))


@pytest.mark.parametrize(
    ("config", "worker"),
    [("", "segmentation"), ("cpu", "segmentation"), ("gpu", "segmentation-gpu")],
    indirect=["config"],
    ids=["default", "cpu", "gpu"],
)
def test_a_profile_has_one_segmentation_worker(config: dict[str, Any], worker: str):
    assert set(config["services"]) == BASIC | {worker}


@pytest.mark.parametrize("config", ["gpu"], indirect=True)
def test_the_gpu_is_reserved_and_insisted_on(config: dict[str, Any]):
    worker = config["services"]["segmentation-gpu"]
    devices = worker["deploy"]["resources"]["reservations"]["devices"]
    assert [(d["driver"], d["capabilities"]) for d in devices] == [("nvidia", ["gpu"])]
    assert worker["environment"]["HANSEG_DEVICE"] == "cuda"


@pytest.mark.parametrize("config", ["cpu orthanc"], indirect=True)
def test_the_profile_orthanc_adds_a_dicom_server_and_the_bridge(config: dict[str, Any]):
    assert set(config["services"]) == BASIC | {"segmentation", "orthanc", "bridge"}


@pytest.mark.parametrize("config", ["cpu orthanc"], indirect=True)
def test_orthanc_is_published_on_the_loopback_address(config: dict[str, Any]):
    ports = config["services"]["orthanc"]["ports"]
    assert {(p["host_ip"], p["target"]) for p in ports} == {
        ("127.0.0.1", 4242),
        ("127.0.0.1", 8042),
    }
    assert "ports" not in config["services"]["bridge"]


@pytest.mark.parametrize("config", PROFILES, indirect=True)
def test_every_service_is_hardened(config: dict[str, Any]):
    for service in config["services"].values():
        assert service["read_only"]
        assert service["user"] == "10001:10001"
        assert service["cap_drop"] == ["ALL"]
        assert service["mem_limit"] == service["memswap_limit"]
        assert service["pids_limit"] > 0
        assert service["init"]
        assert "docker.sock" not in str(service)


@pytest.mark.parametrize("config", PROFILES, indirect=True)
def test_only_what_is_published_is_on_a_network_with_a_way_out(config: dict[str, Any]):
    networks = {name: set(s["networks"]) for name, s in config["services"].items()}
    assert config["networks"]["back"]["internal"]
    assert networks.pop("api") == {"front", "back"}
    assert networks.pop("sweep") == {"hooks", "back"}
    assert networks.pop("orthanc", {"imaging", "back"}) == {"imaging", "back"}
    assert networks.pop("tls", {"front"}) == {"front"}
    assert all(found == {"back"} for found in networks.values())


@pytest.mark.parametrize("config", ["cpu tls"], indirect=True)
def test_the_profile_tls_adds_a_proxy_on_the_loopback_address(config: dict[str, Any]):
    assert set(config["services"]) == BASIC | {"segmentation", "tls"}
    ports = config["services"]["tls"]["ports"]
    assert {p["host_ip"] for p in ports} == {"127.0.0.1"}
    believed = config["services"]["api"]["environment"]["HANSEG_PROXIES"]
    aliases = config["services"]["tls"]["networks"]["front"]["aliases"]
    assert aliases == [believed]
