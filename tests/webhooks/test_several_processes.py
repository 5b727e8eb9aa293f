"""Several messengers on one database: each message once, and none lost by a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hanseg_shared.jobs.messenger import Messenger
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.webhooks.documents import EventType, Outcome
from hanseg_shared.webhooks.sending import Answer
from tests.jobs.fakes import Gate, new_job
from tests.webhooks.receiver import receiving

JOBS = 12


@pytest.fixture
def tables(database: str) -> Iterator[Tables]:
    opened = Tables.of(open_database(database), retention_seconds=3600.0)
    yield opened
    opened.close()


def end_jobs(tables: Tables, owner: str, count: int) -> set[str]:
    ended = {new_job(tables, owned_by=owner).id for _ in range(count)}
    for job_id in ended:
        tables.jobs.request_cancel(job_id)
    return ended


class Counting:
    """A receiver that takes everything and counts it."""

    def __init__(self) -> None:
        self.came: Counter[str] = Counter()

    def send(self, url, headers, body) -> Answer:
        self.came[json.loads(body)["data"]["job"]] += 1
        return Answer(200)


def test_messengers_side_by_side_send_each_message_once(tables):
    sender, done = Counting(), threading.Event()
    for owner in ("anna", "bert", "carl"):
        tables.webhooks.create(
            "https://example.org/", tuple(EventType), owned_by=owner, most=10
        )

    def work() -> None:
        messenger = Messenger(tables, sender)
        while not done.is_set():
            messenger.run_once()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    ended = set[str]()
    for owner in ("anna", "bert", "carl"):
        ended |= end_jobs(tables, owner, JOBS)
    while set(sender.came) != ended and all(each.is_alive() for each in threads):
        done.wait(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert sender.came == dict.fromkeys(ended, 1)


def start_sweep(data: Path) -> subprocess.Popen[bytes]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("HANSEG_")}
    return subprocess.Popen(
        [sys.executable, "-m", "hanseg_shared.jobs.sweep_process"],
        env=ours
        | {
            "HANSEG_DATA": str(data),
            "HANSEG_WEBHOOK_HTTP": "true",
            "HANSEG_WEBHOOK_NETWORKS": "127.0.0.0/8",
        },
        stderr=subprocess.DEVNULL,
    )


def test_a_sweep_that_is_killed_loses_no_message(tmp_path, monkeypatch):
    database = open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    tables = Tables.of(database, retention_seconds=3600.0)
    came, all_came = Gate(), Gate()
    with receiving() as receiver:
        take, jobs = receiver.take, set[str]()

        def note(path: str, headers: dict[str, str], body: bytes) -> int:
            jobs.add(json.loads(body)["data"]["job"])
            came.open()
            if jobs == ended:
                all_came.open()
            return take(path, headers, body)

        monkeypatch.setattr(receiver, "take", note)
        hook = tables.webhooks.create(
            receiver.url, tuple(EventType), owned_by="anna", most=10
        )
        ended = end_jobs(tables, "anna", 30)
        first = start_sweep(tmp_path)
        came.wait(60.0)
        first.kill()  # most often with a message on its way
        first.wait()
        with database.write() as connection:  # as if the lease's two minutes were over
            connection.exec_driver_sql("UPDATE webhooks SET lease_until = 0")
        second = start_sweep(tmp_path)
        all_came.wait(60.0)
        second.terminate()
        assert second.wait(30.0) == 0
    outcomes = {each.outcome for each in tables.deliveries.list(hook.id)}
    assert outcomes == {Outcome.DELIVERED}
    tables.close()
