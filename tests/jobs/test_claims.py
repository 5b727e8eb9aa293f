"""A stage is claimed once, and only who holds its token may write."""

from __future__ import annotations

import dataclasses
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest

from hanseg_shared.documents import (
    InferenceMode,
    InferenceReport,
    JobState,
    OrganResult,
    Progress,
    ResultFile,
)
from hanseg_shared.errors import JobStateError
from hanseg_shared.jobs.repository import JobRepository, StageResult, open_database
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.organs import OrganStatus
from tests.jobs.fakes import EPOCH, PROBLEM, claim, new_job

STOLEN = "0" * 32


def test_a_claim_gives_a_token_a_lease_and_counts_the_attempt(repository):
    job = claim(repository, new_job(repository))

    assert job.state is JobState.REGISTERING
    assert job.token is not None
    assert job.lease_until == EPOCH + 30.0
    assert (job.attempts, job.total_attempts) == (1, 1)
    assert job.started_at == EPOCH
    assert job.progress == Progress(stage="registering", done=0.0)


def test_a_claimed_stage_is_not_claimed_again(repository):
    job = claim(repository, new_job(repository))

    assert repository.claim(job.id, Stage.REGISTER, lease_seconds=30.0) is None
    assert repository.get(job.id).token == job.token


@pytest.mark.parametrize("stage", [Stage.SEGMENT, Stage.PACKAGE])
def test_a_later_stage_cannot_be_claimed_before_its_time(repository, stage):
    job = new_job(repository)

    assert repository.claim(job.id, stage, lease_seconds=30.0) is None
    assert repository.get(job.id).state is JobState.QUEUED


def test_a_stage_that_is_over_cannot_be_claimed(repository):
    job = claim(repository, new_job(repository))
    repository.finish_stage(job, Stage.REGISTER, StageResult())

    assert repository.claim(job.id, Stage.REGISTER, lease_seconds=30.0) is None


def test_there_is_nothing_to_claim_in_an_unknown_job(repository):
    assert repository.claim("nobody", Stage.REGISTER, lease_seconds=30.0) is None


def test_many_threads_claim_a_job_once(repository):
    job = new_job(repository)

    def attempt(_):
        return repository.claim(job.id, Stage.REGISTER, lease_seconds=30.0)

    with ThreadPoolExecutor(16) as pool:
        claims = [found for found in pool.map(attempt, range(64)) if found]

    assert len(claims) == 1
    assert repository.get(job.id).token == claims[0].token


def _claim_all(url, job_ids, barrier, answers):
    repository = JobRepository(open_database(url), retention_seconds=60.0)
    barrier.wait(30)
    claims = [repository.claim(i, Stage.REGISTER, lease_seconds=60.0) for i in job_ids]
    repository.close()
    answers.put([job.id for job in claims if job is not None])


def test_many_processes_claim_each_job_once(database):
    repository = JobRepository(open_database(database), retention_seconds=60.0)
    job_ids = [new_job(repository).id for _ in range(20)]
    repository.close()
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


def test_stages_follow_each_other_to_the_end(repository, clock):
    job = new_job(repository)
    seen = []
    for stage in Stage:
        claimed = claim(repository, job, stage)
        seen.append(claimed.state)
        clock.advance(5.0)
        assert repository.finish_stage(claimed, stage, StageResult())
    done = repository.get(job.id)

    assert seen == [JobState.REGISTERING, JobState.SEGMENTING, JobState.PACKAGING]
    assert done.state is JobState.SUCCEEDED
    assert [stage.seconds for stage in done.stages] == [5.0, 5.0, 5.0]
    assert done.finished_at == EPOCH + 15.0
    assert done.expires_at == EPOCH + 15.0 + 3600.0
    assert (done.token, done.lease_until, done.progress) == (None, None, None)


def test_a_finished_stage_leaves_the_next_one_due(repository):
    queued = new_job(repository)
    repository.mark_published(queued)
    job = claim(repository, queued)
    repository.finish_stage(job, Stage.REGISTER, StageResult())
    due = repository.due(published_before_seconds=None)

    assert [(row.id, row.state) for row in due] == [(job.id, JobState.SEGMENTING)]
    assert due[0].attempts == 0
    assert due[0].total_attempts == 1


def test_results_of_all_stages_add_up(repository):
    job = new_job(repository)
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
        repository.finish_stage(claim(repository, job, stage), stage, result)
    done = repository.get(job.id)

    assert [file.name for file in done.intermediate] == ["mr", "labels"]
    assert [file.name for file in done.files] == ["result"]
    assert done.organs == (organ,)
    assert done.inference == report
    assert done.document().inference == report
    assert done.versions == {"elastix": "5", "torch": "2"}


def test_the_time_of_a_stage_is_that_of_all_its_attempts(repository, clock):
    job = claim(repository, new_job(repository))
    clock.advance(7.0)
    repository.release(job)
    clock.advance(3.0)
    job = claim(repository, job)
    clock.advance(5.0)
    repository.finish_stage(job, Stage.REGISTER, StageResult())
    [stage] = repository.get(job.id).stages

    assert (stage.seconds, stage.attempts) == (15.0, 2)


@pytest.mark.parametrize(
    "write",
    [
        lambda repository, job: repository.finish_stage(
            job, Stage.REGISTER, StageResult()
        ),
        lambda repository, job: repository.fail(job, PROBLEM),
        lambda repository, job: repository.end_cancelled(job),
        lambda repository, job: repository.release(job),
    ],
    ids=["finish", "fail", "end_cancelled", "release"],
)
class TestFencing:
    def test_a_token_of_the_past_writes_nothing(self, repository, write):
        job = claim(repository, new_job(repository))
        repository.release(job)
        present = claim(repository, job)

        assert not write(repository, job)
        assert repository.get(job.id) == present

    def test_a_wrong_token_writes_nothing(self, repository, write):
        job = claim(repository, new_job(repository))

        assert not write(repository, dataclasses.replace(job, token=STOLEN))
        assert repository.get(job.id) == job

    def test_without_a_token_it_is_refused_loudly(self, repository, write):
        job = new_job(repository)

        with pytest.raises(JobStateError, match="was never claimed"):
            write(repository, job)
        assert repository.get(job.id) == job

    def test_writing_works_once(self, repository, write):
        job = claim(repository, new_job(repository))

        assert write(repository, job)
        assert not write(repository, job)


def test_only_the_stage_that_was_claimed_can_be_finished(repository):
    job = claim(repository, new_job(repository))

    assert not repository.finish_stage(job, Stage.SEGMENT, StageResult())
    assert repository.get(job.id) == job


def test_renewing_prolongs_the_lease_and_shows_the_progress(repository, clock):
    job = claim(repository, new_job(repository))
    clock.advance(20.0)
    progress = Progress(stage="registering", done=0.5)
    going_on = repository.renew(
        job.id, job.token, lease_seconds=30.0, progress=progress
    )
    renewed = repository.get(job.id)

    assert going_on is True
    assert renewed.lease_until == EPOCH + 50.0
    assert renewed.progress == progress
    assert renewed.version == job.version + 1


def test_renewing_without_progress_is_no_news(repository):
    job = claim(repository, new_job(repository))
    repository.renew(job.id, job.token, lease_seconds=30.0)

    assert repository.version(job.id) == job.version


def test_renewing_with_a_token_of_the_past_says_that_the_job_is_lost(repository):
    job = claim(repository, new_job(repository))
    repository.release(job)
    present = claim(repository, job)

    assert repository.renew(job.id, job.token, lease_seconds=99.0) is None
    assert repository.get(job.id) == present


def test_a_released_stage_can_be_claimed_again(repository):
    job = claim(repository, new_job(repository))
    repository.release(job)
    again = claim(repository, job)

    assert again.attempts == 2
    assert again.token != job.token


def test_a_failed_job_says_why_and_keeps_its_files_for_their_time(repository):
    job = claim(repository, new_job(repository))
    repository.fail(job, PROBLEM)
    failed = repository.get(job.id)

    assert failed.state is JobState.FAILED
    assert failed.error == PROBLEM
    assert failed.expires_at == EPOCH + 3600.0
