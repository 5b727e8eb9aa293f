"""A disk that is nearly full, or becomes full: refused with 503, nothing left."""

from __future__ import annotations

import errno

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_shared.jobs.services import Services
from hanseg_shared.settings import Settings
from tests.api.fakes import CT
from tests.api.requests import announce, assert_problem, leftovers, submit


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """More space must be left than any disk has."""
    return settings.model_copy(update={"min_free_bytes": 2**62})


def test_below_the_watermark_no_job_is_taken(api):
    answer = submit(api)
    assert_problem(answer, 503, "unavailable", "bytes free", "must be left")
    assert "retry-after" in answer.headers


def test_below_the_watermark_no_upload_is_taken(api):
    assert_problem(announce(api, CT), 503, "unavailable", "bytes free")


def test_below_the_watermark_the_service_is_not_ready(api):
    assert_problem(api.get("/readyz"), 503, "unavailable", "disk: ")


def test_a_disk_that_fills_up_while_receiving_is_told_as_such(
    services: Services, models, checker, monkeypatch
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        "hanseg_segmentation.api.http.incoming.FileSink._write_out", full, raising=True
    )
    roomy = services.settings.model_copy(update={"min_free_bytes": 0})
    services = Services(services.tables, services.store, services.publisher, roomy)
    app = create_app(
        services, check_case=checker, model_folders=[models], reconcile=False
    )
    with TestClient(app) as api:
        answer = submit(api)
    assert_problem(answer, 503, "unavailable", "the service's disk is full")
    assert leftovers(services) == []
