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
from hanseg_shared.jobs.record import NewJob, StageResult
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.worklist import JobFilter
from tests.jobs.fakes import CT, EPOCH, PROBLEM, claim, new_job, unsent

OPTIONS = JobOptions(
    model="small", registration=TransformKind.AFFINE, backend=Backend.ANTS
)


def test_a_new_job_is_queued_with_what_it_was_given(tables):
    job = tables.jobs.create(
        NewJob("abc", (CT,), options=OPTIONS, case_name="Ünal 1", batch_id="b")
    )

    assert job == tables.jobs.get("abc")
    assert job.state is JobState.QUEUED
    assert (job.inputs, job.options) == ((CT,), OPTIONS)
    assert (job.case_name, job.batch_id) == ("Ünal 1", "b")
    assert (job.created_at, job.attempts, job.token) == (EPOCH, 0, None)


def test_an_id_is_used_once(tables):
    tables.jobs.create(NewJob("abc", (CT,)))

    with pytest.raises(sa.exc.IntegrityError):
        tables.jobs.create(NewJob("abc", (CT,)))


def test_an_unknown_job_is_not_found(tables):
    with pytest.raises(JobNotFoundError, match="there is no job nobody"):
        tables.jobs.get("nobody")
    assert tables.jobs.version("nobody") is None


def test_the_version_grows_with_every_change_that_callers_see(tables):
    job = new_job(tables)
    versions = [tables.jobs.version(job.id)]
    for change in (
        lambda: claim(tables, job),
        lambda: tables.claims.release(tables.jobs.get(job.id)),
        lambda: claim(tables, job),
        lambda: tables.jobs.request_cancel(job.id),
        lambda: tables.claims.end_cancelled(tables.jobs.get(job.id)),
        lambda: tables.jobs.expire(job.id, PROBLEM),
    ):
        change()
        versions.append(tables.jobs.version(job.id))

    assert versions == sorted(set(versions))


def test_the_document_of_a_job_says_when_in_utc(tables):
    document = new_job(tables).document(links={"self": "/v1/jobs/x"})

    assert document.created_at.isoformat() == "2023-11-14T22:13:20+00:00"
    assert document.links == {"self": "/v1/jobs/x"}
    assert document.finished_at is None


class TestPaging:
    def test_the_newest_jobs_come_first(self, tables, clock):
        jobs = []
        for _ in range(3):
            jobs.append(new_job(tables).id)
            clock.advance(1.0)

        assert [j.id for j in tables.jobs.list_page(limit=9).jobs] == jobs[::-1]

    def test_pages_cover_jobs_of_one_moment_once(self, tables):
        jobs = {new_job(tables).id for _ in range(7)}
        seen, position = [], None
        while True:
            page = tables.jobs.list_page(limit=2, before=position)
            seen += [job.id for job in page.jobs]
            position = page.next_position
            if position is None:
                break

        assert len(seen) == 7
        assert set(seen) == jobs

    def test_a_job_that_arrives_meanwhile_shifts_nothing(self, tables, clock):
        old = [new_job(tables).id for _ in range(4)]
        first = tables.jobs.list_page(limit=2)
        clock.advance(1.0)
        new_job(tables)
        second = tables.jobs.list_page(limit=2, before=first.next_position)

        assert {job.id for job in (*first.jobs, *second.jobs)} == set(old)

    def test_the_last_page_says_so(self, tables):
        new_job(tables)
        new_job(tables)

        assert tables.jobs.list_page(limit=2).next_position is None
        assert tables.jobs.list_page(limit=1).next_position is not None

    def test_there_may_be_nothing(self, tables):
        assert tables.jobs.list_page(limit=2).jobs == ()

    def test_filters_are_combined(self, tables, clock):
        new_job(tables, batch_id="b")
        clock.advance(1.0)
        wanted = new_job(tables, batch_id="b")
        new_job(tables)
        cancelled = tables.jobs.request_cancel(new_job(tables, batch_id="b").id)
        page = tables.jobs.list_page(
            limit=9,
            created_after=EPOCH,
            found_by=JobFilter(states=(JobState.QUEUED,), batch_id="b"),
        )

        assert [job.id for job in page.jobs] == [wanted.id]
        ended = JobFilter(states=tuple(FINAL_STATES))
        page = tables.jobs.list_page(limit=9, found_by=ended)
        assert [job.id for job in page.jobs] == [cancelled.id]


class TestCounts:
    def test_every_state_is_counted(self, tables):
        new_job(tables)
        claim(tables, new_job(tables))
        tables.jobs.request_cancel(new_job(tables).id)
        counts = tables.jobs.count_by_state()

        assert set(counts) == set(JobState)
        assert {state: n for state, n in counts.items() if n} == {
            JobState.QUEUED: 1,
            JobState.REGISTERING: 1,
            JobState.CANCELLED: 1,
        }

    def test_only_jobs_that_may_be_claimed_wait_for_a_worker(self, tables):
        new_job(tables)
        claim(tables, new_job(tables))
        tables.jobs.request_cancel(claim(tables, new_job(tables)).id)
        tables.jobs.request_cancel(new_job(tables).id)

        assert tables.outbox.count_waiting() == {JobState.QUEUED: 1}

    def test_the_oldest_job_of_a_stage_tells_how_long_it_waits(self, tables, clock):
        none = dict.fromkeys(Stage, 0.0)
        assert tables.outbox.longest_waits() == none
        job = new_job(tables)
        clock.advance(12.0)
        assert tables.outbox.longest_waits() == none | {Stage.REGISTER: 12.0}
        claim(tables, job)
        clock.advance(3.0)
        assert tables.outbox.longest_waits() == none
        assert tables.outbox.longest_runs() == none | {Stage.REGISTER: 3.0}


class TestDue:
    def test_a_new_job_is_due_until_its_message_is_sent(self, tables):
        job = new_job(tables)
        assert unsent(tables) == [job.id]

        tables.outbox.mark_published(job.id, job.state)
        assert unsent(tables) == []
        assert [due.id for due in tables.outbox.list_waiting()] == [job.id]

    def test_a_claimed_job_is_not_due(self, tables):
        claim(tables, new_job(tables))
        assert tables.outbox.list_waiting() == []

    def test_a_job_put_off_is_due_as_if_its_message_were_just_sent(self, tables):
        job = claim(tables, new_job(tables))
        tables.claims.release(job, later=True)

        assert [due.id for due in tables.outbox.list_waiting()] == [job.id]
        assert unsent(tables) == []

    def test_a_late_note_of_an_earlier_stage_hides_nothing(self, tables):
        queued = new_job(tables)
        tables.claims.finish_stage(claim(tables, queued), Stage.REGISTER, StageResult())
        tables.outbox.mark_published(queued.id, queued.state)

        assert len(unsent(tables)) == 1

    def test_the_oldest_job_is_sent_first(self, tables, clock):
        jobs = []
        for _ in range(3):
            jobs.append(new_job(tables).id)
            clock.advance(1.0)

        assert unsent(tables) == jobs


class TestTombstones:
    def test_a_job_expires_after_its_time_and_not_before(self, tables, clock):
        job = claim(tables, new_job(tables))
        tables.claims.fail(job, PROBLEM)
        clock.advance(3600.0)
        assert tables.jobs.list_expired() == []

        clock.advance(1.0)
        assert [j.id for j in tables.jobs.list_expired()] == [job.id]

    def test_an_unfinished_job_never_expires(self, tables, clock):
        new_job(tables)
        clock.advance(1e9)

        assert tables.jobs.list_expired() == []

    def test_a_tombstone_holds_nothing_of_the_patient(self, tables, clock):
        job = claim(tables, new_job(tables, case_name="Jane Doe"))
        tables.claims.fail(job, PROBLEM)
        clock.advance(10.0)
        tombstone = tables.jobs.expire(job.id, PROBLEM)

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

    def test_a_tombstone_expires_no_further(self, tables, clock):
        job = new_job(tables)
        tombstone = tables.jobs.expire(job.id, PROBLEM)
        clock.advance(1e6)

        assert tables.jobs.list_expired() == []
        assert tables.jobs.expire(job.id, PROBLEM) == tombstone

    def test_deleting_a_running_job_fences_its_worker_off(self, tables):
        job = claim(tables, new_job(tables))
        tombstone = tables.jobs.expire(job.id, PROBLEM)

        assert not tables.claims.finish_stage(job, Stage.REGISTER, StageResult())
        assert tables.claims.renew(job.id, job.token, lease_seconds=30.0) is None
        assert tables.jobs.get(job.id) == tombstone

    def test_an_unknown_job_cannot_expire(self, tables):
        with pytest.raises(JobNotFoundError):
            tables.jobs.expire(uuid.uuid4().hex, PROBLEM)

    def test_owners_tell_what_is_kept_from_what_is_gone(self, tables):
        kept = new_job(tables)
        gone = tables.jobs.expire(new_job(tables).id, PROBLEM)
        upload = tables.uploads.create(size=1, sha256="a" * 64)
        owners = tables.jobs.owners()

        assert owners.kept == {kept.id, upload.owner}
        assert owners.expired == {gone.id}


def test_the_flags_of_a_job_of_version_0_1_are_read(tables):
    job = new_job(tables)
    organ = {"name": "Lips", "label": 23, "status": "contoured", "volume_ml": 9.0}
    old = [{**organ, "flags": ["pieces_removed_0.31_ml", "truncated_at_scan_edge"]}]
    with tables.database.engine.begin() as connection:
        connection.execute(sa.update(jobs).values(organs=old))

    (read,) = tables.jobs.get(job.id).organs

    assert [str(flag) for flag in read.flags] == [
        "pieces_removed ml=0.31",
        "truncated_at_scan_edge",
    ]


class TestVersionsSideBySide:
    """Rows that two versions share, while one follows the other."""

    def test_what_a_later_version_adds_to_a_document_is_left_alone(self, tables):
        job = new_job(tables)
        with tables.database.write() as connection:
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job.id)
                .values(
                    options=job.options.model_dump(mode="json") | {"later": True},
                    inputs=[
                        each.model_dump(mode="json") | {"later": 1}
                        for each in job.inputs
                    ],
                )
            )

        assert tables.jobs.get(job.id).options == job.options
        assert tables.jobs.get(job.id).inputs == job.inputs

    def test_options_that_nobody_asked_for_are_in_no_row(self, tables):
        job = new_job(tables)
        with tables.database.read() as connection:
            row = connection.execute(sa.select(jobs.c.options, jobs.c.inputs)).one()

        assert set(row.options) == {"model", "registration", "backend"}
        assert "sent_sha256" not in row.inputs[0]
        assert tables.jobs.get(job.id).options == JobOptions()
