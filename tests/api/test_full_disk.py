"""A disk that is nearly full, or becomes full: refused with 507, nothing left."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_segmentation.api.context import CheckCase
from hanseg_segmentation.api.reservations import Reservations
from hanseg_shared.errors import CheckDiedError, DiskFullError, NoSuchFileError
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.jobs.services import Services
from hanseg_shared.settings import Settings
from tests.api.fakes import CT
from tests.api.requests import announce, assert_problem, leftovers, submit
from tests.jobs.fakes import Gate


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """More space must be left than any disk has."""
    return settings.model_copy(update={"min_free_bytes": 2**62})


def with_room(
    services: Services, models: Path, check: CheckCase, **settings: int
) -> TestClient:
    """Return the API with its data on a disk with room."""
    found = services.settings.model_copy(update={"min_free_bytes": 0, **settings})
    services = Services(services.tables, services.store, services.publisher, found)
    app = create_app(
        services, check_case=check, model_folders=[models], reconcile=False
    )
    return TestClient(app)


def test_below_the_watermark_no_job_is_taken(api):
    answer = submit(api)
    assert_problem(answer, 507, "disk-full", "bytes free", "must be left")
    assert "retry-after" in answer.headers


def test_below_the_watermark_no_upload_is_taken(api):
    assert_problem(announce(api, CT), 507, "disk-full", "bytes free")


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
    with with_room(services, models, checker) as api:
        answer = submit(api)
    assert_problem(answer, 507, "disk-full", "the service's disk is full")
    assert leftovers(services) == []


def _raise(number: int):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def roomy(services: Services, models, checker):
    """The API on a disk with room."""
    with with_room(services, models, checker) as api:
        yield api


@pytest.mark.parametrize(
    ("number", "status", "slug"),
    [(errno.ENOSPC, 507, "disk-full"), (errno.EROFS, 503, "unavailable")],
)
def test_a_store_that_does_not_take_a_job_is_told_as_such(
    roomy, monkeypatch, number, status, slug
):
    monkeypatch.setattr(
        "hanseg_shared.jobs.stores.local.LocalFiles._copy", _raise(number)
    )
    answer = submit(roomy)
    assert_problem(answer, status, slug, "cannot be stored")
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("number", "status", "slug"),
    [(errno.ENOSPC, 507, "disk-full"), (errno.EROFS, 503, "unavailable")],
)
def test_a_file_that_cannot_even_be_begun_is_told_as_such(
    roomy, monkeypatch, number, status, slug
):
    monkeypatch.setattr("pathlib.Path.open", _raise(number))
    answer = submit(roomy)
    monkeypatch.undo()
    assert_problem(answer, status, slug, "the service's disk")


@pytest.mark.parametrize("folder", ["scratch", "payloads"])
def test_a_data_folder_that_cannot_be_written_takes_no_jobs(
    roomy, services, monkeypatch, folder
):
    assert submit(roomy).status_code == 202
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: path.name != folder and access(path, mode)
    )
    assert_problem(submit(roomy), 503, "unavailable", f"{folder} cannot be written")
    assert_problem(announce(roomy, CT), 503, "unavailable", "cannot be written")
    assert_problem(roomy.get("/readyz"), 503, "unavailable", "cannot be written")
    monkeypatch.undo()
    assert submit(roomy).status_code == 202


@pytest.mark.parametrize("lost", ["payloads/database", "jobs.sqlite"])
def test_an_emptied_data_folder_takes_no_jobs(
    services: Services, models, checker, lost: str
):
    data = services.settings.data
    assert services.store.bind(services.tables.installation.identity())
    with with_room(services, models, checker) as api:
        assert submit(api).status_code == 202
        (data / lost).unlink()
        for path in data.glob("payloads/*"):
            shutil.rmtree(path, ignore_errors=True)
        assert_problem(submit(api), 503, "unavailable", "data folder")
        assert_problem(announce(api, CT), 503, "unavailable", "data folder")
        assert_problem(api.get("/readyz"), 503, "unavailable", "data folder")


def lose(ct: Path, *_: object) -> CaseCheck:
    """Look at a file that is away by now; the disk may be back before the answer."""
    raise NoSuchFileError(f"{ct}: there is no such file")


def lose_within(ct: Path, *_: object) -> CaseCheck:
    """Look at a file that goes away meanwhile."""
    ct.unlink()
    raise CheckDiedError(f"{ct} could not be read safely")


@pytest.mark.parametrize("check", [lose, lose_within])
def test_who_sent_an_image_is_not_blamed_for_a_disk_that_went_away(
    services, models, check
):
    with with_room(services, models, check) as api:
        answer = submit(api)
        assert_problem(answer, 503, "unavailable", "no longer on the service's disk")
        assert "retry-after" in answer.headers
        assert_problem(submit(api), 503, "unavailable")  # it is no verdict to remember


def test_what_is_being_received_counts_as_if_it_were_there():
    room = Reservations(lambda: 1000, least=100)
    room.take(200, by="anna")
    room.take(200, by="bert")
    with pytest.raises(DiskFullError, match="800 are reserved"):
        room.take(100, by="anna")
    room.give_back("bert")
    room.take(100, by="anna")


def test_giving_back_waits_for_nothing_that_may_hang():
    """The event loop does it: it would stop every other request."""
    asked, answer = Gate(), Gate()

    def frozen() -> int:
        asked.open()
        answer.wait()
        return 1000

    room = Reservations(lambda: 1000, least=0)
    room.take(100, by="anna")
    room._free = frozen
    taking = threading.Thread(target=lambda: room.take(100, by="bert"))
    taking.start()
    asked.wait()
    room.give_back("anna")
    assert not room._held
    answer.open()
    taking.join()
    assert room._held == {"bert": 200}


def test_a_request_gives_its_reservation_back(
    services: Services, models, checker, monkeypatch
):
    monkeypatch.setattr("hanseg_segmentation.api.app.free_bytes", lambda _: 64 << 20)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with with_room(services, models, checker, max_upload_bytes=1 << 30) as api:
        chunks = api.post("/v1/jobs", content=iter([b"x"]), headers=headers)
        assert_problem(chunks, 507, "disk-full", "are needed")
        assert "retry-after" in chunks.headers
        for _ in range(3):
            assert submit(api, CT + bytes(12 << 20)).status_code == 202
