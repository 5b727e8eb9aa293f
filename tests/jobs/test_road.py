"""Jobs on the road of real workers and a real broker, Redis and RabbitMQ alike.

The stages do nothing; everything about them is real: processes, messages, leases.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from hanseg_shared.documents import JobState, Priority
from hanseg_shared.jobs.reconciler import Reconciler
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.settings import Settings
from tests.jobs.fakes import CT
from tests.jobs.running_workers import (
    PATIENCE_SECONDS,
    all_done,
    is_claimed,
    kill,
    service,
    stub_worker,
    wait_for,
)
from tests.rabbitmq_server import RunningRabbit, running_rabbitmq
from tests.redis_server import RunningRedis, running_redis

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("rabbitmq")]

QUEUES = ("registration", "segmentation")


REDIS = pytest.param("redis", marks=pytest.mark.redis)
RABBITMQ = pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)


def over(*brokers: object) -> pytest.MarkDecorator:
    """Run a test over these brokers."""
    return pytest.mark.parametrize("broker", brokers, indirect=True)


@pytest.fixture
def broker(request, tmp_path: Path) -> Iterator[RunningRedis | RunningRabbit]:
    if request.param == "rabbitmq":
        with running_rabbitmq() as rabbit:
            yield rabbit
        return
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, broker: RunningRedis | RunningRabbit) -> Settings:
    return Settings(
        data=tmp_path / "data",
        broker_url=SecretStr(broker.url),
        lease_seconds=2.0,
        republish_seconds=3.0,
    )


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with service(settings) as opened:
        yield opened


@pytest.fixture
def reconciler(services: Services) -> Reconciler:
    return Reconciler(services)


@pytest.fixture
def workers(settings: Settings) -> Iterator[Callable[..., psutil.Popen]]:
    """Start workers that end with the test."""
    with ExitStack() as stack:
        yield lambda queue, seconds=0.0: stack.enter_context(
            stub_worker(settings, queue, seconds)
        )


def submit(services: Services, **values) -> str:
    job = services.tables.jobs.create(NewJob(uuid.uuid4().hex, (CT,), **values))
    services.publish_due(job)
    return job.id


def is_registered(services: Services) -> Callable[[str], bool]:
    """Return what says whether a job's first stage is done."""
    return lambda job_id: services.tables.jobs.get(job_id).state is JobState.SEGMENTING


def require_done_once(services: Services, job_id: str, *, beginnings: int = 3) -> None:
    job = services.tables.jobs.get(job_id)
    assert job.state is JobState.SUCCEEDED, job.error
    assert [each.name for each in job.stages] == [stage.state for stage in Stage]
    assert job.total_attempts == beginnings


@over(REDIS, RABBITMQ)
def test_a_restarted_broker_and_doubled_messages_do_nothing_twice(
    services, reconciler, workers, broker
):
    for queue in QUEUES:
        workers(queue, 0.5)
    jobs = [submit(services) for _ in range(2)]
    for job_id in jobs:  # the broker may double what it likes
        services.publish(job_id, JobState.QUEUED)
    wait_for(services, is_claimed(services, jobs[0]))
    if isinstance(broker, RunningRabbit):
        broker.restart()
    else:  # which keeps nothing at all
        broker.kill()
        broker.start()
    wait_for(services, all_done(services, jobs), reconciler=Tolerant(reconciler))

    for job_id in jobs:
        require_done_once(services, job_id)


@over(RABBITMQ)
def test_a_killed_workers_job_is_done_by_another(services, reconciler, workers):
    workers("segmentation")
    victim = workers("registration", 300.0)
    job_id = submit(services)
    wait_for(services, is_claimed(services, job_id))
    kill(victim)
    workers("registration")
    wait_for(services, all_done(services, [job_id]), reconciler=reconciler)

    require_done_once(services, job_id, beginnings=4)


class Tolerant(Reconciler):
    """As in the API: a pass that fails is followed by another."""

    def __init__(self, inner: Reconciler) -> None:
        self._inner = inner

    def run_once(self) -> None:
        from hanseg_shared.jobs.passes import attempt_pass

        attempt_pass("reconciler", self._inner.run_once)


@over(REDIS)
def test_a_planner_waits_for_one_stage_of_somebodys_batch(
    services, reconciler, workers
):
    batch = [submit(services, owned_by="batch") for _ in range(40)]
    planner = [submit(services, owned_by="planner") for _ in range(3)]
    urgent = submit(services, owned_by="clinic", priority=Priority.URGENT)
    workers("registration")

    jobs = [*batch, *planner, urgent]
    wait_for(services, lambda: all(map(is_registered(services), jobs)))
    done = sorted(
        (services.tables.jobs.get(job_id) for job_id in jobs),
        key=lambda job: job.started_at or 0.0,
    )
    assert done[0].id == urgent
    first = [job.owned_by for job in done[1:7]]
    assert first.count("planner") == 3


@over(RABBITMQ)
def test_an_owners_limit_holds_and_all_is_done_in_the_end(settings, services):
    limited = settings.model_copy(update={"max_running_jobs_a_caller": 1})
    jobs = [submit(services, owned_by="a") for _ in range(4)]
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, len(services.tables.claims.list_holds()))
        return all(map(is_registered(services), jobs))

    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(stub_worker(limited, "registration", 0.2))
        wait_for(services, done, reconciler=Reconciler(services))

    assert most == 1


class TestDraining:
    """A drained worker finishes its job, takes no other, and ends."""

    def host(self) -> str:
        return os.uname().nodename

    @over(REDIS, RABBITMQ)
    def test_a_drained_worker_finishes_its_job_and_the_others_go_on(
        self, services, reconciler, workers
    ):
        drained = workers("registration", 3.0)
        first = submit(services)
        wait_for(services, is_claimed(services, first))
        [worker] = services.tables.workers.statuses()
        services.tables.drains.begin(worker.name)
        second = submit(services)
        status = drained.wait(PATIENCE_SECONDS)

        assert status == os.EX_OK
        job = services.tables.jobs.get(first)
        assert (job.state, job.total_attempts) == (JobState.SEGMENTING, 1)
        assert services.tables.jobs.get(second).total_attempts == 0
        assert services.tables.workers.statuses() == []

        workers("registration")
        registered = is_registered(services)
        wait_for(services, lambda: registered(second), reconciler=reconciler)
        assert services.tables.jobs.get(second).total_attempts == 1

    @over(REDIS)
    def test_a_worker_started_on_a_drained_host_waits(
        self, services, reconciler, workers
    ):
        services.tables.drains.begin(self.host())
        waiting = workers("registration")
        job_id = submit(services)
        wait_for(services, services.tables.workers.statuses)

        [status] = services.tables.workers.statuses()
        assert "drained" in (status.trouble or "")
        assert services.tables.jobs.get(job_id).token is None
        services.tables.drains.end(self.host())
        registered = is_registered(services)
        wait_for(services, lambda: registered(job_id), reconciler=reconciler)
        assert waiting.is_running()
