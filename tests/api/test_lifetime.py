"""What happens when the application starts, and while it runs."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_segmentation.packages.installed import shipped_models
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.services import Services
from hanseg_shared.settings import Settings
from tests.api.conftest import FAST
from tests.api.fakes import CT, FakeChecker
from tests.api.requests import assert_problem, new_job, submit
from tests.jobs.fakes import FakePublisher


class WaitingPublisher(FakePublisher):
    """Fails the first time, and tells when a message was sent at last."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0
        self.sent_at_last = threading.Event()

    def publish(self, task: str, queue: QueueName, job_id: str) -> None:
        self.tries += 1
        if self.tries == 1:
            raise ServiceUnavailableError("the broker (Redis) does not answer")
        super().publish(task, queue, job_id)
        self.sent_at_last.set()


def test_a_message_that_could_not_be_sent_is_sent_by_the_reconciler(
    services: Services, models: Path, checker: FakeChecker
):
    publisher = WaitingPublisher()
    settings = services.settings.model_copy(update={"reconcile_seconds": 0.01})
    services = Services(services.tables, services.store, publisher, settings)
    app = create_app(services, check_case=checker, model_folders=[models], pace=FAST)
    with TestClient(app) as api:
        job_id = new_job(api)
        assert publisher.sent_at_last.wait(10)
    assert [message[1] for message in publisher.sent] == [job_id]
    names = [thread.name for thread in threading.enumerate()]
    assert "reconciler" not in names


def test_files_of_requests_of_a_killed_server_are_removed(settings: Settings, app):
    left = settings.scratch / "request-1"
    left.mkdir(parents=True)
    (left / "ct").write_bytes(CT)
    (settings.scratch / "else").mkdir()
    with Scratch(settings.scratch).hold_request() as held, TestClient(app):
        assert not left.exists()
        assert held.exists()
        assert (settings.scratch / "else").exists()


def test_the_models_that_ship_and_those_of_the_site_are_served(services, models):
    settings = services.settings.model_copy(update={"models": models})
    services = Services(services.tables, services.store, services.publisher, settings)
    app = create_app(services)
    assert app.state.context.model_folders == (shipped_models(), models)


def test_the_cap_on_voxels_reaches_the_checker(services, models):
    settings = services.settings.model_copy(update={"max_voxels": 77})
    services = Services(services.tables, services.store, services.publisher, settings)
    app = create_app(services, model_folders=[models])
    limits = app.state.context.limits("default")
    assert (limits.max_voxels, limits.max_working_voxels) == (77, 77)
    assert limits.working_spacing_mm == (3.0, 3.0, 3.0)


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_a_database_that_goes_away_ends_a_stream(
    api, app, services, monkeypatch, asked
):
    job_id = new_job(api)
    versions, tries = services.tables.jobs.versions, iter(range(9))

    def fails(job_ids: Collection[str]) -> dict[str, int]:
        if next(tries) == asked:
            raise ServiceUnavailableError("the database does not work: gone")
        return versions(job_ids)

    monkeypatch.setattr(app.state.context.versions, "_read", fails)
    answer = api.get(f"/v1/jobs/{job_id}/events")
    assert answer.text.count("event: job") == min(asked, 1)


class ChangingChecker(FakeChecker):
    """Finds another file than will be stored."""

    def __call__(self, ct, mr, limits, halt):
        found = super().__call__(ct, mr, limits, halt)
        ct.write_bytes(CT + b" changed")
        return found


class TestAFileThatChangesWhileItIsRead:
    @pytest.fixture
    def checker(self) -> ChangingChecker:
        return ChangingChecker()

    def test_it_is_refused(self, api, services):
        assert_problem(submit(api), 422, "bad-image-content", "ct changed")
        assert services.store.owners() == []


def test_an_error_of_the_disk_that_is_none_of_space_is_no_lack_of_room(
    api, monkeypatch
):
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    name = "hanseg_segmentation.api.http.incoming.FileSink._write_out"
    monkeypatch.setattr(name, fails)
    assert_problem(submit(api), 503, "unavailable", "the service's disk does not work")
