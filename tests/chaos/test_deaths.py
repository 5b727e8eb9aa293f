"""Whatever dies, hangs or forgets, every job ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.jobs.stages import Stage
from tests.chaos.callers import Callers, Case
from tests.chaos.conftest import DOOMED
from tests.chaos.house import House, Served

pytestmark = pytest.mark.chaos

WORKED_ON = (JobState.REGISTERING, JobState.SEGMENTING, JobState.PACKAGING)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def street(request, tmp_path_factory, models) -> Iterator[House]:
    """A house on each database, with settings as they are by default."""
    folder = tmp_path_factory.mktemp(request.param)
    on_postgres = request.param == "postgres"
    with House(folder, postgres=on_postgres, models=models) as house:
        yield house


@pytest.fixture
def house(street: House) -> House:
    """The house when all of it works again."""
    street.await_ready()
    return street


@pytest.fixture
def call(request, seed) -> Callable[..., Callers]:
    """Return what has clients begin to send jobs to a house."""

    def start(house: House, cases: Sequence[Case], jobs: int, **more) -> Callers:
        label = request.node.name
        return Callers(house, cases, jobs=jobs, label=label, seed=seed, **more).start()

    return start


def test_every_worker_is_killed(house, patients, with_mr, call, settle):
    callers = call(house, [*patients, with_mr], 16)
    for name in house.workers:
        house.await_stage(*WORKED_ON)
        house.kill(name)
    settle(house, callers)


def test_every_worker_is_killed_and_not_its_keeper(
    house, patients, with_mr, call, settle
):
    callers = call(house, [*patients, with_mr], 16)
    for name in house.workers:
        house.await_stage(*WORKED_ON)
        house.kill_worker(name)
    settle(house, callers)


def test_every_workers_child_is_killed(house, patients, with_mr, call, settle):
    callers = call(house, [*patients, with_mr], 16)
    for name in house.workers:
        house.await_stage(*WORKED_ON)
        house.kill_child(name)
    settle(house, callers)


def test_the_api_is_killed_while_jobs_arrive(house, patients, call, settle):
    callers = call(house, patients, 16)
    for accepted in (2, 6, 10):
        callers.await_accepted(accepted)
        house.kill("api")
    settle(house, callers)


def test_redis_is_killed_and_keeps_its_queue(house, patients, call, settle):
    callers = call(house, patients, 12)
    for accepted in (3, 9):
        callers.await_accepted(accepted)
        house.kill("redis")
    settle(house, callers)


def test_redis_forgets_everything(house, patients, call, settle):
    callers = call(house, patients, 12)
    for accepted in (3, 9):
        callers.await_accepted(accepted)
        house.flush_redis()
    settle(house, callers)


def test_the_database_is_killed(house, patients, with_mr, call, settle):
    if house.postgres is None:
        pytest.skip("SQLite has no process of its own")
    callers = call(house, [*patients, with_mr], 12)
    for accepted in (2, 6, 10):
        callers.await_accepted(accepted)
        house.kill("postgres")
        house.await_ready()
    settle(house, callers)


def test_a_worker_that_was_frozen_comes_too_late(house, with_mr, call, settle):
    callers = call(house, [with_mr], 4)
    job_id = house.await_stage(JobState.REGISTERING)
    token = house.tables.jobs.get(job_id).token
    worker = house.wait_for(lambda: house.worker_of(job_id), "a worker's folder")
    with house.frozen(worker):
        house.wait_for(
            lambda: house.tables.jobs.get(job_id).token not in {token, None},
            "another worker to take the job over",
        )
    settle(house, callers)


def test_messages_are_delivered_twice(house, patients, with_mr, call, settle):
    callers = call(house, [with_mr, *patients], 8)
    for stage in (Stage.REGISTER, Stage.SEGMENT, Stage.PACKAGE):
        job_id = house.await_stage(stage.state)
        for again in Stage:  # those of stages that are over, too
            house.send_again(job_id, again)
    settle(house, callers)


def test_a_job_that_kills_its_worker_fails_and_blocks_nobody(
    house, patients, with_mr, call, settle
):
    poison = Case(DOOMED, with_mr.request)
    callers = call(house, [poison, *patients], 8)
    attempts = house.settings.attempts
    doomed = [sent for sent in callers.sent if sent.case is poison]
    for sent in doomed:
        house.wait_for(lambda sent=sent: sent.job_ids, "the poison to be accepted")
        [job_id] = sent.job_ids
        for attempt in range(1, attempts + 1):
            house.wait_for(
                lambda job_id=job_id, attempt=attempt: is_at_work(
                    house, job_id, attempt
                ),
                f"attempt {attempt} of the poison",
            )
            house.kill_child(house.worker_of(job_id))
    settle(house, callers)
    for sent in doomed:
        [job_id] = sent.job_ids
        job = house.tables.jobs.get(job_id)
        assert job.total_attempts == attempts
        assert job.error is not None
        assert job.error.type == "urn:hanseg:problem:worker-lost"


def is_at_work(house: House, job_id: str, attempt: int) -> bool:
    """Whether a worker is at the how-manieth attempt of a job, and can be named."""
    job = house.tables.jobs.get(job_id)
    if job.token is None or job.total_attempts != attempt:
        return False
    return bool(house.worker_of(job_id))


def test_redis_is_killed_and_keeps_nothing(tmp_path, patients, models, call, settle):
    with House(tmp_path, workers=1, append_only=False, models=models) as house:
        callers = call(house, patients, 12)
        for accepted in (3, 9):
            callers.await_accepted(accepted)
            house.kill("redis")
        settle(house, callers)


def test_the_supervisor_is_killed(tmp_path, patients, with_mr, models, call, settle):
    with Served(tmp_path, models=models) as house:
        callers = call(house, [*patients, with_mr], 12)
        for accepted in (2, 8):
            callers.await_accepted(accepted)
            house.kill_alone("supervisor")
            house.await_ready()
        settle(house, callers)
