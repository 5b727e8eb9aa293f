"""A stage is claimed once, and only who holds its token may write."""

from __future__ import annotations

import dataclasses
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest

from hanseg_shared.access import LOCAL_OWNER
from hanseg_shared.documents import (
    InferenceMode,
    InferenceReport,
    JobState,
    OrganResult,
    Progress,
    ResultFile,
)
from hanseg_shared.errors import JobStateError
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.outbox import WaitingJob
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.organs import OrganStatus
from tests.jobs.fakes import EPOCH, PROBLEM, claim, new_job

STOLEN = "0" * 32


def test_a_claim_gives_a_token_a_lease_and_counts_the_attempt(tables):
    job = claim(tables, new_job(tables))

    assert job.state is JobState.REGISTERING
    assert job.token is not None
    assert job.lease_until == EPOCH + 30.0
    assert (job.attempts, job.total_attempts) == (1, 1)
    assert job.started_at == EPOCH
    assert job.progress == Progress(stage="registering", done=0.0)


def test_a_claimed_stage_is_not_claimed_again(tables):
    job = claim(tables, new_job(tables))

    assert tables.claims.claim(job.id, Stage.REGISTER, lease_seconds=30.0) is None
    assert tables.jobs.get(job.id).token == job.token


@pytest.mark.parametrize("stage", [Stage.SEGMENT, Stage.PACKAGE])
def test_a_later_stage_cannot_be_claimed_before_its_time(tables, stage):
    job = new_job(tables)

    assert tables.claims.claim(job.id, stage, lease_seconds=30.0) is None
    assert tables.jobs.get(job.id).state is JobState.QUEUED


def test_a_stage_that_is_over_cannot_be_claimed(tables):
    job = claim(tables, new_job(tables))
    tables.claims.finish_stage(job, Stage.REGISTER, StageResult())

    assert tables.claims.claim(job.id, Stage.REGISTER, lease_seconds=30.0) is None


def test_there_is_nothing_to_claim_in_an_unknown_job(tables):
    assert tables.claims.claim("nobody", Stage.REGISTER, lease_seconds=30.0) is None


def test_many_threads_claim_a_job_once(tables):
    job = new_job(tables)

    def attempt(_):
        return tables.claims.claim(job.id, Stage.REGISTER, lease_seconds=30.0)

    with ThreadPoolExecutor(16) as pool:
        claims = [found for found in pool.map(attempt, range(64)) if found]

    assert len(claims) == 1
    assert tables.jobs.get(job.id).token == claims[0].token


def _claim_all(url, job_ids, barrier, answers):
    tables = Tables.of(open_database(url), retention_seconds=60.0)
    barrier.wait(30)
    claims = [
        tables.claims.claim(i, Stage.REGISTER, lease_seconds=60.0) for i in job_ids
    ]
    tables.close()
    answers.put([job.id for job in claims if job is not None])


def test_many_processes_claim_each_job_once(database):
    tables = Tables.of(open_database(database), retention_seconds=60.0)
    job_ids = [new_job(tables).id for _ in range(20)]
    tables.close()
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(3), context.Queue()
    arguments = (database, job_ids, barrier, answers)
    workers = [context.Process(target=_claim_all, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    claimed = [job_id for _ in workers for job_id in answers.get(timeout=60)]
    for worker in workers:
        worker.join()

    assert sorted(claimed) == sorted(job_ids)


def test_stages_follow_each_other_to_the_end(tables, clock):
    job = new_job(tables)
    seen = []
    for stage in Stage:
        claimed = claim(tables, job, stage)
        seen.append(claimed.state)
        clock.advance(5.0)
        assert tables.claims.finish_stage(claimed, stage, StageResult())
    done = tables.jobs.get(job.id)

    assert seen == [JobState.REGISTERING, JobState.SEGMENTING, JobState.PACKAGING]
    assert done.state is JobState.SUCCEEDED
    assert [stage.seconds for stage in done.stages] == [5.0, 5.0, 5.0]
    assert done.finished_at == EPOCH + 15.0
    assert done.expires_at == EPOCH + 15.0 + 3600.0
    assert (done.token, done.lease_until, done.progress) == (None, None, None)


def test_a_finished_stage_leaves_the_next_one_due(tables):
    queued = new_job(tables)
    tables.outbox.mark_published(queued.id, queued.state)
    job = claim(tables, queued)
    tables.claims.finish_stage(job, Stage.REGISTER, StageResult())
    due = tables.outbox.list_waiting()

    assert due == [WaitingJob(job.id, JobState.SEGMENTING, None, 1, LOCAL_OWNER)]
    assert tables.jobs.get(job.id).attempts == 0


def test_results_of_all_stages_add_up(tables):
    job = new_job(tables)
    files = {
        name: ResultFile(name=name, sha256="a" * 64, bytes=1, media_type="x/y")
        for name in ("mr", "labels", "result")
    }
    organ = OrganResult(name="Lips", label=20, status=OrganStatus.EMPTY)
    report = InferenceReport(
        mode=InferenceMode.FAST,
        device="cpu",
        engine="eager-bf16",
        step=0.5,
        tiles=3,
        tiles_in_all=9,
    )
    results = {
        Stage.REGISTER: StageResult(
            intermediate=(files["mr"],), versions={"elastix": "5"}
        ),
        Stage.SEGMENT: StageResult(
            intermediate=(files["labels"],),
            versions={"torch": "2"},
            inference=report,
        ),
        Stage.PACKAGE: StageResult(organs=(organ,), files=(files["result"],)),
    }
    for stage, result in results.items():
        tables.claims.finish_stage(claim(tables, job, stage), stage, result)
    done = tables.jobs.get(job.id)

    assert [file.name for file in done.intermediate] == ["mr", "labels"]
    assert [file.name for file in done.files] == ["result"]
    assert done.organs == (organ,)
    assert done.inference == report
    assert done.document().inference == report
    assert done.versions == {"elastix": "5", "torch": "2"}


@pytest.mark.parametrize("jump", [8 * 24 * 3600.0, -3600.0])
def test_the_time_of_a_stage_is_its_own_whatever_the_clock_says(tables, clock, jump):
    job = claim(tables, new_job(tables))
    clock.advance(jump)
    tables.claims.finish_stage(job, Stage.REGISTER, StageResult(), attempt_seconds=2.5)
    [stage] = tables.jobs.get(job.id).stages

    assert (stage.seconds, stage.attempts) == (2.5, 1)


def test_the_time_of_a_stage_is_that_of_all_its_attempts(tables, clock):
    job = claim(tables, new_job(tables))
    clock.advance(7.0)
    tables.claims.release(job)
    clock.advance(3.0)
    job = claim(tables, job)
    clock.advance(5.0)
    tables.claims.finish_stage(job, Stage.REGISTER, StageResult())
    [stage] = tables.jobs.get(job.id).stages

    assert (stage.seconds, stage.attempts) == (15.0, 2)


@pytest.mark.parametrize(
    "write",
    [
        lambda tables, job: tables.claims.finish_stage(
            job, Stage.REGISTER, StageResult()
        ),
        lambda tables, job: tables.claims.fail(job, PROBLEM),
        lambda tables, job: tables.claims.end_cancelled(job),
        lambda tables, job: tables.claims.release(job),
    ],
    ids=["finish", "fail", "end_cancelled", "release"],
)
class TestFencing:
    def test_a_token_of_the_past_writes_nothing(self, tables, write):
        job = claim(tables, new_job(tables))
        tables.claims.release(job)
        present = claim(tables, job)

        assert not write(tables, job)
        assert tables.jobs.get(job.id) == present

    def test_a_wrong_token_writes_nothing(self, tables, write):
        job = claim(tables, new_job(tables))

        assert not write(tables, dataclasses.replace(job, token=STOLEN))
        assert tables.jobs.get(job.id) == job

    def test_without_a_token_it_is_refused_loudly(self, tables, write):
        job = new_job(tables)

        with pytest.raises(JobStateError, match="was never claimed"):
            write(tables, job)
        assert tables.jobs.get(job.id) == job

    def test_writing_works_once(self, tables, write):
        job = claim(tables, new_job(tables))

        assert write(tables, job)
        assert not write(tables, job)


def test_only_the_stage_that_was_claimed_can_be_finished(tables):
    job = claim(tables, new_job(tables))

    assert not tables.claims.finish_stage(job, Stage.SEGMENT, StageResult())
    assert tables.jobs.get(job.id) == job


def test_renewing_prolongs_the_lease_and_shows_the_progress(tables, clock):
    job = claim(tables, new_job(tables))
    clock.advance(20.0)
    progress = Progress(stage="registering", done=0.5)
    going_on = tables.claims.renew(
        job.id, job.token, lease_seconds=30.0, progress=progress
    )
    renewed = tables.jobs.get(job.id)

    assert going_on is True
    assert renewed.lease_until == EPOCH + 50.0
    assert renewed.progress == progress
    assert renewed.version == job.version + 1


def test_renewing_without_progress_is_no_news(tables):
    job = claim(tables, new_job(tables))
    tables.claims.renew(job.id, job.token, lease_seconds=30.0)

    assert tables.jobs.version(job.id) == job.version


def test_renewing_with_a_token_of_the_past_says_that_the_job_is_lost(tables):
    job = claim(tables, new_job(tables))
    tables.claims.release(job)
    present = claim(tables, job)

    assert tables.claims.renew(job.id, job.token, lease_seconds=99.0) is None
    assert tables.jobs.get(job.id) == present


def test_a_released_stage_can_be_claimed_again(tables):
    job = claim(tables, new_job(tables))
    tables.claims.release(job)
    again = claim(tables, job)

    assert again.attempts == 2
    assert again.token != job.token


def test_a_failed_job_says_why_and_keeps_its_files_for_their_time(tables):
    job = claim(tables, new_job(tables))
    tables.claims.fail(job, PROBLEM)
    failed = tables.jobs.get(job.id)

    assert failed.state is JobState.FAILED
    assert failed.error == PROBLEM
    assert failed.expires_at == EPOCH + 3600.0
