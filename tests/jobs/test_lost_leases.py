"""What a dead worker had is given to another; what kills workers ends failed."""

from __future__ import annotations

from hanseg_shared.documents import JobState
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.tables import Tables
from tests.jobs.fakes import (
    PROBLEM,
    FakeClock,
    claim,
    new_job,
    release_all,
    unsent,
)


def lose(tables: Tables, clock: FakeClock) -> tuple[list[str], list[str]]:
    clock.advance(31.0)
    return release_all(tables)


def test_a_claim_that_is_renewed_meanwhile_is_not_lost(tables, clock):
    job = claim(tables, new_job(tables))
    seen = tables.claims.list_holds()
    clock.advance(29.0)
    tables.claims.renew(job.id, job.token, lease_seconds=30.0)

    assert tables.claims.release_lost(seen, attempts=3, problem=PROBLEM) == ([], [])
    assert tables.jobs.get(job.id).token == job.token


def test_a_claim_that_was_followed_by_another_is_not_lost(tables, clock):
    job = claim(tables, new_job(tables))
    seen = tables.claims.list_holds()
    release_all(tables)
    other = claim(tables, job)

    assert tables.claims.release_lost(seen, attempts=3, problem=PROBLEM) == ([], [])
    assert tables.jobs.get(job.id).token == other.token


def test_a_lost_job_is_due_again_at_its_stage(tables, clock):
    job = claim(tables, new_job(tables))
    tables.claims.finish_stage(job, Stage.REGISTER, StageResult())
    job = claim(tables, job, Stage.SEGMENT)
    tables.outbox.mark_published(job.id, job.state)

    assert lose(tables, clock) == ([job.id], [])
    [due] = tables.outbox.list_waiting()
    assert due.published_at is None
    assert (due.id, due.state) == (job.id, JobState.SEGMENTING)


def test_a_lost_job_is_released_once(tables, clock):
    claim(tables, new_job(tables))
    lose(tables, clock)

    assert lose(tables, clock) == ([], [])


def test_a_worker_that_wakes_up_too_late_is_fenced_off(tables, clock):
    asleep = claim(tables, new_job(tables))
    lose(tables, clock)
    awake = claim(tables, asleep)
    tables.claims.finish_stage(awake, Stage.REGISTER, StageResult(versions={"by": "b"}))

    assert not tables.claims.finish_stage(
        asleep, Stage.REGISTER, StageResult(versions={"by": "a"})
    )
    assert tables.jobs.get(asleep.id).versions == {"by": "b"}


def test_a_job_that_kills_three_workers_has_failed(tables, clock):
    job = new_job(tables)
    outcomes = []
    for _ in range(3):
        claim(tables, job)
        outcomes.append(lose(tables, clock))
    poisoned = tables.jobs.get(job.id)

    assert outcomes == [([job.id], []), ([job.id], []), ([], [job.id])]
    assert poisoned.state is JobState.FAILED
    assert poisoned.error == PROBLEM
    assert unsent(tables) == []


def test_each_stage_has_its_own_attempts(tables, clock):
    job = new_job(tables)
    for _ in range(2):
        claim(tables, job)
        lose(tables, clock)
    tables.claims.finish_stage(claim(tables, job), Stage.REGISTER, StageResult())
    claim(tables, job, Stage.SEGMENT)

    assert lose(tables, clock) == ([job.id], [])
    assert tables.jobs.get(job.id).attempts == 1
    assert tables.jobs.get(job.id).total_attempts == 4


def test_only_the_lost_jobs_are_touched(tables, clock):
    lost = claim(tables, new_job(tables))
    holds = tables.claims.list_holds()
    held = claim(tables, new_job(tables))
    queued = new_job(tables)
    released, failed = tables.claims.release_lost(holds, attempts=3, problem=PROBLEM)

    assert (released, failed) == ([lost.id], [])
    assert tables.jobs.get(held.id) == held
    assert tables.jobs.get(queued.id) == queued
