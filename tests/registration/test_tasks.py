"""The registration stage: its time limit, and what is no verdict on the MR."""

import dataclasses
from collections.abc import Callable
from typing import cast

import pytest

from hanseg_registration import tasks
from hanseg_registration.tasks import deadline_s, register_stage
from hanseg_shared.documents import InputSummary, MrVerdict
from hanseg_shared.errors import ProcessLostError, RegistrationError, StoreError
from hanseg_shared.jobs import work as work_module
from hanseg_shared.jobs.brokers.link import DeadLetter
from hanseg_shared.jobs.messages import Publisher, QueueName
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.jobs.work import work_on
from hanseg_shared.settings import DEFAULT_REGISTRATION_SECONDS, Settings


@pytest.mark.parametrize(
    ("registration_seconds", "stage_seconds", "expected"),
    [(60, 900, 60.0), (300, 100, 80.0)],
)
def test_the_stricter_limit_counts(registration_seconds, stage_seconds, expected):
    settings = Settings(
        registration_seconds=registration_seconds, stage_seconds=stage_seconds
    )
    assert deadline_s(settings) == pytest.approx(expected)


def test_a_registration_may_take_minutes_by_default():
    assert deadline_s(Settings()) == DEFAULT_REGISTRATION_SECONDS


class NoBroker:
    """Takes every message and carries none."""

    def publish(self, task: str, queue: QueueName, job_id: str) -> None:
        pass

    def waiting(self, queue: QueueName) -> int:
        return 0

    def take_dead_letters(self, keep: Callable[[DeadLetter], None]) -> int:
        return 0


@pytest.fixture
def services(tmp_path, monkeypatch) -> Services:
    monkeypatch.setattr(work_module, "NOTICE_SECONDS", 0.0)
    settings = Settings(data=tmp_path / "data")
    tables = Tables.of(open_database(settings.database), retention_seconds=60.0)
    store = PayloadStore(settings.store)
    return Services(tables, store, cast("Publisher", NoBroker()), settings)


@pytest.fixture
def job(services, tmp_path) -> Job:
    """A queued job with a CT and an MR."""
    file = tmp_path / "image"
    file.write_bytes(b"voxels")
    sha256 = services.store.put("j1", file).sha256
    ct = InputSummary(
        role="ct",
        sha256=sha256,
        bytes=6,
        format=".nrrd",
        size=(1, 2, 3),
        spacing_mm=(1.0, 1.0, 1.0),
    )
    mr = ct.model_copy(update={"role": "mr"})
    return cast(
        "Job",
        services.tables.jobs.create(NewJob("j1", (ct, mr), remarks=("the MR: far",))),
    )


def tried(services: Services, monkeypatch, *errors: Exception) -> Job:
    """Do the stage once for each error that a registration meets."""
    for error in errors:

        def fail(*_, found=error, **__) -> None:
            raise found

        monkeypatch.setattr(tasks, "register_files", fail)
        work_on(Stage.REGISTER, "j1", register_stage, services)
    return services.tables.jobs.get("j1")


KILLED = ProcessLostError("the process was killed by signal 9 (SIGKILL)")


def test_a_killed_registration_is_no_verdict(services, job, monkeypatch):
    after = tried(services, monkeypatch, KILLED, KILLED)

    assert after.registration is None
    assert after.state == "registering"


def test_a_registration_that_is_killed_every_time_leaves_the_mr_out_and_says_so(
    services, job, monkeypatch
):
    after = tried(services, monkeypatch, KILLED, KILLED, KILLED)

    assert after.state == "segmenting"
    assert after.registration is not None
    assert after.registration.verdict is MrVerdict.REJECTED
    assert "could not be run, 3 times tried" in after.registration.reason
    assert "signal 9 (SIGKILL)" in after.registration.reason


def test_what_the_images_raise_is_a_verdict_at_once(services, job, monkeypatch):
    after = tried(
        services, monkeypatch, RegistrationError("elastix gave up: no samples")
    )

    assert after.registration is not None
    assert after.registration.reason == "MR rejected: elastix gave up: no samples."
    assert after.registration.remarks == ("the MR: far",)


def test_a_disk_that_stays_full_costs_no_attempt(services, job, monkeypatch):
    full = StoreError("the registration could not be written: No space left on device")
    after = tried(services, monkeypatch, full, full, full)

    assert after.registration is None
    assert after.error is None
    assert after.attempts == 0


def test_a_worker_that_stops_with_its_registration_gives_no_verdict(
    services, job, monkeypatch
):
    tried(services, monkeypatch, KILLED, KILLED)
    stopping = dataclasses.replace(services)
    stopping.stop.give(grace_seconds=60.0)
    after = tried(stopping, monkeypatch, KILLED)

    assert after.registration is None
    assert after.attempts == 2
