"""Real files, looked at by the real checker in a child process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_shared.io import write_volume
from hanseg_shared.jobs.services import Services
from hanseg_shared.settings import Settings
from tests.api.conftest import FAST
from tests.api.requests import assert_problem, leftovers, submit
from tests.io import patients
from tests.io.files import nrrd
from tests.real_data import real_data


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_upload_bytes": 2**30})


@pytest.fixture
def api(services: Services, models: Path) -> Iterator[TestClient]:
    app = create_app(services, model_folders=[models], pace=FAST, reconcile=False)
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    write_volume(patients.ct(), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def mr(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("mr") / "mr.nrrd"
    write_volume(patients.mr(), path)
    return path.read_bytes()


def test_a_ct_and_an_mr_become_a_job(api, ct: bytes, mr: bytes):
    answer = submit(api, ct, mr)
    assert answer.status_code == 202, answer.text
    found = [(i["role"], i["format"], i["size"]) for i in answer.json()["inputs"]]
    size = list(patients.SMALL.size)
    assert found == [("ct", "nifti", size), ("mr", "nrrd", size)]


def test_ct_and_mr_that_are_swapped_are_refused(api, services, ct: bytes, mr: bytes):
    answer = submit(api, mr, ct)
    assert_problem(answer, 422, "bad-image-content", "swapped")
    assert leftovers(services) == []


def test_a_truncated_image_is_refused(api, services, ct: bytes):
    answer = submit(api, ct[: len(ct) // 2])
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("ct: ")
    assert leftovers(services) == []


def test_an_image_that_names_another_file_reads_nothing_of_it(api, services, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"top secret" * 100)
    answer = submit(api, nrrd(b"", data_file=str(secret)))
    assert_problem(answer, 422, "unsafe-image", "ct: ")
    assert leftovers(services) == []


def test_an_image_beyond_the_cap_is_too_large(api, services):
    answer = submit(api, nrrd(sizes="3000 3000 3000"))
    assert_problem(answer, 413, "image-too-large", "ct: ")
    assert leftovers(services) == []


@pytest.mark.data
def test_a_real_case_is_accepted(api):
    ct, mr = real_data("rire_001", "ct.nii.gz"), real_data("rire_001", "t1.nii.gz")
    answer = submit(api, ct.read_bytes(), mr.read_bytes())
    assert answer.status_code == 202, answer.text
