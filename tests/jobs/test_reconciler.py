"""The reconciler puts right what was lost, and no failing step stops the others."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from pathlib import Path

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.errors import ServiceUnavailableError, StoreError
from hanseg_shared.jobs.messages import (
    TASK_PACKAGE,
    TASK_REGISTER,
    TASK_SEGMENT,
    QueueName,
)
from hanseg_shared.jobs.reconciler import (
    ORPHAN_SECONDS,
    PATIENCE,
    UPLOAD_SECONDS,
    Reconciler,
    ReconcilerThread,
)
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import Payload, PayloadStore
from hanseg_shared.problems import WORKER_LOST
from tests.jobs.fakes import PROBLEM, Gate, claim, new_job


@pytest.fixture
def store(services) -> PayloadStore:
    found: PayloadStore = services.store
    return found


def put(store: PayloadStore, owner: str, folder: Path) -> Payload:
    path = folder / "payload"
    path.write_bytes(owner.encode())
    return store.put(owner, path)


class TestMessages:
    def test_a_job_whose_message_was_never_sent_is_sent(
        self, tables, reconciler, publisher
    ):
        job = new_job(tables)
        reconciler.run_once()
        reconciler.run_once()

        assert publisher.sent == [(TASK_REGISTER, job.id)]

    @pytest.mark.parametrize(
        ("finished", "queue", "task"),
        [
            ([], QueueName.REGISTRATION, TASK_REGISTER),
            ([Stage.REGISTER], QueueName.SEGMENTATION, TASK_SEGMENT),
            ([Stage.REGISTER, Stage.SEGMENT], QueueName.SEGMENTATION, TASK_PACKAGE),
        ],
    )
    def test_each_stage_has_its_queue_and_task(
        self, tables, reconciler, publisher, finished, queue, task
    ):
        job = new_job(tables)
        for stage in finished:
            tables.claims.finish_stage(claim(tables, job, stage), stage, StageResult())
        reconciler.run_once()

        assert publisher.queues[queue] == [(task, job.id)]
        assert len(publisher.sent) == 1

    def test_a_lost_message_is_sent_again_in_time_and_not_before(
        self, tables, reconciler, publisher, clock, settings
    ):
        job = new_job(tables)
        reconciler.run_once()
        publisher.flush()
        clock.advance(settings.republish_seconds)
        reconciler.run_once()
        assert publisher.sent == []

        clock.advance(0.1)
        reconciler.run_once()
        assert publisher.sent == [(TASK_REGISTER, job.id)]

    def test_all_lost_messages_are_sent_in_one_pass(
        self, tables, reconciler, publisher, clock
    ):
        jobs = [new_job(tables).id for _ in range(5)]
        reconciler.run_once()
        publisher.flush()
        clock.advance(21.0)
        reconciler.run_once()

        assert sorted(job_id for _, job_id in publisher.sent) == sorted(jobs)

    def test_a_queue_that_holds_messages_is_not_filled_up(
        self, tables, reconciler, publisher, clock
    ):
        for _ in range(3):
            new_job(tables)
        for _ in range(100):
            reconciler.run_once()
            clock.advance(21.0)

        assert len(publisher.sent) == 3

    def test_a_single_lost_message_is_sent_again_when_patience_ends(
        self, tables, reconciler, publisher, clock, settings
    ):
        jobs = [new_job(tables).id for _ in range(3)]
        reconciler.run_once()
        lost = publisher.queues[QueueName.REGISTRATION].pop(1)
        clock.advance(PATIENCE * settings.republish_seconds)
        reconciler.run_once()
        assert lost not in publisher.sent

        clock.advance(1.0)
        for _ in range(5):
            reconciler.run_once()
        assert lost in publisher.sent
        assert len(publisher.sent) <= 2 * len(jobs)

    def test_an_empty_queue_is_filled_though_the_other_is_full(
        self, tables, reconciler, publisher, clock
    ):
        waiting = new_job(tables)
        lost = claim(tables, new_job(tables))
        tables.claims.finish_stage(lost, Stage.REGISTER, StageResult())
        reconciler.run_once()
        publisher.queues[QueueName.SEGMENTATION].clear()
        clock.advance(21.0)
        reconciler.run_once()

        assert publisher.queues == {
            QueueName.REGISTRATION: [(TASK_REGISTER, waiting.id)],
            QueueName.SEGMENTATION: [(TASK_SEGMENT, lost.id)],
        }

    def test_a_claimed_job_is_left_alone(self, tables, reconciler, publisher, clock):
        claim(tables, new_job(tables))
        clock.advance(25.0)
        reconciler.run_once()

        assert publisher.sent == []

    def test_a_finished_job_has_no_message(self, services, tables, publisher):
        job = tables.jobs.request_cancel(new_job(tables).id)
        services.publish_due(job)

        assert publisher.sent == []

    def test_while_the_broker_is_away_the_job_stays_due(
        self, tables, reconciler, publisher
    ):
        job = new_job(tables)
        publisher.down = True
        with pytest.raises(ServiceUnavailableError, match="does not answer"):
            reconciler.run_once()
        publisher.down = False
        reconciler.run_once()

        assert publisher.sent == [(TASK_REGISTER, job.id)]


class TestLostLeases:
    def test_a_lost_lease_is_sent_again_in_the_same_pass(
        self, tables, reconciler, publisher, clock
    ):
        job = claim(tables, new_job(tables))
        clock.advance(31.0)
        reconciler.run_once()

        assert publisher.sent == [(TASK_REGISTER, job.id)]
        assert tables.jobs.get(job.id).token is None

    def test_a_poisonous_job_fails_with_a_problem_that_says_so(
        self, tables, reconciler, publisher, clock
    ):
        job = new_job(tables)
        for _ in range(3):
            claim(tables, job)
            clock.advance(31.0)
            publisher.flush()
            reconciler.run_once()
        failed = tables.jobs.get(job.id)

        assert failed.state is JobState.FAILED
        assert failed.error.type == WORKER_LOST.type
        assert "died or hung 3 times" in failed.error.detail
        assert publisher.sent == []

    def test_a_job_cancelled_at_a_dead_worker_ends_cancelled(
        self, tables, reconciler, clock
    ):
        job = claim(tables, new_job(tables))
        tables.jobs.request_cancel(job.id)
        clock.advance(31.0)
        reconciler.run_once()

        assert tables.jobs.get(job.id).state is JobState.CANCELLED


class TestExpiry:
    def test_an_expired_job_loses_its_payloads_and_no_other_does(
        self, tables, reconciler, store, clock, tmp_path
    ):
        old = claim(tables, new_job(tables))
        tables.claims.fail(old, PROBLEM)
        kept = new_job(tables)
        for job in (old, kept):
            put(store, job.id, tmp_path)
        clock.advance(3601.0)
        reconciler.run_once()

        assert tables.jobs.get(old.id).state is JobState.EXPIRED
        assert tables.jobs.get(old.id).error.status == 410
        assert store.owners() == [kept.id]

    def test_an_unused_upload_goes_after_a_day(
        self, tables, reconciler, store, clock, tmp_path
    ):
        upload = tables.uploads.create(size=1, sha256="a" * 64)
        put(store, upload.owner, tmp_path)
        clock.advance(UPLOAD_SECONDS + 1.0)
        reconciler.run_once()

        assert store.owners() == []

    def test_a_broker_that_is_away_keeps_nobody_from_expiring(
        self, tables, reconciler, publisher, clock
    ):
        lost = claim(tables, new_job(tables))
        old = claim(tables, new_job(tables))
        tables.claims.fail(old, PROBLEM)
        publisher.down = True
        clock.advance(3601.0)
        with pytest.raises(ServiceUnavailableError):
            reconciler.run_once()

        assert tables.jobs.get(old.id).state is JobState.EXPIRED
        assert tables.jobs.get(lost.id).token is None

    def test_one_folder_that_cannot_be_deleted_stops_no_other(
        self, services, tables, clock, caplog
    ):
        stubborn = Stubborn()
        for _ in range(2):
            tables.claims.fail(claim(tables, new_job(tables)), PROBLEM)
        clock.advance(3601.0)
        Reconciler(dataclasses.replace(services, store=stubborn)).run_once()

        assert len(stubborn.asked) == 2
        assert tables.jobs.count_by_state()[JobState.EXPIRED] == 2
        assert caplog.text.count("cannot be deleted") == 2


class TestSweep:
    def test_files_a_late_worker_wrote_are_deleted(
        self, tables, reconciler, store, tmp_path
    ):
        job = claim(tables, new_job(tables))
        tables.jobs.expire(job.id, PROBLEM)
        put(store, job.id, tmp_path)
        reconciler.sweep()

        assert store.owners() == []

    def test_files_of_jobs_and_uploads_are_kept(
        self, tables, reconciler, store, tmp_path
    ):
        owners = [
            new_job(tables).id,
            tables.uploads.create(size=1, sha256="a" * 64).owner,
        ]
        for owner in owners:
            age(store, owner, put(store, owner, tmp_path), 10 * ORPHAN_SECONDS)
        reconciler.sweep()

        assert store.owners() == sorted(owners)

    def test_files_of_nobody_are_deleted_after_a_day(self, reconciler, store, tmp_path):
        put(store, "young", tmp_path)
        age(store, "old", put(store, "old", tmp_path), ORPHAN_SECONDS + 60.0)
        reconciler.sweep()

        assert store.owners() == ["young"]

    def test_a_store_of_another_database_loses_nothing(
        self, services, tmp_path, caplog
    ):
        (tmp_path / "other").mkdir()
        other = PayloadStore(f"file://{tmp_path / 'other'}")
        assert other.bind("another database")
        age(other, "old", put(other, "old", tmp_path), 10 * ORPHAN_SECONDS)
        Reconciler(dataclasses.replace(services, store=other)).sweep()

        assert other.owners() == ["old"]
        assert "the store is not ours" in caplog.text

    def test_a_store_with_patients_of_unknown_origin_is_not_taken_over(
        self, tables, tmp_path
    ):
        found = PayloadStore(f"file://{tmp_path / 'found'}")
        put(found, "old", tmp_path)
        assert not found.bind(tables.installation.identity())

    def test_a_database_keeps_its_identity(self, tables):
        assert tables.installation.identity() == tables.installation.identity()

    def test_old_keys_and_dead_workers_are_forgotten(self, tables, reconciler, clock):
        tables.keys.reserve("k", "f")
        tables.keys.settle("k", "job")
        tables.workers.report_ready("w", queue="registration", device="cpu")
        clock.advance(30 * 24 * 3600.0)
        reconciler.sweep()

        assert tables.keys.reserve("k", "g") is None
        assert tables.workers.list_live(seen_within_seconds=1e12) == {}


class Stubborn:
    """A store that deletes nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def purge(self, owner: str) -> None:
        self.asked.append(owner)
        raise StoreError(f"what {owner} has in the store cannot be deleted")


def age(store: PayloadStore, owner: str, payload: Payload, seconds: float) -> None:
    with store.open(owner, payload.sha256) as file:
        path = Path(file.name)
    then = time.time() - seconds
    os.utime(path, (then, then))
    os.utime(path.parent, (then, then))


class FakeReconciler:
    """Fails in every way at first, then passes."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.passed = Gate()
        self.swept = Gate()
        self.threads: set[str] = set()

    def run_once(self) -> None:
        self.threads.add(threading.current_thread().name)
        if self.failures:
            raise self.failures.pop(0)
        self.passed.open()

    def sweep(self) -> None:
        self.swept.open()


def test_the_thread_outlives_every_fault():
    reconciler = FakeReconciler(
        ServiceUnavailableError("broker"), StoreError("store"), ZeroDivisionError()
    )
    thread = ReconcilerThread(reconciler, interval_seconds=0.001)  # type: ignore[arg-type]
    thread.start()
    reconciler.passed.wait()
    reconciler.swept.wait()
    thread.stop()

    assert reconciler.threads == {"reconciler"}
    assert "reconciler" not in {t.name for t in threading.enumerate()}
