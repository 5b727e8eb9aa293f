"""What stands beside the jobs: uploads, batches, idempotency keys, workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from hanseg_shared.documents import JobState
from hanseg_shared.errors import JobNotFoundError, LeaseLostError
from hanseg_shared.jobs.record import NewJob, WorkerState, WorkerStatus
from hanseg_shared.jobs.schema import workers
from hanseg_shared.jobs.tables.keys import LEASE_SECONDS, KeyClaim, KeyState
from tests.jobs.fakes import CT, EPOCH, make_with_key, new_job


class TestUploads:
    def test_an_upload_is_announced_then_received(self, tables):
        upload = tables.uploads.create(size=5_000_000_000, sha256="a" * 64)
        tables.uploads.mark_received(upload.id)

        assert (upload.bytes, upload.received) == (5_000_000_000, False)
        assert upload.owner == f"upload-{upload.id}"
        assert tables.uploads.get(upload.id).received

    def test_an_unknown_upload_is_not_found(self, tables):
        with pytest.raises(JobNotFoundError, match="there is no upload nobody"):
            tables.uploads.get("nobody")

    def test_old_uploads_are_dropped_once(self, tables, clock):
        old = tables.uploads.create(size=1, sha256="a" * 64)
        clock.advance(60.0)
        young = tables.uploads.create(size=1, sha256="b" * 64)

        assert tables.uploads.drop_old(older_than_seconds=30.0) == [old]
        assert tables.uploads.drop_old(older_than_seconds=30.0) == []
        assert tables.uploads.get(young.id) == young


class TestBatches:
    def test_a_batch_counts_its_jobs_by_state(self, tables):
        batch = tables.batches.create("ward 3")
        new_job(tables, batch_id=batch.id)
        tables.jobs.request_cancel(new_job(tables, batch_id=batch.id).id)
        new_job(tables)
        found = tables.batches.get(batch.id)

        assert (found.name, found.created_at) == ("ward 3", EPOCH)
        assert found.counts == {JobState.QUEUED: 1, JobState.CANCELLED: 1}
        assert (found.total, found.unfinished) == (2, 1)

    def test_a_batch_may_be_empty_and_nameless(self, tables):
        batch = tables.batches.create(None)

        assert (batch.name, batch.total, batch.unfinished) == (None, 0, 0)

    def test_an_unknown_batch_is_not_found(self, tables):
        with pytest.raises(JobNotFoundError, match="there is no batch nobody"):
            tables.batches.get("nobody")


class TestIdempotencyKeys:
    def test_a_key_in_use_tells_the_first_request(self, tables):
        assert isinstance(tables.keys.reserve("k", "first"), KeyClaim)
        assert tables.keys.reserve("k", "second") == KeyState("first", None)

    def test_a_job_and_its_key_are_kept_together(self, tables):
        job_id = make_with_key(tables, "k", "f")
        assert tables.keys.reserve("k", "f") == KeyState("f", job_id)

    def test_a_batch_and_its_key_are_kept_together(self, tables):
        held = tables.keys.reserve("k", "f")
        batch = tables.batches.create("ward 3", [NewJob("j", (CT,))], key=held)
        assert tables.keys.reserve("k", "f") == KeyState("f", batch.id)

    def test_a_released_key_can_be_taken_again(self, tables):
        tables.keys.release(tables.keys.reserve("k", "f"))
        assert isinstance(tables.keys.reserve("k", "g"), KeyClaim)

    def test_a_settled_key_is_not_released(self, tables):
        held = tables.keys.reserve("k", "f")
        job = tables.jobs.create(NewJob("j", (CT,)), key=held)
        tables.keys.release(held)
        assert tables.keys.reserve("k", "f") == KeyState("f", job.id)

    @pytest.mark.parametrize("seconds", [LEASE_SECONDS + 1.0, -3600.0])
    def test_a_key_that_nobody_renews_is_taken_over(self, tables, clock, seconds):
        tables.keys.reserve("k", "f")
        clock.set_forward(seconds)  # by less than nothing: the clock is put right
        assert isinstance(tables.keys.reserve("k", "f"), KeyClaim)

    def test_a_key_that_is_renewed_stays(self, tables, clock):
        held = tables.keys.reserve("k", "f")
        for _ in range(100):
            clock.advance(LEASE_SECONDS / 2)
            assert tables.keys.renew(held)
        assert tables.keys.reserve("k", "f") == KeyState("f", None)
        tables.jobs.create(NewJob("j", (CT,)), key=held)

    def test_who_lost_a_key_makes_nothing(self, tables, clock):
        held = tables.keys.reserve("k", "f")
        clock.advance(LEASE_SECONDS + 1.0)
        other = tables.keys.reserve("k", "f")
        assert not tables.keys.renew(held)
        with pytest.raises(LeaseLostError, match="taken over"):
            tables.jobs.create(NewJob("late", (CT,)), key=held)
        with pytest.raises(LeaseLostError, match="taken over"):
            tables.batches.create("late", [NewJob("late", (CT,))], key=held)
        tables.keys.release(held)
        tables.jobs.create(NewJob("first", (CT,)), key=other)
        assert [job.id for job in tables.jobs.list_page(limit=9).jobs] == ["first"]

    def test_a_settled_key_is_remembered_for_its_time(self, tables, clock):
        job_id = make_with_key(tables, "k", "f")
        clock.advance(LEASE_SECONDS + 1.0)
        assert tables.keys.reserve("k", "f") == KeyState("f", job_id)

        assert tables.keys.drop_old(older_than_seconds=10.0) == 1
        assert isinstance(tables.keys.reserve("k", "f"), KeyClaim)

    def test_of_many_requests_at_once_one_gets_the_key(self, tables):
        def take(number):
            return tables.keys.reserve("k", f"request {number}")

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(take, range(48)))
        (winner,) = [n for n, one in enumerate(answers) if isinstance(one, KeyClaim)]

        assert {answer for answer in answers if isinstance(answer, KeyState)} == {
            KeyState(f"request {winner}", None)
        }


def list_takers(tables) -> list[str]:
    """Return the names of the workers that an API of version 0.1.0 reckons with."""
    with tables.database.read() as connection:
        return list(connection.execute(sa.select(workers.c.name)).scalars())


class TestWorkers:
    def test_a_worker_is_silent_since_it_was_heard_of_last(self, tables, clock):
        tables.workers.report_ready("a-1", queue="registration", device="cpu")
        clock.advance(10.0)
        tables.workers.report_ready("b-1", queue="segmentation", device="cuda")
        tables.workers.report_ready("b-1", queue="segmentation", device="cuda")
        clock.advance(10.0)

        silent = {s.name: s.silent_seconds for s in tables.workers.statuses()}
        assert silent == {"a-1": 20.0, "b-1": 10.0}

    def test_a_worker_that_leaves_is_forgotten(self, tables):
        tables.workers.report_ready("a-1", queue="registration", device="cpu")
        tables.workers.forget("a-1")
        tables.workers.forget("never-seen")

        assert tables.workers.statuses() == []
        assert list_takers(tables) == []

    def test_a_worker_says_how_far_it_is_and_since_when(self, tables, clock):
        tables.workers.report_loading(
            "a-1", queue="registration", trouble="no database"
        )
        clock.advance(7.0)
        tables.workers.report_loading("a-1", queue="registration", trouble=None)
        clock.advance(2.0)
        [loading] = tables.workers.statuses()
        tables.workers.report_ready("a-1", queue="registration", device="cpu")
        [ready] = tables.workers.statuses()

        assert loading == WorkerStatus(
            "a-1", "registration", WorkerState.LOADING, EPOCH, 2.0
        )
        assert ready == WorkerStatus(
            "a-1",
            "registration",
            WorkerState.READY,
            EPOCH + 9.0,
            0.0,
            proven_seconds=0.0,
        )

    def test_a_worker_that_loads_takes_no_jobs(self, tables):
        tables.workers.report_ready("a-1", queue="registration", device="cpu")
        assert list_takers(tables) == ["a-1"]
        tables.workers.report_loading("a-1", queue="registration", trouble=None)

        assert list_takers(tables) == []

    def test_a_worker_that_leaves_says_nothing_more(self, tables):
        tables.workers.report_loading("a-1", queue="registration", trouble=None)
        tables.workers.forget("a-1")

        assert tables.workers.statuses() == []

    def test_a_worker_that_died_while_it_loaded_is_forgotten_at_last(
        self, tables, clock
    ):
        tables.workers.report_loading("a-1", queue="registration", trouble=None)
        clock.advance(100.0)
        tables.workers.drop_dead(unseen_for_seconds=60.0)

        assert tables.workers.statuses() == []

    def test_dead_workers_leave_the_table_at_last(self, tables, clock):
        tables.workers.report_ready("a-1", queue="registration", device="cpu")
        clock.advance(100.0)
        tables.workers.report_ready("a-2", queue="registration", device="cpu")

        assert tables.workers.drop_dead(unseen_for_seconds=60.0) == 1
        assert [s.name for s in tables.workers.statuses()] == ["a-2"]
        assert list_takers(tables) == ["a-2"]
