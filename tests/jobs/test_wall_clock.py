"""A clock that is set wrong, forward or back, costs no job its files or its worker."""

from __future__ import annotations

import contextlib

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.reconciler import Reconciler
from hanseg_shared.jobs.wall_clock import (
    FIRST_HOLD_SECONDS,
    HOLD_SECONDS,
    JUMP_SECONDS,
    OFF_SECONDS,
    WallClock,
)
from tests.jobs.fakes import PROBLEM, FakeClock, claim, new_job, watch

DAYS = 24 * 3600.0
DISK_FULL = ServiceUnavailableError("the database or disk is full")
JUMPS = [-8 * DAYS, -3600.0, 3600.0, 8 * DAYS]


@pytest.fixture
def wall(clock: FakeClock) -> WallClock:
    return WallClock(lambda: clock.now, steady=clock.steady)


class TestWallClock:
    def test_a_clock_that_goes_on_is_trusted(self, wall, clock):
        for _ in range(5):
            assert wall.is_trusted()
            clock.advance(3 * DAYS)

    def test_small_corrections_are_no_jump_however_many(self, wall, clock):
        for _ in range(20):
            assert wall.is_trusted()
            clock.set_forward(JUMP_SECONDS / 2)

    @pytest.mark.parametrize("seconds", JUMPS)
    def test_a_jump_holds_until_the_clock_was_steady_for_long(
        self, wall, clock, seconds, caplog
    ):
        assert wall.is_trusted()
        clock.set_forward(seconds)
        assert not wall.is_trusted()
        clock.advance(HOLD_SECONDS - 1.0)
        assert not wall.is_trusted()
        clock.advance(1.0)
        assert wall.is_trusted()
        assert caplog.text.count("the clock was set") == 1
        assert caplog.text.count("steady again") == 1

    @pytest.mark.parametrize("seconds", JUMPS)
    def test_a_clock_that_comes_back_is_trusted_at_once(self, wall, clock, seconds):
        assert wall.is_trusted()
        clock.set_forward(seconds)
        assert not wall.is_trusted()
        clock.advance(12.0)
        clock.set_forward(-seconds)
        assert wall.is_trusted()

    def test_a_second_jump_holds_anew(self, wall, clock):
        wall.is_trusted()
        clock.set_forward(8 * DAYS)
        wall.is_trusted()
        clock.advance(HOLD_SECONDS - 1.0)
        clock.set_forward(DAYS)
        assert not wall.is_trusted()
        clock.advance(HOLD_SECONDS - 1.0)
        assert not wall.is_trusted()

    def test_a_slow_answer_is_no_jump(self, clock):
        def read_slowly() -> float:
            now = clock.now
            clock.advance(500.0)
            return now

        wall = WallClock(read_slowly, steady=clock.steady)
        assert all(wall.is_trusted() for _ in range(5))


class TestService:
    @pytest.mark.parametrize("seconds", JUMPS)
    def test_no_finished_job_expires_by_a_jump(self, tables, sweeper, clock, seconds):
        jobs = [claim(tables, new_job(tables)) for _ in range(3)]
        for job in jobs:
            tables.claims.fail(job, PROBLEM)
        sweeper.run_once()
        clock.set_forward(seconds)
        watch(sweeper, clock, 12.0)
        sweeper.sweep()
        clock.set_forward(-seconds)
        watch(sweeper, clock, 12.0)

        assert tables.jobs.count_by_state()[JobState.FAILED] == 3

    def test_expiry_goes_on_when_the_clock_stays(self, tables, sweeper, clock):
        job = claim(tables, new_job(tables))
        tables.claims.fail(job, PROBLEM)
        sweeper.run_once()
        clock.set_forward(8 * DAYS)
        watch(sweeper, clock, HOLD_SECONDS + 1.0)

        assert tables.jobs.get(job.id).state is JobState.EXPIRED

    @pytest.mark.parametrize("seconds", JUMPS)
    def test_a_living_worker_keeps_its_job(self, tables, reconciler, clock, seconds):
        job = claim(tables, new_job(tables))
        reconciler.run_once()
        clock.set_forward(seconds)
        for _ in range(5):
            tables.claims.renew(job.id, job.token, lease_seconds=30.0)
            watch(reconciler, clock, 9.0)

        assert tables.jobs.get(job.id).token == job.token

    @pytest.mark.parametrize("seconds", JUMPS)
    def test_a_dead_workers_job_goes_on(
        self, tables, reconciler, publisher, clock, seconds
    ):
        job = claim(tables, new_job(tables))
        reconciler.run_once()
        clock.set_forward(seconds)
        watch(reconciler, clock, 31.0)

        assert tables.jobs.get(job.id).token is None
        assert [job_id for _, job_id in publisher.sent] == [job.id]

    @pytest.mark.parametrize("seconds", JUMPS)
    def test_a_dead_workers_job_can_be_cancelled(
        self, tables, reconciler, clock, seconds
    ):
        job = claim(tables, new_job(tables))
        reconciler.run_once()
        clock.set_forward(seconds)
        tables.jobs.request_cancel(job.id)
        watch(reconciler, clock, 31.0)

        assert tables.jobs.get(job.id).state is JobState.CANCELLED

    @pytest.mark.parametrize("seconds", JUMPS)
    def test_a_lost_message_is_sent_again(
        self, tables, reconciler, publisher, clock, settings, seconds
    ):
        job = new_job(tables)
        reconciler.run_once()
        publisher.flush()
        clock.set_forward(seconds)
        watch(reconciler, clock, settings.republish_seconds + 0.1)

        assert [job_id for _, job_id in publisher.sent] == [job.id]

    def test_a_worker_that_reported_before_the_clock_was_set_back_is_not_alive(
        self, tables, clock
    ):
        for name in ("dead", "living"):
            tables.workers.report_ready(name, queue="registration", device="cpu")
        clock.set_forward(-3600.0)
        tables.workers.report_ready("living", queue="registration", device="cpu")

        silent = {s.name: s.silent_seconds for s in tables.workers.statuses()}
        assert silent["living"] == 0.0
        assert silent["dead"] > 3000.0


def test_a_reconciler_that_stood_still_takes_no_job_away(services, tables, clock):
    reconciler = Reconciler(services, steady=clock.steady)
    job = claim(tables, new_job(tables))
    reconciler.run_once()
    clock.advance(3600.0)  # frozen with the database; the worker could not renew
    reconciler.run_once()

    assert tables.jobs.get(job.id).token == job.token


def test_one_message_a_job_is_sent_while_the_database_notes_nothing(
    tables, reconciler, publisher, clock, settings, monkeypatch
):
    def fill(*_: object) -> None:
        raise DISK_FULL

    job = new_job(tables)
    monkeypatch.setattr(tables.outbox, "mark_published", fill)
    for _ in range(5):
        with contextlib.suppress(ServiceUnavailableError):
            watch(reconciler, clock, 1.0)
    assert [job_id for _, job_id in publisher.sent] == [job.id]

    publisher.flush()
    clock.advance(settings.republish_seconds)
    with pytest.raises(ServiceUnavailableError):
        reconciler.run_once()
    assert [job_id for _, job_id in publisher.sent] == [job.id]


class TestAcrossAStart:
    """The clock is wrong when the service starts, so that nobody saw it jump."""

    @pytest.fixture
    def start(self, clock, tmp_path):
        def make() -> WallClock:
            memory = tmp_path / "clock"
            return WallClock(lambda: clock.now, steady=clock.steady, memory=memory)

        assert make().is_trusted()
        return make

    @pytest.mark.parametrize("seconds", [-8 * DAYS, 8 * DAYS])
    def test_a_clock_that_is_days_off_is_not_believed_for_a_while(
        self, start, clock, seconds
    ):
        clock.set_forward(seconds)
        wall = start()
        assert not wall.is_trusted()
        clock.advance(FIRST_HOLD_SECONDS - 1.0)
        assert not wall.is_trusted()
        clock.advance(1.0)
        assert wall.is_trusted()

    def test_a_clock_that_is_put_right_is_believed_at_once(self, start, clock):
        clock.set_forward(8 * DAYS)
        wall = start()
        assert not wall.is_trusted()
        clock.set_forward(-8 * DAYS)
        assert wall.is_trusted()

    def test_a_night_is_no_reason_to_wait(self, start, clock):
        clock.advance(OFF_SECONDS)
        assert start().is_trusted()

    def test_what_nobody_can_read_is_no_reason_to_wait(self, start, clock, tmp_path):
        (tmp_path / "clock").write_text("half past")
        clock.set_forward(8 * DAYS)
        assert start().is_trusted()
