"""A job outlives whatever dies under it: workers, Redis, the API."""

from __future__ import annotations

import psutil
import pytest

from hanseg_shared.documents import JobState, MrVerdict
from hanseg_shared.jobs.record import Job
from tests.freezing import frozen


def kill(stack, name: str) -> None:
    """Kill a child of the stack and everything it started, as a power cut would."""
    parent = psutil.Process(stack.children[name].pid)
    family = [parent, *parent.children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=20)


def being(state: JobState):
    def is_claimed(job: Job) -> bool:
        return job.state is state and job.token is not None

    return is_claimed


def succeeded(job: Job) -> bool:
    return job.state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("worker", "stage"),
    [
        ("registration", JobState.REGISTERING),
        ("segmentation", JobState.SEGMENTING),
        ("segmentation", JobState.PACKAGING),
    ],
)
def test_a_job_outlives_its_worker(
    stack, client, ct_and_mr, small, wait_for, worker, stage
):
    job = client.submit(ct_and_mr if worker == "registration" else small)
    wait_for(job.id, being(stage))
    kill(stack, worker)
    done = wait_for(job.id, succeeded)
    times = {time.name: time for time in done.stages}
    assert times[stage].attempts == 2
    assert len(done.organs) == 30


def registration_of(stack) -> psutil.Process | None:
    """The process that registers, below keeper, worker and its child."""
    below = [psutil.Process(stack.children["registration"].pid)]
    for _ in range(3):
        below = [child for process in below for child in process.children()]
    return below[0] if below else None


def test_a_registration_that_was_killed_once_is_as_if_nothing_had_happened(
    stack, client, ct_and_mr, wait_for
):
    job = client.submit(ct_and_mr)
    wait_for(
        job.id, lambda row: being(JobState.REGISTERING)(row) and registration_of(stack)
    )
    registration = registration_of(stack)
    assert registration is not None
    registration.kill()
    done = wait_for(job.id, succeeded)
    assert done.registration.verdict is MrVerdict.USED
    assert done.stages[0].attempts == 2


def test_queued_jobs_outlive_a_restart_of_redis(stack, client, small, wait_for):
    jobs = [client.submit(small) for _ in range(2)]
    kill(stack, "redis")
    assert [wait_for(job.id, succeeded).id for job in jobs] == [job.id for job in jobs]


def test_a_job_outlives_a_restart_of_the_api(stack, client, small, wait_for):
    job = client.submit(small)
    wait_for(job.id, being(JobState.SEGMENTING))
    kill(stack, "api")
    wait_for(job.id, succeeded)
    stack.wait_until_ready()
    assert client.job(job.id).state is JobState.SUCCEEDED
    assert client.results(job.id)


def test_a_worker_that_hangs_loses_its_job_and_publishes_nothing(
    stack, client, small, wait_for
):
    job = client.submit(small)
    claimed = wait_for(job.id, being(JobState.SEGMENTING))
    parent = psutil.Process(stack.children["segmentation"].pid)
    family = [parent, *parent.children(recursive=True)]
    with frozen(*(process.pid for process in family)):
        wait_for(job.id, lambda row: row.token != claimed.token)
    done = wait_for(job.id, succeeded)
    assert {time.name: time.attempts for time in done.stages}["segmenting"] == 2


def test_a_job_cancelled_while_it_is_worked_on_ends_soon(
    client, ct_and_mr, wait_for, settings
):
    job = client.submit(ct_and_mr)
    wait_for(job.id, being(JobState.REGISTERING))
    client.cancel(job.id)
    assert wait_for(job.id, lambda row: row.state.is_final).state is JobState.CANCELLED


def test_a_worker_told_to_stop_stops_although_redis_is_gone(stack, client):
    worker = psutil.Process(stack.children["segmentation"].pid)
    with frozen(stack.children["redis"].pid):
        worker.terminate()
        assert psutil.wait_procs([worker], timeout=60)[0]
