"""What stands beside the jobs: uploads, batches, idempotency keys, workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.record import WorkerState, WorkerStatus
from hanseg_shared.jobs.repository import ABANDONED_KEY_SECONDS, KeyState
from tests.jobs.fakes import EPOCH, new_job


class TestUploads:
    def test_an_upload_is_announced_then_received(self, repository):
        upload = repository.create_upload(size=5_000_000_000, sha256="a" * 64)
        repository.mark_received(upload.id)

        assert (upload.bytes, upload.received) == (5_000_000_000, False)
        assert upload.owner == f"upload-{upload.id}"
        assert repository.get_upload(upload.id).received

    def test_an_unknown_upload_is_not_found(self, repository):
        with pytest.raises(JobNotFoundError, match="there is no upload nobody"):
            repository.get_upload("nobody")

    def test_old_uploads_are_dropped_once(self, repository, clock):
        old = repository.create_upload(size=1, sha256="a" * 64)
        clock.advance(60.0)
        young = repository.create_upload(size=1, sha256="b" * 64)

        assert repository.drop_old_uploads(older_than_seconds=30.0) == [old]
        assert repository.drop_old_uploads(older_than_seconds=30.0) == []
        assert repository.get_upload(young.id) == young


class TestBatches:
    def test_a_batch_counts_its_jobs_by_state(self, repository):
        batch = repository.create_batch("ward 3")
        new_job(repository, batch_id=batch.id)
        repository.request_cancel(new_job(repository, batch_id=batch.id).id)
        new_job(repository)
        found = repository.get_batch(batch.id)

        assert (found.name, found.created_at) == ("ward 3", EPOCH)
        assert found.counts == {JobState.QUEUED: 1, JobState.CANCELLED: 1}
        assert (found.total, found.unfinished) == (2, 1)

    def test_a_batch_may_be_empty_and_nameless(self, repository):
        batch = repository.create_batch(None)

        assert (batch.name, batch.total, batch.unfinished) == (None, 0, 0)

    def test_an_unknown_batch_is_not_found(self, repository):
        with pytest.raises(JobNotFoundError, match="there is no batch nobody"):
            repository.get_batch("nobody")


class TestIdempotencyKeys:
    def test_a_new_key_is_taken(self, repository):
        assert repository.reserve_key("k", "f") is None

    def test_a_key_in_use_tells_the_first_request(self, repository):
        repository.reserve_key("k", "first")

        assert repository.reserve_key("k", "second") == KeyState("first", None)

    def test_a_settled_key_tells_what_was_made(self, repository):
        repository.reserve_key("k", "f")
        repository.settle_key("k", "job-1")
        repository.settle_key("k", "job-2")

        assert repository.reserve_key("k", "f") == KeyState("f", "job-1")

    def test_a_released_key_can_be_taken_again(self, repository):
        repository.reserve_key("k", "f")
        repository.release_key("k")

        assert repository.reserve_key("k", "g") is None

    def test_a_settled_key_is_not_released(self, repository):
        repository.reserve_key("k", "f")
        repository.settle_key("k", "job-1")
        repository.release_key("k")

        assert repository.reserve_key("k", "f") == KeyState("f", "job-1")

    def test_the_key_of_a_dead_request_is_taken_over(self, repository, clock):
        repository.reserve_key("k", "f")
        clock.advance(ABANDONED_KEY_SECONDS + 1.0)

        assert repository.reserve_key("k", "f") is None

    def test_a_settled_key_is_remembered_for_its_time(self, repository, clock):
        repository.reserve_key("k", "f")
        repository.settle_key("k", "job-1")
        clock.advance(ABANDONED_KEY_SECONDS + 1.0)
        assert repository.reserve_key("k", "f") == KeyState("f", "job-1")

        assert repository.drop_old_keys(older_than_seconds=60.0) == 1
        assert repository.reserve_key("k", "f") is None

    def test_of_many_requests_at_once_one_gets_the_key(self, repository):
        def take(number):
            return repository.reserve_key("k", f"request {number}")

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(take, range(48)))
        winner = answers.index(None)

        assert answers.count(None) == 1
        assert {answer for answer in answers if answer} == {
            KeyState(f"request {winner}", None)
        }


class TestWorkers:
    def test_a_worker_is_live_while_it_is_heard_of(self, repository, clock):
        repository.report_worker("a-1", queue="registration", device="cpu")
        clock.advance(10.0)
        repository.report_worker("b-1", queue="segmentation", device="cuda")
        repository.report_worker("b-1", queue="segmentation", device="cuda")
        clock.advance(10.0)

        assert repository.live_workers(seen_within_seconds=15.0) == {
            "segmentation": ["b-1"]
        }
        assert repository.live_workers(seen_within_seconds=20.0) == {
            "registration": ["a-1"],
            "segmentation": ["b-1"],
        }

    def test_a_worker_that_leaves_is_forgotten(self, repository):
        repository.report_worker("a-1", queue="registration", device="cpu")
        repository.forget_worker("a-1")
        repository.forget_worker("never-seen")

        assert repository.live_workers(seen_within_seconds=15.0) == {}

    def test_a_worker_says_how_far_it_is_and_since_when(self, repository, clock):
        repository.report_loading("a-1", queue="registration", trouble="no database")
        clock.advance(7.0)
        repository.report_loading("a-1", queue="registration", trouble=None)
        clock.advance(2.0)
        [loading] = repository.worker_statuses()
        repository.report_worker("a-1", queue="registration", device="cpu")
        [ready] = repository.worker_statuses()

        assert loading == WorkerStatus(
            "a-1", "registration", WorkerState.LOADING, EPOCH, 2.0
        )
        assert ready == WorkerStatus(
            "a-1", "registration", WorkerState.READY, EPOCH + 9.0, 0.0
        )

    def test_a_worker_that_loads_is_not_live(self, repository):
        repository.report_loading("a-1", queue="registration", trouble=None)

        assert repository.live_workers(seen_within_seconds=15.0) == {}

    def test_a_worker_that_leaves_says_nothing_more(self, repository):
        repository.report_loading("a-1", queue="registration", trouble=None)
        repository.forget_worker("a-1")

        assert repository.worker_statuses() == []

    def test_a_worker_that_died_while_it_loaded_is_forgotten_at_last(
        self, repository, clock
    ):
        repository.report_loading("a-1", queue="registration", trouble=None)
        clock.advance(100.0)
        repository.drop_dead_workers(unseen_for_seconds=60.0)

        assert repository.worker_statuses() == []

    def test_dead_workers_leave_the_table_at_last(self, repository, clock):
        repository.report_worker("a-1", queue="registration", device="cpu")
        clock.advance(100.0)
        repository.report_worker("a-2", queue="registration", device="cpu")

        assert repository.drop_dead_workers(unseen_for_seconds=60.0) == 1
        assert repository.live_workers(seen_within_seconds=1e9) == {
            "registration": ["a-2"]
        }
