"""What a dead worker had is given to another; what kills workers ends failed."""

from __future__ import annotations

from hanseg_shared.documents import JobState
from hanseg_shared.jobs.repository import JobRepository, StageResult
from hanseg_shared.jobs.stages import Stage
from tests.jobs.fakes import PROBLEM, FakeClock, claim, new_job


def lose(repository: JobRepository, clock: FakeClock) -> tuple[list[str], list[str]]:
    clock.advance(31.0)
    return repository.release_lost_leases(attempts=3, problem=PROBLEM)


def test_a_lease_that_is_renewed_is_not_lost(repository, clock):
    job = claim(repository, new_job(repository))
    clock.advance(29.0)
    repository.renew(job.id, job.token, lease_seconds=30.0)
    clock.advance(29.0)

    assert repository.release_lost_leases(attempts=3, problem=PROBLEM) == ([], [])
    assert repository.get(job.id).token == job.token


def test_a_lost_job_is_due_again_at_its_stage(repository, clock):
    job = claim(repository, new_job(repository))
    repository.finish_stage(job, Stage.REGISTER, StageResult())
    job = claim(repository, job, Stage.SEGMENT)
    repository.mark_published(job)

    assert lose(repository, clock) == ([job.id], [])
    [due] = repository.due(published_before_seconds=None)
    assert (due.id, due.state) == (job.id, JobState.SEGMENTING)


def test_a_lost_job_is_released_once(repository, clock):
    claim(repository, new_job(repository))
    lose(repository, clock)

    assert lose(repository, clock) == ([], [])


def test_a_worker_that_wakes_up_too_late_is_fenced_off(repository, clock):
    asleep = claim(repository, new_job(repository))
    lose(repository, clock)
    awake = claim(repository, asleep)
    repository.finish_stage(awake, Stage.REGISTER, StageResult(versions={"by": "b"}))

    assert not repository.finish_stage(
        asleep, Stage.REGISTER, StageResult(versions={"by": "a"})
    )
    assert repository.get(asleep.id).versions == {"by": "b"}


def test_a_worker_that_wakes_up_in_time_keeps_its_job(repository, clock):
    job = claim(repository, new_job(repository))
    clock.advance(31.0)

    assert repository.renew(job.id, job.token, lease_seconds=30.0) is True
    assert repository.release_lost_leases(attempts=3, problem=PROBLEM) == ([], [])


def test_a_job_that_kills_three_workers_has_failed(repository, clock):
    job = new_job(repository)
    outcomes = []
    for _ in range(3):
        claim(repository, job)
        outcomes.append(lose(repository, clock))
    poisoned = repository.get(job.id)

    assert outcomes == [([job.id], []), ([job.id], []), ([], [job.id])]
    assert poisoned.state is JobState.FAILED
    assert poisoned.error == PROBLEM
    assert repository.due(published_before_seconds=None) == []


def test_each_stage_has_its_own_attempts(repository, clock):
    job = new_job(repository)
    for _ in range(2):
        claim(repository, job)
        lose(repository, clock)
    repository.finish_stage(claim(repository, job), Stage.REGISTER, StageResult())
    claim(repository, job, Stage.SEGMENT)

    assert lose(repository, clock) == ([job.id], [])
    assert repository.get(job.id).attempts == 1
    assert repository.get(job.id).total_attempts == 4


def test_only_the_lost_jobs_are_touched(repository, clock):
    lost = claim(repository, new_job(repository))
    clock.advance(20.0)
    held = claim(repository, new_job(repository))
    queued = new_job(repository)
    clock.advance(11.0)
    released, failed = repository.release_lost_leases(attempts=3, problem=PROBLEM)

    assert (released, failed) == ([lost.id], [])
    assert repository.get(held.id) == held
    assert repository.get(queued.id) == queued
