"""A cancel takes hold wherever the job is, and whoever has it."""

from __future__ import annotations

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.errors import JobNotFoundError, JobStateError
from hanseg_shared.jobs.repository import StageResult
from hanseg_shared.jobs.stages import Stage
from tests.jobs.fakes import PROBLEM, claim, new_job


def test_a_queued_job_is_cancelled_at_once(repository):
    job = repository.request_cancel(new_job(repository).id)

    assert job.state is JobState.CANCELLED
    assert job.finished_at is not None


def test_a_cancelled_job_is_neither_due_nor_claimed(repository):
    job = repository.request_cancel(new_job(repository).id)

    assert repository.due(published_before_seconds=None) == []
    assert repository.claim(job.id, Stage.REGISTER, lease_seconds=30.0) is None


def test_a_job_between_two_stages_is_cancelled_at_once(repository):
    job = claim(repository, new_job(repository))
    repository.finish_stage(job, Stage.REGISTER, StageResult())

    assert repository.request_cancel(job.id).state is JobState.CANCELLED


def test_a_running_job_goes_on_until_its_worker_hears_of_it(repository):
    job = claim(repository, new_job(repository))
    asked = repository.request_cancel(job.id)

    assert asked.state is JobState.REGISTERING
    assert asked.cancel_requested
    assert repository.renew(job.id, job.token, lease_seconds=30.0) is False


def test_the_worker_ends_a_cancelled_job(repository):
    job = claim(repository, new_job(repository))
    repository.request_cancel(job.id)

    assert repository.end_cancelled(job)
    assert repository.get(job.id).state is JobState.CANCELLED


def test_a_cancelled_stage_publishes_nothing(repository):
    job = claim(repository, new_job(repository))
    repository.request_cancel(job.id)

    assert not repository.finish_stage(
        job, Stage.REGISTER, StageResult(versions={"elastix": "5"})
    )
    assert repository.get(job.id).versions == {}


def test_releasing_a_cancelled_job_ends_it(repository):
    job = claim(repository, new_job(repository))
    repository.request_cancel(job.id)

    assert repository.release(job)
    assert repository.get(job.id).state is JobState.CANCELLED


def test_a_cancelled_job_whose_worker_died_ends_cancelled(repository, clock):
    job = claim(repository, new_job(repository))
    repository.request_cancel(job.id)
    clock.advance(31.0)

    assert repository.release_lost_leases(attempts=1, problem=PROBLEM) == ([], [])
    assert repository.get(job.id).state is JobState.CANCELLED
    assert repository.get(job.id).error is None


@pytest.mark.parametrize("end", ["fail", "end_cancelled"])
def test_a_job_that_has_ended_cannot_be_cancelled(repository, end):
    job = claim(repository, new_job(repository))
    if end == "fail":
        repository.fail(job, PROBLEM)
    else:
        repository.end_cancelled(job)
    ended = repository.get(job.id)

    with pytest.raises(JobStateError, match=f"is {ended.state} and cannot be"):
        repository.request_cancel(job.id)
    assert repository.get(job.id) == ended


def test_an_unknown_job_cannot_be_cancelled(repository):
    with pytest.raises(JobNotFoundError, match="there is no job nobody"):
        repository.request_cancel("nobody")
