"""A cancel takes hold wherever the job is, and whoever has it."""

from __future__ import annotations

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.errors import JobNotFoundError, JobStateError
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from tests.jobs.fakes import PROBLEM, claim, new_job, release_all


def test_a_queued_job_is_cancelled_at_once(tables):
    job = tables.jobs.request_cancel(new_job(tables).id)

    assert job.state is JobState.CANCELLED
    assert job.finished_at is not None


def test_a_cancelled_job_is_neither_due_nor_claimed(tables):
    job = tables.jobs.request_cancel(new_job(tables).id)

    assert tables.outbox.list_waiting() == []
    assert tables.claims.claim(job.id, Stage.REGISTER, lease_seconds=30.0) is None


def test_a_job_between_two_stages_is_cancelled_at_once(tables):
    job = claim(tables, new_job(tables))
    tables.claims.finish_stage(job, Stage.REGISTER, StageResult())

    assert tables.jobs.request_cancel(job.id).state is JobState.CANCELLED


def test_a_running_job_goes_on_until_its_worker_hears_of_it(tables):
    job = claim(tables, new_job(tables))
    asked = tables.jobs.request_cancel(job.id)

    assert asked.state is JobState.REGISTERING
    assert asked.cancel_requested
    assert tables.claims.renew(job.id, job.token, lease_seconds=30.0) is False


def test_the_worker_ends_a_cancelled_job(tables):
    job = claim(tables, new_job(tables))
    tables.jobs.request_cancel(job.id)

    assert tables.claims.end_cancelled(job)
    assert tables.jobs.get(job.id).state is JobState.CANCELLED


def test_a_cancelled_stage_publishes_nothing(tables):
    job = claim(tables, new_job(tables))
    tables.jobs.request_cancel(job.id)

    assert not tables.claims.finish_stage(
        job, Stage.REGISTER, StageResult(versions={"elastix": "5"})
    )
    assert tables.jobs.get(job.id).versions == {}


def test_releasing_a_cancelled_job_ends_it(tables):
    job = claim(tables, new_job(tables))
    tables.jobs.request_cancel(job.id)

    assert tables.claims.release(job)
    assert tables.jobs.get(job.id).state is JobState.CANCELLED


def test_a_cancelled_job_whose_worker_died_ends_cancelled(tables, clock):
    job = claim(tables, new_job(tables))
    tables.jobs.request_cancel(job.id)
    clock.advance(31.0)

    assert release_all(tables, attempts=1) == ([], [])
    assert tables.jobs.get(job.id).state is JobState.CANCELLED
    assert tables.jobs.get(job.id).error is None


@pytest.mark.parametrize("end", ["fail", "end_cancelled"])
def test_a_job_that_has_ended_cannot_be_cancelled(tables, end):
    job = claim(tables, new_job(tables))
    if end == "fail":
        tables.claims.fail(job, PROBLEM)
    else:
        tables.claims.end_cancelled(job)
    ended = tables.jobs.get(job.id)

    with pytest.raises(JobStateError, match=f"is {ended.state} and cannot be"):
        tables.jobs.request_cancel(job.id)
    assert tables.jobs.get(job.id) == ended


def test_an_unknown_job_cannot_be_cancelled(tables):
    with pytest.raises(JobNotFoundError, match="there is no job nobody"):
        tables.jobs.request_cancel("nobody")
