"""A worker's child starts when it can, tells that it lives, and does its stages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import billiard.common
import pytest
import sqlalchemy as sa
from celery import signals
from pydantic import SecretStr

from hanseg_shared.cli import CANNOT_START
from hanseg_shared.documents import JobState
from hanseg_shared.errors import ModelError, ServiceUnavailableError
from hanseg_shared.jobs import worker, worker_child
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import NewJob, StageResult, WorkerState, WorkerStatus
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.stopping import StopNotice
from hanseg_shared.jobs.tables.workers import WorkersTable
from hanseg_shared.jobs.worker import clean_scratch, is_ready, make_worker_app
from hanseg_shared.jobs.worker_child import (
    PreforkChild,
    WorkerPlan,
    listen_for_stop,
)
from hanseg_shared.settings import BAD_SETTINGS, Settings
from tests.jobs.fakes import CT
from tests.redis_server import running_redis


@pytest.fixture
def settings(tmp_path) -> Settings:
    nobody = SecretStr("redis://127.0.0.1:1/0")  # no broker: told, and not fatal
    return Settings(data=tmp_path / "data", broker_url=nobody)


@pytest.fixture(autouse=True)
def private_signals(monkeypatch):
    """Keep what a test connects to Celery's signals from other tests."""
    for event in (
        signals.worker_process_init,
        signals.worker_process_shutdown,
        signals.setup_logging,
    ):
        monkeypatch.setattr(event, "receivers", [])
    monkeypatch.setattr(worker_child, "die_with_parent", lambda _: None)


class Preparation:
    """What a worker does before its first message; fails as often as told."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    def __call__(self, settings: Settings) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "a test's device"


@pytest.fixture
def start(settings, monkeypatch):
    """Start a worker's child in this process; it is stopped with the test."""
    apps = []

    def begin(prepare, prove=lambda: None):
        plan = WorkerPlan(
            QueueName.REGISTRATION,
            {Stage.REGISTER: lambda _: StageResult()},
            prepare,
            prove,
        )
        app = make_worker_app(plan, settings)
        apps.append(app)
        monkeypatch.setattr(worker_child, "RETRY_SECONDS", 0.0)
        signals.worker_process_init.send(sender=None)
        return app

    yield begin
    signals.worker_process_shutdown.send(sender=None)
    for app in apps:
        app.close()


def has_live_worker(settings: Settings, queue: QueueName) -> bool:
    """Whether the rows have a worker of the queue that is ready."""
    tables = open_tables(settings)
    try:
        return any(
            each.queue == queue and is_ready(each) for each in tables.workers.statuses()
        )
    finally:
        tables.close()


def wait_until_healthy(settings: Settings) -> None:
    deadline = time.monotonic() + 10.0
    while not has_live_worker(settings, QueueName.REGISTRATION):
        assert time.monotonic() < deadline, "no heartbeat"


def test_a_worker_does_the_stages_of_its_plan(settings, start):
    app = start(Preparation())
    tables = open_tables(settings)
    tables.jobs.create(NewJob("j1", (CT,)))
    app.tasks[Stage.REGISTER.task]("j1")

    assert tables.jobs.get("j1").state is JobState.SEGMENTING
    tables.close()


def test_a_worker_that_is_ready_sends_heartbeats(settings, start):
    assert not has_live_worker(settings, QueueName.REGISTRATION)
    start(Preparation())
    wait_until_healthy(settings)

    assert not has_live_worker(settings, QueueName.SEGMENTATION)


def test_a_worker_says_good_bye(settings, start):
    start(Preparation())
    wait_until_healthy(settings)
    signals.worker_process_shutdown.send(sender=None)

    assert not has_live_worker(settings, QueueName.REGISTRATION)


def test_a_child_whose_database_is_away_says_so_and_tries_again(
    settings, start, caplog
):
    away = ServiceUnavailableError("the database does not work: no answer")
    start(Preparation(away, away))
    wait_until_healthy(settings)

    assert caplog.text.count("registration worker cannot start yet") == 2
    assert away.message in caplog.text


def test_a_child_that_can_never_start_does_not_try_again(settings, start, caplog):
    fault = ModelError("there is no model default")
    prepare = Preparation(fault, fault)
    start(prepare)

    assert prepare.failures == [fault]
    assert "registration worker cannot start: there is no model default" in caplog.text
    assert not has_live_worker(settings, QueueName.REGISTRATION)


class TestHowFarAWorkerIs:
    def test_one_that_loads_is_told_from_one_that_is_ready(self, settings, start):
        seen: list[WorkerStatus] = []

        def prepare(_: Settings) -> str:
            tables = open_tables(settings)
            deadline = time.monotonic() + 10.0
            while not (found := tables.workers.statuses()):
                assert time.monotonic() < deadline, "it says nothing"
            seen.extend(found)
            tables.close()
            return "cpu"

        start(prepare)
        wait_until_healthy(settings)
        tables = open_tables(settings)
        [ready] = tables.workers.statuses()
        tables.close()

        assert [status.state for status in seen] == [WorkerState.LOADING]
        assert ready.state is WorkerState.READY
        assert ready.name == seen[0].name

    def test_one_that_has_stopped_is_forgotten(self, settings, start):
        start(Preparation())
        wait_until_healthy(settings)
        signals.worker_process_shutdown.send(sender=None)
        tables = open_tables(settings)

        assert tables.workers.statuses() == []
        tables.close()


class TestNoticeBySignals:
    @staticmethod
    def listen(*numbers: int, grace_seconds: float = 60.0) -> StopNotice:
        told, tell = os.pipe()
        os.write(tell, bytes(numbers))
        os.close(tell)
        stop = StopNotice()
        listen_for_stop(told, stop, grace_seconds)
        os.close(told)
        return stop

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
    def test_the_first_signal_leaves_time(self, number):
        stop = self.listen(number)
        assert stop.is_given()
        assert not stop.is_due

    def test_the_second_leaves_none(self):
        assert self.listen(signal.SIGTERM, signal.SIGQUIT).is_due

    def test_other_signals_are_no_notice(self):
        assert not self.listen(signal.SIGUSR1, signal.SIGCHLD).is_given()


def make_newer(settings: Settings) -> None:
    """Make a database whose schema a later version has changed."""
    tables = open_tables(settings)
    with tables.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num='7.1.0_1'"))
    tables.close()


def test_a_child_does_not_wait_for_a_newer_database_to_be_older(settings):
    make_newer(settings)
    # Celery would only log what is raised here; a real child ends its parent instead
    plan = WorkerPlan(QueueName.REGISTRATION, {}, Preparation(), lambda: None)
    child = PreforkChild(plan, settings, None)

    with pytest.raises(ServiceUnavailableError, match=r"cannot start.*7\.1\.0"):
        child.start()


class TestRefusal:
    """A real process that cannot start says why in its last line, and ends."""

    @staticmethod
    def start(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.jobs.slow_worker", "listening"],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def test_a_bad_setting_is_named(self, tmp_path):
        done = self.start(HANSEG_DATA=str(tmp_path), HANSEG_LEASE_SECONDS="soon")

        assert done.returncode == BAD_SETTINGS
        [line] = done.stderr.splitlines()
        assert line.startswith("HANSEG_LEASE_SECONDS: ")

    def test_a_broker_of_another_kind_is_told_without_its_password(self, tmp_path):
        url = "sqs://me:secret@127.0.0.1/0"
        done = self.start(HANSEG_DATA=str(tmp_path), HANSEG_BROKER_URL=url)

        assert done.returncode == CANNOT_START
        assert "HANSEG_BROKER_URL cannot be used" in done.stderr.splitlines()[-1]
        assert "secret" not in done.stderr

    def test_a_database_of_a_newer_version_ends_the_worker(self, tmp_path):
        settings = Settings(data=tmp_path)
        make_newer(settings)
        done = self.start(HANSEG_DATA=str(tmp_path))

        assert done.returncode == CANNOT_START
        assert "update this program to version 7.1.0" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr

    @pytest.mark.redis
    def test_what_only_the_child_finds_ends_the_worker(self, tmp_path):
        with running_redis(tmp_path / "redis") as broker:
            done = self.start(
                HANSEG_DATA=str(tmp_path),
                HANSEG_BROKER_URL=broker.url,
                HANSEG_MODELS="/nowhere",
            )

        assert done.returncode == CANNOT_START
        assert done.stderr.splitlines()[-1] == (
            "hanseg: the registration worker cannot start: there is nothing in /nowhere"
        )


def test_a_job_is_not_touched_by_a_child_that_has_not_started(settings):
    plan = WorkerPlan(
        QueueName.REGISTRATION,
        {Stage.REGISTER: lambda _: StageResult()},
        Preparation(),
        lambda: None,
    )
    app = make_worker_app(plan, settings)
    with pytest.raises(ServiceUnavailableError, match="has not started"):
        app.tasks[Stage.REGISTER.task]("j1")
    app.close()


def test_heartbeats_outlive_any_fault_of_the_database(settings, start, monkeypatch):
    failed = threading.Event()
    report = WorkersTable.report_ready

    def fail_once(self, *arguments, **keywords):
        if not failed.is_set():
            failed.set()
            raise RuntimeError("anything")
        report(self, *arguments, **keywords)

    monkeypatch.setattr(worker_child, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(WorkersTable, "report_ready", fail_once)
    start(Preparation())
    wait_until_healthy(settings)

    assert failed.is_set()


def test_heartbeats_outlive_a_scratch_folder_that_cannot_be_read(start, monkeypatch):
    again = threading.Event()
    swept = []

    def fail(_: Scratch) -> None:
        swept.append(1)
        if len(swept) > 1:
            again.set()
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(worker_child, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(Scratch, "sweep", fail)
    start(Preparation())

    assert again.wait(10.0)


class TestScratch:
    def test_folders_of_workers_that_were_killed_are_removed(self, settings):
        names = ("attempt-j-1", "request-r", "hanseg-check-c", "hanseg-old", "else")
        left = [settings.scratch / name for name in names]
        young = settings.scratch / "hanseg-young"
        for folder in (*left, young):
            folder.mkdir(parents=True)
            (folder / "image").touch()
        then = time.time() - 2 * settings.stage_seconds - 60.0
        for folder in left[3:]:
            os.utime(folder, (then, then))
        with Scratch(settings.scratch).hold_attempt("j", 2) as held:
            clean_scratch(settings)
            assert set(settings.scratch.iterdir()) == {held, young, left[0], left[4]}
            assert list(left[0].iterdir()) == []

    def test_there_may_be_none(self, settings):
        clean_scratch(settings)

        assert not settings.scratch.exists()


class TestSigterm:
    def test_a_process_that_celery_did_not_hear_is_started_anew(self, monkeypatch):
        # the variable is read when Celery is imported; later it changes nothing
        started = []
        monkeypatch.setattr(billiard.common, "REMAP_SIGTERM", None)
        monkeypatch.delenv("REMAP_SIGTERM", raising=False)
        monkeypatch.setattr(os, "execv", lambda *command: started.append(command))
        worker._remap_sigterm()

        assert os.environ["REMAP_SIGTERM"] == "SIGQUIT"
        assert started == [
            (sys.executable, [sys.executable, *sys.orig_argv[1:]]),
        ]

    def test_a_process_that_was_started_well_goes_on(self, monkeypatch):
        monkeypatch.setattr(billiard.common, "REMAP_SIGTERM", "SIGQUIT")
        monkeypatch.setattr(os, "execv", pytest.fail)
        worker._remap_sigterm()


class Proof:
    """A self-check that says what a test wants it to."""

    def __init__(self) -> None:
        self.fault: Exception | None = None

    def __call__(self) -> None:
        if self.fault is not None:
            raise self.fault


def test_a_worker_whose_self_check_fails_begins_no_job_until_it_works(
    settings, start, monkeypatch
):
    monkeypatch.setattr(worker_child, "PROOF_SECONDS", 0.01)
    monkeypatch.setattr(worker_child, "HEARTBEAT_SECONDS", 0.01)
    proof = Proof()
    app = start(Preparation(), proof)
    wait_until_healthy(settings)
    proof.fault = RuntimeError("the device is lost")
    tables = open_tables(settings)
    deadline = time.monotonic() + 10.0
    while not (said := tables.workers.statuses()[0].trouble):
        assert time.monotonic() < deadline, "no word of it"
    assert said == "its self-check failed: RuntimeError: the device is lost"
    tables.jobs.create(NewJob("j1", (CT,)))
    app.tasks[Stage.REGISTER.task]("j1")
    assert tables.jobs.get("j1").state is JobState.QUEUED
    proof.fault = None
    app.tasks[Stage.REGISTER.task]("j1")
    assert tables.jobs.get("j1").state is JobState.SEGMENTING
    tables.close()


def test_a_worker_that_proved_long_ago_is_not_healthy(settings):
    tables = open_tables(settings)
    name = f"{socket.gethostname()}-12"
    tables.workers.report_ready(
        name, queue="registration", device="cpu", proven_seconds=1000.0
    )
    assert not has_live_worker(settings, QueueName.REGISTRATION)
    tables.close()
