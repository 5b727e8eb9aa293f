"""The reconciler puts right what was lost, and no failing step stops the others."""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.errors import ServiceUnavailableError, StoreError
from hanseg_shared.jobs.brokers.link import DeadLetter
from hanseg_shared.jobs.messages import (
    TASK_PACKAGE,
    TASK_REGISTER,
    TASK_SEGMENT,
    QueueName,
)
from hanseg_shared.jobs.passes import PassThread
from hanseg_shared.jobs.reconciler import PATIENCE, Reconciler
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.scratch import SIGN_SECONDS, Scratch
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.stores.files import Payload
from hanseg_shared.problems import WORKER_LOST
from tests.jobs.fakes import Gate, claim, new_job, release_all, watch


@pytest.fixture
def store(services) -> PayloadStore:
    found: PayloadStore = services.store
    return found


def put(store: PayloadStore, owner: str, folder: Path) -> Payload:
    path = folder / "payload"
    path.write_bytes(owner.encode())
    return store.put(owner, path)


class TestDeadLetters:
    """What the broker gave up is written down, and its job goes on."""

    def test_a_job_whose_message_died_is_sent_again(
        self, tables, reconciler, publisher
    ):
        job = new_job(tables)
        reconciler.run_once()
        publisher.queues[QueueName.REGISTRATION].clear()
        publisher.dead.append(
            DeadLetter("registration", "delivery_limit", TASK_REGISTER, job.id)
        )
        reconciler.run_once()
        reconciler.run_once()

        assert publisher.sent == [(TASK_REGISTER, job.id)]
        [kept] = tables.dead_letters.list(limit=9)
        assert kept.letter.job_id == job.id

    def test_letters_are_counted_by_a_known_reason(self, tables, reconciler, publisher):
        publisher.dead += [
            DeadLetter("registration", "rejected"),
            DeadLetter("registration", "whatever-somebody-wrote"),
        ]
        reconciler.run_once()
        counts = tables.tallies.read()["dead_letters"]

        assert counts == {(("reason", "rejected"),): 1.0, (("reason", "other"),): 1.0}

    def test_a_month_later_they_are_forgotten(self, tables, clock, sweeper):
        tables.dead_letters.keep(DeadLetter("registration", "rejected"))
        sweeper.sweep()
        assert len(tables.dead_letters.list(limit=9)) == 1
        tables.dead_letters.drop_old(older_than_seconds=-1.0)
        assert tables.dead_letters.list(limit=9) == []


def test_what_an_owners_limit_holds_back_gets_no_message(
    services, tables, clock, publisher
):
    limited = replace(
        services,
        settings=services.settings.model_copy(update={"max_running_jobs_a_caller": 2}),
    )
    reconciler = Reconciler(limited, steady=clock.steady, most_step_seconds=math.inf)
    jobs = [new_job(tables, owned_by="batch") for _ in range(4)]
    claim(tables, jobs[0])
    reconciler.run_once()
    publisher.flush()
    clock.advance(services.settings.republish_seconds + 1)
    reconciler.run_once()

    assert len(publisher.sent) == 1  # one place is free


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
        job = claim(tables, new_job(tables))
        reconciler.run_once()
        for _ in range(10):
            clock.advance(25.0)
            tables.claims.renew(job.id, job.token, lease_seconds=30.0)
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
    def test_a_job_whose_worker_is_dead_goes_on_at_once(
        self, tables, reconciler, publisher, settings
    ):
        job = claim(tables, new_job(tables))
        left = settings.scratch / f"attempt-{job.id}-{job.total_attempts}"
        left.mkdir(parents=True)  # and nobody holds it
        reconciler.run_once()

        assert tables.jobs.get(job.id).token is None
        assert publisher.sent == [(TASK_REGISTER, job.id)]

    def test_what_an_earlier_attempt_left_says_nothing_of_this_one(
        self, tables, reconciler, settings
    ):
        job = new_job(tables)
        claim(tables, job)
        release_all(tables)
        (settings.scratch / f"attempt-{job.id}-1").mkdir(parents=True)
        held = claim(tables, job)
        reconciler.run_once()

        assert tables.jobs.get(job.id).token == held.token

    def test_a_living_worker_on_this_machine_is_left_alone(
        self, tables, reconciler, settings
    ):
        job = claim(tables, new_job(tables))
        scratch = Scratch(settings.scratch)
        with scratch.hold_attempt(job.id, job.total_attempts):
            reconciler.run_once()

        assert tables.jobs.get(job.id).token == job.token

    def test_a_lost_lease_is_sent_again_in_the_same_pass(
        self, tables, reconciler, publisher, clock
    ):
        job = claim(tables, new_job(tables))
        watch(reconciler, clock, 31.0)

        assert publisher.sent == [(TASK_REGISTER, job.id)]
        assert tables.jobs.get(job.id).token is None

    def test_a_poisonous_job_fails_with_a_problem_that_says_so(
        self, tables, reconciler, publisher, clock
    ):
        job = new_job(tables)
        for _ in range(3):
            claim(tables, job)
            publisher.flush()
            watch(reconciler, clock, 31.0)
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
        watch(reconciler, clock, 31.0)

        assert tables.jobs.get(job.id).state is JobState.CANCELLED

    def test_a_broker_that_is_away_keeps_no_lost_job_with_its_worker(
        self, tables, reconciler, publisher, clock
    ):
        lost = claim(tables, new_job(tables))
        reconciler.run_once()
        publisher.down = True
        clock.advance(3601.0)
        with pytest.raises(ServiceUnavailableError):
            reconciler.run_once()

        assert tables.jobs.get(lost.id).token is None


class TestScratch:
    def test_what_dead_workers_left_goes_at_once_and_what_is_held_stays(
        self, tables, reconciler, settings
    ):
        dead = settings.scratch / "attempt-dead-1"
        (dead / "registration").mkdir(parents=True)
        (dead / "ct").write_text("a patient's")
        with Scratch(settings.scratch).hold_attempt("living", 1) as held:
            reconciler.run_once()
            assert list(settings.scratch.iterdir()) == [held]

    def test_a_sweep_by_another_hides_no_death_from_the_reconciler(
        self, tables, reconciler, settings
    ):
        job = claim(tables, new_job(tables))
        left = settings.scratch / f"attempt-{job.id}-{job.total_attempts}"
        (left / "registration").mkdir(parents=True)
        (left / "ct").write_text("a patient's")
        Scratch(settings.scratch).sweep()
        assert list(left.iterdir()) == []
        reconciler.run_once()
        assert tables.jobs.get(job.id).token is None
        reconciler.run_once()
        assert list(settings.scratch.iterdir()) == []

    def test_a_sign_that_nobody_reads_does_not_lie_there_for_ever(self, settings):
        """On a host without API no reconciler removes it."""
        sign = settings.scratch / "attempt-dead-1"
        sign.mkdir(parents=True)
        Scratch(settings.scratch).sweep()
        assert sign.exists()
        long_ago = time.time() - SIGN_SECONDS - 1.0
        os.utime(sign, (long_ago, long_ago))
        Scratch(settings.scratch).sweep()
        assert not sign.exists()

    def test_what_a_dead_worker_left_of_a_job_is_purged_with_it(self, settings):
        scratch = Scratch(settings.scratch)
        for name in ("attempt-a-1", "attempt-a-2", "attempt-b-1"):
            (settings.scratch / name).mkdir(parents=True)
        scratch.purge("a")
        assert [path.name for path in settings.scratch.iterdir()] == ["attempt-b-1"]


class FakeReconciler:
    """Fails in every way at first, then passes."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.passed = Gate()
        self.threads: set[str] = set()

    def run_once(self) -> None:
        self.threads.add(threading.current_thread().name)
        if self.failures:
            raise self.failures.pop(0)
        self.passed.open()


def test_the_thread_outlives_every_fault():
    reconciler = FakeReconciler(
        ServiceUnavailableError("broker"), StoreError("store"), ZeroDivisionError()
    )
    thread = PassThread("reconciler", reconciler.run_once, interval_seconds=0.001)
    thread.start()
    reconciler.passed.wait()
    thread.stop()

    assert reconciler.threads == {"reconciler"}
    assert "reconciler" not in {t.name for t in threading.enumerate()}
