"""Workers on two hosts: whichever is lost, cut off, slow or late, jobs end as ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest

from hanseg_shared.documents import JobState
from tests.chaos.callers import Callers, Case
from tests.chaos.clocks import Clock
from tests.hosts.conftest import LEASE_SECONDS
from tests.hosts.department import Department

pytestmark = pytest.mark.hosts

RECOVERY_SECONDS = 15.0
"""A lost host's job is due again so long after its lease, at the latest; a worker that
is free takes it at once."""

SPLIT_SECONDS = 5 * LEASE_SECONDS
"""Longer than a lease, and than anybody who has the job elsewhere needs for it."""

PATIENCE_SECONDS = 300.0
"""Longest time of some jobs on one host, on a busy machine: whoever is deaf is so for
hours."""

STAGES = (JobState.REGISTERING, JobState.SEGMENTING, JobState.PACKAGING)

OFF_SECONDS = 90
"""How wrong the clock of a host is."""


@pytest.fixture
def call(request, department, seed) -> Callable[..., Callers]:
    """Return what has clients begin to send jobs to the department."""

    def start(cases: Sequence[Case], jobs: int, **more) -> Callers:
        label = request.node.name
        return Callers(
            department, cases, jobs=jobs, label=label, seed=seed, **more
        ).start()

    return start


@pytest.fixture
def finish(department, settle) -> Callable[[Callers], None]:
    """Return what sees callers to their end, and looks at every host after that."""

    def do(callers: Callers) -> None:
        department.await_ready()
        settle(department, callers)
        department.wait_for(
            lambda: not department.find_leftovers(), "scratch folders to be swept"
        )

    return do


def find_busy_host(department: Department, *states: JobState) -> tuple[str, str]:
    """Return a job that is in one of some states, and the host that has it."""

    def look() -> tuple[str, str]:
        job_id = department.await_stage(*states)
        return job_id, department.host_of(job_id)

    found: tuple[str, str] = department.wait_for(look, f"a host that is {states}")
    return found


def test_both_hosts_share_the_work(department, patients, with_mr, call, finish):
    callers = call([*patients, with_mr], 8)
    finish(callers)
    names = {each.name for each in department.tables.workers.statuses()}
    assert {name.rpartition("-")[0] for name in names} == set(department.hosts)


@pytest.mark.parametrize("state", STAGES)
def test_a_host_is_lost_in(department, with_mr, patients, call, finish, state):
    # few, so that the other host has little else to do
    registers = state is JobState.REGISTERING
    callers = call([with_mr], 1) if registers else call(patients, 3)
    job_id, token, host = cut_off_in(department, state)
    lost_at = time.monotonic()
    with department.lose(host):
        department.wait_for(
            lambda: department.tables.jobs.get(job_id).token != token, "the lease's end"
        )
        took = time.monotonic() - lost_at
        department.wait_for(lambda: goes_on(department, job_id, token), "a new worker")
    finish(callers)
    assert department.tables.jobs.get(job_id).total_attempts > 1
    assert took < LEASE_SECONDS + RECOVERY_SECONDS


def cut_off_in(department: Department, state: JobState) -> tuple[str, str | None, str]:
    """Cut off a host that has a job in a state; return the job, its token and the host.

    Nothing that the host does after that reaches the row.
    """

    def strike() -> tuple[str, str | None, str] | None:
        job_id, host = find_busy_host(department, state)
        department.hosts[host].sever()
        job = department.tables.jobs.get(job_id)
        if job.state is state and job.token is not None:
            return job_id, job.token, host
        department.hosts[host].heal()
        return None

    found: tuple[str, str | None, str] = department.wait_for(strike, f"a {state} host")
    return found


def goes_on(department: Department, job_id: str, token: str | None) -> bool:
    """Whether a job is in other hands, or is over."""
    job = department.tables.jobs.get(job_id)
    return job.state.is_final or job.token not in {token, None}


def test_a_split_longer_than_a_lease_is_healed(
    department, with_mr, patients, call, finish
):
    """The host that was cut off goes on, comes back, and publishes nothing."""
    callers = call([with_mr, *patients], 6)
    job_id, host = find_busy_host(department, JobState.REGISTERING)
    department.blows.append(f"cut {host} off")
    token = department.tables.jobs.get(job_id).token
    with department.hosts[host].cut():
        department.rest(SPLIT_SECONDS)
        department.wait_for(lambda: goes_on(department, job_id, token), "a new worker")
    finish(callers)


def test_both_hosts_are_cut_off_and_healed(department, with_mr, patients, call, finish):
    callers = call([*patients, with_mr], 8)
    find_busy_host(department, *STAGES)
    department.blows.append("cut both off")
    anna, bert = department.hosts.values()
    with anna.cut(), bert.cut():
        department.rest(SPLIT_SECONDS)
    finish(callers)


@pytest.mark.parametrize("seconds", [OFF_SECONDS, -OFF_SECONDS])
def test_a_hosts_clock_is_off(
    department, clock: Clock, with_mr, patients, call, finish, seconds
):
    """Leases go by the database's clock: nobody loses a job, or keeps a lost one."""
    callers = call([*patients, with_mr], 8)
    find_busy_host(department, *STAGES)
    department.blows.append(f"set bert's clock by {seconds} s")
    clock.set_forward(seconds)
    try:
        department.rest(3 * LEASE_SECONDS)
        job_id, host = find_busy_host(department, *STAGES)
        token = department.tables.jobs.get(job_id).token
        with department.lose(host):
            department.wait_for(
                lambda: goes_on(department, job_id, token), "a new worker"
            )
        finish(callers)
    finally:
        clock.set_forward(0)
    for sent in callers.sent:
        (each,) = sent.job_ids
        job = department.tables.jobs.get(each)
        assert all(stage.seconds < OFF_SECONDS for stage in job.stages), job.stages


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_a_server_is_restarted(department, with_mr, patients, call, finish, server):
    callers = call([with_mr, *patients], 8)
    for states in ((JobState.REGISTERING,), (JobState.SEGMENTING, JobState.PACKAGING)):
        find_busy_host(department, *states)
        department.kill(server)
        department.await_ready()
    finish(callers)


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_a_server_is_restarted_behind_a_hosts_back(
    department, with_mr, patients, call, finish, server
):
    """A host that is cut off meanwhile hears of it from nobody, and works on alone."""
    callers = call([with_mr, *patients], 4, patience_seconds=PATIENCE_SECONDS)
    find_busy_host(department, *STAGES)
    with department.hosts["anna"].cut():
        department.kill(server)
        department.await_servers()
    with department.keep_down(*department.on("bert")):
        finish_by(department, callers, "anna")
    finish(callers)


def finish_by(department: Department, callers: Callers, host: str) -> None:
    """See callers to their end while one host alone is there."""
    callers.finish()
    last = [
        department.tables.jobs.get(each) for s in callers.sent for each in s.job_ids
    ]
    assert all(job.state.is_final for job in last), f"{host} did not go on"


def test_broker_and_database_are_away_longer_than_a_lease(
    department, with_mr, patients, call, finish
):
    callers = call([*patients, with_mr], 8)
    find_busy_host(department, *STAGES)
    with department.keep_down("redis", "postgres"):
        department.rest(SPLIT_SECONDS)
    finish(callers)


def test_the_first_host_is_lost_and_comes_back(
    department, with_mr, patients, call, finish
):
    """The one that has the API, the database and the broker."""
    callers = call([*patients, with_mr], 8)
    find_busy_host(department, *STAGES)
    with department.keep_down("api", "sweep", "redis", "postgres"):
        department.rest(2 * LEASE_SECONDS)
    finish(callers)


def test_a_slow_line_delays_jobs_and_loses_none(
    department, with_mr, patients, call, finish
):
    """The database, the broker and the store's names are asked over that line."""
    callers = call([*patients, with_mr], 8)
    with department.hosts["anna"].slow() as how:
        department.blows.append(f"slow anna: {how}")
        find_busy_host(department, *STAGES)
        callers.finish()
    finish(callers)


def test_the_store_hangs_for_longer_than_a_lease(
    department, with_mr, patients, call, finish
):
    callers = call([*patients, with_mr], 8)
    find_busy_host(department, *STAGES)
    department.blows.append("let the store hang")
    with department.disk.hanging():
        department.rest(SPLIT_SECONDS)
    finish(callers)


def test_hosts_are_cut_off_again_and_again(department, with_mr, patients, call, finish):
    """Short cuts and long ones, in turn, while jobs go on arriving."""
    callers = call([*patients, with_mr], 12, clients=2)
    for number, seconds in enumerate((0.5, SPLIT_SECONDS / 2, 1.0, SPLIT_SECONDS / 2)):
        host = list(department.hosts)[number % 2]
        find_busy_host(department, *STAGES)
        department.blows.append(f"cut {host} off for {seconds:g} s")
        with department.hosts[host].cut():
            department.rest(seconds)
    finish(callers)
