"""Rows are read as they were written: jobs, pages, counts, versions, tombstones."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

from hanseg_shared.documents import (
    FINAL_STATES,
    Backend,
    JobOptions,
    JobState,
    TransformKind,
)
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.repository import StageResult
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.stages import Stage
from tests.jobs.fakes import CT, EPOCH, PROBLEM, claim, new_job

OPTIONS = JobOptions(
    model="small", registration=TransformKind.AFFINE, backend=Backend.ANTS
)


def test_a_new_job_is_queued_with_what_it_was_given(repository):
    job = repository.create(
        NewJob("abc", (CT,), options=OPTIONS, case_name="Ünal 1", batch_id="b")
    )

    assert job == repository.get("abc")
    assert job.state is JobState.QUEUED
    assert (job.inputs, job.options) == ((CT,), OPTIONS)
    assert (job.case_name, job.batch_id) == ("Ünal 1", "b")
    assert (job.created_at, job.attempts, job.token) == (EPOCH, 0, None)


def test_an_id_is_used_once(repository):
    repository.create(NewJob("abc", (CT,)))

    with pytest.raises(sa.exc.IntegrityError):
        repository.create(NewJob("abc", (CT,)))


def test_an_unknown_job_is_not_found(repository):
    with pytest.raises(JobNotFoundError, match="there is no job nobody"):
        repository.get("nobody")
    assert repository.version("nobody") is None


def test_the_version_grows_with_every_change_that_callers_see(repository):
    job = new_job(repository)
    versions = [repository.version(job.id)]
    for change in (
        lambda: claim(repository, job),
        lambda: repository.release(repository.get(job.id)),
        lambda: claim(repository, job),
        lambda: repository.request_cancel(job.id),
        lambda: repository.end_cancelled(repository.get(job.id)),
        lambda: repository.mark_expired(job.id, PROBLEM),
    ):
        change()
        versions.append(repository.version(job.id))

    assert versions == sorted(set(versions))


def test_the_document_of_a_job_says_when_in_utc(repository):
    document = new_job(repository).document(links={"self": "/v1/jobs/x"})

    assert document.created_at.isoformat() == "2023-11-14T22:13:20+00:00"
    assert document.links == {"self": "/v1/jobs/x"}
    assert document.finished_at is None


class TestPaging:
    def test_the_newest_jobs_come_first(self, repository, clock):
        jobs = []
        for _ in range(3):
            jobs.append(new_job(repository).id)
            clock.advance(1.0)

        assert [j.id for j in repository.page(limit=9).jobs] == jobs[::-1]

    def test_pages_cover_jobs_of_one_moment_once(self, repository):
        jobs = {new_job(repository).id for _ in range(7)}
        seen, position = [], None
        while True:
            page = repository.page(limit=2, before=position)
            seen += [job.id for job in page.jobs]
            position = page.next_position
            if position is None:
                break

        assert len(seen) == 7
        assert set(seen) == jobs

    def test_a_job_that_arrives_meanwhile_shifts_nothing(self, repository, clock):
        old = [new_job(repository).id for _ in range(4)]
        first = repository.page(limit=2)
        clock.advance(1.0)
        new_job(repository)
        second = repository.page(limit=2, before=first.next_position)

        assert {job.id for job in (*first.jobs, *second.jobs)} == set(old)

    def test_the_last_page_says_so(self, repository):
        new_job(repository)
        new_job(repository)

        assert repository.page(limit=2).next_position is None
        assert repository.page(limit=1).next_position is not None

    def test_there_may_be_nothing(self, repository):
        assert repository.page(limit=2).jobs == ()

    def test_filters_are_combined(self, repository, clock):
        new_job(repository, batch_id="b")
        clock.advance(1.0)
        wanted = new_job(repository, batch_id="b")
        new_job(repository)
        cancelled = repository.request_cancel(new_job(repository, batch_id="b").id)
        page = repository.page(
            limit=9, states=(JobState.QUEUED,), created_after=EPOCH, batch_id="b"
        )

        assert [job.id for job in page.jobs] == [wanted.id]
        page = repository.page(limit=9, states=tuple(FINAL_STATES))
        assert [job.id for job in page.jobs] == [cancelled.id]


class TestCounts:
    def test_every_state_is_counted(self, repository):
        new_job(repository)
        claim(repository, new_job(repository))
        repository.request_cancel(new_job(repository).id)
        counts = repository.count_by_state()

        assert set(counts) == set(JobState)
        assert {state: n for state, n in counts.items() if n} == {
            JobState.QUEUED: 1,
            JobState.REGISTERING: 1,
            JobState.CANCELLED: 1,
        }
        assert repository.count_unfinished() == 2

    def test_only_jobs_that_may_be_claimed_wait_for_a_worker(self, repository):
        new_job(repository)
        claim(repository, new_job(repository))
        repository.request_cancel(claim(repository, new_job(repository)).id)
        repository.request_cancel(new_job(repository).id)

        assert repository.count_unclaimed() == {JobState.QUEUED: 1}

    def test_the_oldest_waiting_job_tells_how_long_it_waits(self, repository, clock):
        assert repository.oldest_waiting_seconds() == 0.0
        job = new_job(repository)
        clock.advance(12.0)
        assert repository.oldest_waiting_seconds() == 12.0
        claim(repository, job)
        assert repository.oldest_waiting_seconds() == 0.0


class TestDue:
    def test_a_new_job_is_due_until_its_message_is_sent(self, repository):
        job = new_job(repository)
        assert repository.due(published_before_seconds=None) == [job]

        repository.mark_published(job)
        assert repository.due(published_before_seconds=None) == []

    def test_a_sent_job_is_due_again_after_a_while(self, repository, clock):
        job = new_job(repository)
        repository.mark_published(job)
        clock.advance(20.0)
        assert repository.due(published_before_seconds=20.0) == []

        clock.advance(0.5)
        assert [j.id for j in repository.due(published_before_seconds=20.0)] == [job.id]

    def test_a_claimed_job_is_not_due(self, repository, clock):
        claim(repository, new_job(repository))
        clock.advance(100.0)

        assert repository.due(published_before_seconds=20.0) == []

    def test_a_job_put_off_is_due_as_if_its_message_were_just_sent(
        self, repository, clock
    ):
        job = claim(repository, new_job(repository))
        repository.release(job, later=True)
        assert repository.due(published_before_seconds=20.0) == []

        clock.advance(21.0)
        assert [j.id for j in repository.due(published_before_seconds=20.0)] == [job.id]

    def test_a_late_note_of_an_earlier_stage_hides_nothing(self, repository):
        queued = new_job(repository)
        repository.finish_stage(
            claim(repository, queued), Stage.REGISTER, StageResult()
        )
        repository.mark_published(queued)

        assert len(repository.due(published_before_seconds=None)) == 1

    def test_the_oldest_job_is_sent_first(self, repository, clock):
        jobs = []
        for _ in range(3):
            jobs.append(new_job(repository).id)
            clock.advance(1.0)

        assert [j.id for j in repository.due(published_before_seconds=None)] == jobs


class TestTombstones:
    def test_a_job_expires_after_its_time_and_not_before(self, repository, clock):
        job = claim(repository, new_job(repository))
        repository.fail(job, PROBLEM)
        clock.advance(3600.0)
        assert repository.expired() == []

        clock.advance(1.0)
        assert [j.id for j in repository.expired()] == [job.id]

    def test_an_unfinished_job_never_expires(self, repository, clock):
        new_job(repository)
        clock.advance(1e9)

        assert repository.expired() == []

    def test_a_tombstone_holds_nothing_of_the_patient(self, repository, clock):
        job = claim(repository, new_job(repository, case_name="Jane Doe"))
        repository.fail(job, PROBLEM)
        clock.advance(10.0)
        tombstone = repository.mark_expired(job.id, PROBLEM)

        assert tombstone.state is JobState.EXPIRED
        assert tombstone.case_name is None
        assert (tombstone.organs, tombstone.files, tombstone.intermediate) == (
            (),
            (),
            (),
        )
        assert tombstone.registration is None
        assert tombstone.finished_at == EPOCH
        assert tombstone.expires_at == EPOCH + 10.0

    def test_a_tombstone_expires_no_further(self, repository, clock):
        job = new_job(repository)
        tombstone = repository.mark_expired(job.id, PROBLEM)
        clock.advance(1e6)

        assert repository.expired() == []
        assert repository.mark_expired(job.id, PROBLEM) == tombstone

    def test_deleting_a_running_job_fences_its_worker_off(self, repository):
        job = claim(repository, new_job(repository))
        tombstone = repository.mark_expired(job.id, PROBLEM)

        assert not repository.finish_stage(job, Stage.REGISTER, StageResult())
        assert repository.renew(job.id, job.token, lease_seconds=30.0) is None
        assert repository.get(job.id) == tombstone

    def test_an_unknown_job_cannot_expire(self, repository):
        with pytest.raises(JobNotFoundError):
            repository.mark_expired(uuid.uuid4().hex, PROBLEM)

    def test_owners_tell_what_is_kept_from_what_is_gone(self, repository):
        kept = new_job(repository)
        gone = repository.mark_expired(new_job(repository).id, PROBLEM)
        upload = repository.create_upload(size=1, sha256="a" * 64)
        owners = repository.owners()

        assert owners.kept == {kept.id, upload.owner}
        assert owners.expired == {gone.id}


def test_the_flags_of_a_job_of_version_0_1_are_read(repository):
    job = new_job(repository)
    organ = {"name": "Lips", "label": 23, "status": "contoured", "volume_ml": 9.0}
    old = [{**organ, "flags": ["pieces_removed_0.31_ml", "truncated_at_scan_edge"]}]
    with repository._engine.begin() as connection:
        connection.execute(sa.update(jobs).values(organs=old))

    (read,) = repository.get(job.id).organs

    assert [str(flag) for flag in read.flags] == [
        "pieces_removed ml=0.31",
        "truncated_at_scan_edge",
    ]
