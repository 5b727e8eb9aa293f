"""`hanseg queues`, `hanseg drain` and `hanseg undrain`, on a database of their own."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hanseg_shared.documents import Priority
from hanseg_shared.jobs import queues_cli
from hanseg_shared.jobs.brokers.link import DeadLetter
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.settings import Settings
from tests.jobs.fakes import new_job

JOB_ID = "0" * 32


@pytest.fixture
def tables(tmp_path: Path, monkeypatch) -> Iterator[Tables]:
    monkeypatch.setenv("HANSEG_DATA", str(tmp_path))
    opened = open_tables(Settings(data=tmp_path))
    yield opened
    opened.close()


def run(command: str, *words: str) -> Result:
    return CliRunner().invoke(getattr(queues_cli, command), words)


def shown() -> dict[str, Any]:
    return dict(json.loads(run("queues", "--json").stdout))


def test_everything_that_waits_is_shown(tables):
    new_job(tables)
    new_job(tables, priority=Priority.URGENT)
    waiting = {
        (row["stage"], row["priority"]): row["jobs"] for row in shown()["waiting"]
    }

    assert waiting["registering", "urgent"] == 1
    assert waiting["registering", "routine"] == 1
    assert waiting["segmenting", "routine"] == 0


def test_what_the_broker_gave_up_is_shown(tables):
    tables.dead_letters.keep(
        DeadLetter("registration", "delivery_limit", "hanseg.register", JOB_ID)
    )
    [letter] = shown()["dead_letters"]

    assert (letter["job"], letter["reason"]) == (JOB_ID, "delivery_limit")
    assert "delivery_limit" in run("queues").stdout


def test_a_drained_host_is_shown_with_its_workers(tables):
    for name in ("gpu1-17", "gpu2-17"):
        tables.workers.report_ready(name, queue=QueueName.SEGMENTATION, device="cuda")
    assert run("drain", "gpu2").exit_code == 0
    states = {row["worker"]: row["state"] for row in shown()["workers"]}

    assert states == {"gpu1-17": "ready", "gpu2-17": "draining"}
    assert [row["name"] for row in shown()["drains"]] == ["gpu2"]
    assert tables.drains.concern("gpu2-17")
    assert not tables.drains.concern("gpu1-17")


def test_without_a_name_it_is_this_host(tables):
    run("drain")
    assert tables.drains.concern(f"{socket.gethostname()}-1")
    run("undrain")
    assert tables.drains.list() == []


def test_a_single_worker_may_be_drained(tables):
    run("drain", "gpu2-17")

    assert tables.drains.concern("gpu2-17")
    assert not tables.drains.concern("gpu2-18")


def test_draining_twice_is_told_and_changes_nothing(tables):
    run("drain", "gpu2")

    assert "already" in run("drain", "gpu2").stdout


def test_what_is_not_drained_cannot_be_undrained(tables):
    result = run("undrain", "gpu9")

    assert "gpu9 is not drained" in str(result.exception)


def test_waiting_ends_once_no_worker_is_left(tables, monkeypatch):
    tables.workers.report_ready("gpu2-17", queue="segmentation", device="cuda")
    monkeypatch.setattr(time, "sleep", lambda _: tables.workers.forget("gpu2-17"))
    result = run("drain", "gpu2", "--wait")

    assert result.exit_code == 0
    assert "gpu2-17 still at work" in result.stderr


def test_who_drained_what_is_in_the_audit_log(tables):
    run("drain", "gpu2")
    run("undrain", "gpu2")
    with tables.database.read() as connection:
        lines = connection.exec_driver_sql("SELECT line FROM audit").scalars().all()

    told = ("begin_drain", "end_drain")
    assert [what for line in lines for what in told if what in line] == list(told)
