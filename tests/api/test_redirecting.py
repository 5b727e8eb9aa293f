"""Large results from the object store itself: for owners, for a while, on record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.intake.redirecting import LEAST_BYTES
from hanseg_shared.access import Scope
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.settings import Settings
from tests.api.conftest import make_app, settings_of
from tests.api.fakes import FakeWorker
from tests.api.requests import new_job

LARGE, SMALL = b"l" * LEAST_BYTES, b"s" * (LEAST_BYTES - 1)


class SigningStore(PayloadStore):
    """A store that gives addresses, as an object store does."""

    def sign(self, owner: str, sha256: str, *, seconds: int, **headers: str) -> str:
        said = "&".join(f"{name}={value}" for name, value in sorted(headers.items()))
        return f"https://s3.example.org/{owner}/{sha256}?{seconds}&{said}"


@pytest.fixture
def settings(tmp_path) -> Settings:
    chosen = {"store_redirect_seconds": 60, "access": "keys"}
    return settings_of(tmp_path / "data").model_copy(update=chosen)


@pytest.fixture
def services(services: Services) -> Services:
    return replace(services, store=SigningStore(services.settings.store))


@pytest.fixture
def api(services, models, checker, converter) -> Iterator[TestClient]:
    app = make_app(services, models, checker, converter)
    with TestClient(app, follow_redirects=False) as client:
        yield client


def key(services: Services, owner: str, *scopes: Scope) -> dict[str, str]:
    made = services.tables.api_keys.create(owner, frozenset(scopes or {Scope.READ}))
    return {"Authorization": f"Bearer {made.text}"}


@pytest.fixture
def job(api: TestClient, services: Services) -> str:
    api.headers = key(services, "anna", *Scope)
    job_id = new_job(api)
    api.headers = {}
    FakeWorker(services).succeed(
        job_id, {"segmentation.nii.gz": LARGE, "preview.png": SMALL}
    )
    return job_id


def test_an_owner_is_sent_to_the_store_for_a_large_file(api, services, job):
    headers = key(services, "anna")
    path = f"/v1/jobs/{job}/results/segmentation.nii.gz"
    answer = api.get(path, headers=headers)

    assert answer.status_code == 307
    assert answer.headers["location"].startswith(f"https://s3.example.org/{job}/")
    assert "?60&" in answer.headers["location"]
    assert "ResponseContentType=application/gzip" in answer.headers["location"]
    assert answer.headers["cache-control"] == "private, no-store"
    assert api.head(path, headers=headers).status_code == 200
    known = headers | {"If-None-Match": answer.headers["etag"]}
    assert api.get(path, headers=known).status_code == 304


def test_the_download_is_on_record_and_the_address_is_not(api, services, job):
    path = f"/v1/jobs/{job}/results/segmentation.nii.gz"
    api.get(path, headers=key(services, "anna"))
    entry = list(services.tables.audit.list_entries())[-1].line

    assert '"what":"fetch_result"' in entry
    assert '"who":"anna"' in entry
    assert f'"on":"{job}"' in entry
    assert '"outcome":"307"' in entry
    assert "s3.example.org" not in entry


def test_a_small_file_comes_from_the_api(api, services, job):
    path = f"/v1/jobs/{job}/results/preview.png"
    answer = api.get(path, headers=key(services, "anna"))

    assert answer.status_code == 200
    assert answer.content == SMALL


def test_nobody_but_the_owner_is_given_an_address(api, services, job):
    path = f"/v1/jobs/{job}/results/segmentation.nii.gz"
    reader = key(services, "bert", Scope.READ, Scope.READ_ALL)

    assert api.get(path, headers=reader).content == LARGE
    assert api.get(path, headers=key(services, "bert")).status_code == 404


def test_a_browser_that_is_signed_in_is_given_none(api, services, job):
    secret = key(services, "anna")["Authorization"].removeprefix("Bearer ")
    signed_in = api.post("/v1/session", json={"key": secret})
    assert signed_in.status_code in {200, 201, 204}, signed_in.text
    answer = api.get(f"/v1/jobs/{job}/results/segmentation.nii.gz")

    assert answer.status_code == 200
    assert answer.content == LARGE


def test_a_folder_has_no_addresses_to_give(tmp_path):
    assert PayloadStore(f"file://{tmp_path}").sign("a", "0" * 64, seconds=9) is None
