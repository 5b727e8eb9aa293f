"""A stage's body runs under a lease; whatever happens to it, the job's row is right."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from hanseg_shared.documents import JobState, Problem, Progress
from hanseg_shared.errors import (
    ImageContentError,
    JobCancelledError,
    ProcessLostError,
    RegistrationError,
    ServiceUnavailableError,
    StoreError,
)
from hanseg_shared.jobs import machine_faults, work
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.messages import TASK_PACKAGE, TASK_REGISTER, TASK_SEGMENT
from hanseg_shared.jobs.record import Job, NewJob, StageResult
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.stopping import StopNotice
from hanseg_shared.jobs.tables.claims import Claims
from hanseg_shared.jobs.tables.job_row import Ending
from hanseg_shared.jobs.tables.quarantine import JobReader
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.tables.turns import Turns
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.jobs.work import Workplace, work_on
from hanseg_shared.problems import DEADLINE, INTERNAL, WORKER_LOST, kind_of
from hanseg_shared.settings import Settings
from tests.jobs.fakes import (
    CT,
    FakeClock,
    Gate,
    claim,
    new_job,
    release_all,
    unsent,
    watch,
)


class WatchedClaims(Claims):
    """Counts renewals, and does what a test puts in the place of a method."""

    def __init__(self, database: Database) -> None:
        ending = Ending(retention_seconds=3600.0)
        super().__init__(database, ending, JobReader(database, ending), Turns(database))
        self._renewals = threading.Semaphore(0)

    def renew(self, *arguments, **keywords):
        answer = super().renew(*arguments, **keywords)
        self._renewals.release()
        return answer

    def wait_for_renewal(self) -> None:
        """Return when a lease was renewed and its holder has seen the answer."""
        while self._renewals.acquire(blocking=False):
            pass
        for _ in range(3):  # one under way, one from now on, one that proves it seen
            assert self._renewals.acquire(timeout=10), "nobody renews"


@pytest.fixture
def tables(tmp_path: Path, clock: FakeClock) -> Iterator[Tables]:
    database = open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}", clock=clock)
    opened = Tables.of(database, retention_seconds=3600.0)
    yield dataclasses.replace(opened, claims=WatchedClaims(database))
    opened.close()


@pytest.fixture
def hasty(services: Services) -> Services:
    """The services with a lease so short that it is renewed all the time."""
    settings = Settings(data=services.settings.data, lease_seconds=0.03)
    return dataclasses.replace(services, settings=settings)


class Body:
    """A stage's body that does what it is told, and counts how often."""

    def __init__(self, *steps, result: StageResult | None = None) -> None:
        self.steps = steps
        self.result = result or StageResult(versions={"body": "1"})
        self.calls = 0

    def __call__(self, workplace: Workplace) -> StageResult:
        self.calls += 1
        (workplace.folder / "half-done").write_text("scratch")
        for step in self.steps:
            step(workplace)
        return self.result


DOWN = ServiceUnavailableError("the database does not work")


def raising(error: BaseException):
    def step(_: Workplace) -> None:
        raise error

    return step


def problem(job: Job) -> Problem:
    assert job.error is not None
    return job.error


def scratch_is_clean(services: Services) -> bool:
    return list(services.settings.scratch.iterdir()) == []


def register(services: Services, job: Job, body: Body) -> Job:
    work_on(Stage.REGISTER, job.id, body, services)
    return services.tables.jobs.get(job.id)


class TestSuccess:
    def test_a_finished_stage_sends_the_message_of_the_next(
        self, services, tables, publisher
    ):
        done = register(services, new_job(tables), Body())

        assert done.state is JobState.SEGMENTING
        assert done.versions == {"body": "1"}
        assert publisher.sent == [(TASK_SEGMENT, done.id)]
        assert done.published_at is not None
        assert scratch_is_clean(services)

    def test_three_stages_make_a_job(self, services, tables, publisher):
        job = new_job(tables)
        for stage in Stage:
            work_on(stage, job.id, Body(), services)

        assert tables.jobs.get(job.id).state is JobState.SUCCEEDED
        assert [task for task, _ in publisher.sent] == [TASK_SEGMENT, TASK_PACKAGE]

    def test_no_thread_is_left(self, services, tables):
        register(services, new_job(tables), Body())

        assert "lease" not in {thread.name for thread in threading.enumerate()}

    def test_a_broker_that_is_away_does_not_undo_the_work(
        self, services, tables, publisher
    ):
        publisher.down = True
        done = register(services, new_job(tables), Body())

        assert done.state is JobState.SEGMENTING
        assert done.published_at is None


class TestMessagesThatComeAmiss:
    def test_a_duplicate_while_the_stage_runs_does_nothing(self, services, tables):
        job = new_job(tables)
        second = Body()
        first = Body(lambda _: register(services, job, second))
        done = register(services, job, first)

        assert (first.calls, second.calls) == (1, 0)
        assert (done.state, done.total_attempts) == (JobState.SEGMENTING, 1)

    def test_a_duplicate_after_the_stage_does_nothing(
        self, services, tables, publisher
    ):
        job = new_job(tables)
        body = Body()
        register(services, job, body)
        done = register(services, job, body)

        assert body.calls == 1
        assert done.total_attempts == 1
        assert len(publisher.sent) == 1

    def test_a_message_that_comes_before_its_stage_does_nothing(self, services, tables):
        job = new_job(tables)
        body = Body()
        work_on(Stage.PACKAGE, job.id, body, services)

        assert body.calls == 0
        assert tables.jobs.get(job.id) == job

    def test_a_message_of_a_cancelled_job_does_nothing(self, services, tables):
        job = tables.jobs.request_cancel(new_job(tables).id)
        body = Body()

        assert register(services, job, body) == job
        assert body.calls == 0

    def test_a_message_of_an_unknown_job_does_nothing(self, services):
        body = Body()
        work_on(Stage.REGISTER, "nobody", body, services)

        assert body.calls == 0


class TestFailure:
    @pytest.mark.parametrize(
        "error",
        [
            RegistrationError("elastix found no overlap of CT and MR"),
            ImageContentError("the CT has no HU"),
        ],
    )
    def test_an_error_of_the_product_fails_the_job_at_once(
        self, services, tables, error
    ):
        failed = register(services, new_job(tables), Body(raising(error)))

        assert failed.state is JobState.FAILED
        assert problem(failed).type == kind_of(error).type
        assert problem(failed).detail == error.message
        assert problem(failed).instance == f"/v1/jobs/{failed.id}"
        assert scratch_is_clean(services)

    def test_an_unexpected_error_gives_the_job_back_at_once(
        self, services, tables, publisher
    ):
        job = register(services, new_job(tables), Body(raising(KeyError("x"))))

        assert (job.state, job.token, job.attempts) == (JobState.REGISTERING, None, 1)
        assert unsent(tables) == [job.id]
        assert publisher.sent == []
        assert scratch_is_clean(services)

    def test_after_three_unexpected_errors_the_job_has_failed(self, services, tables):
        job = new_job(tables)
        body = Body(raising(ZeroDivisionError("Jane Doe")))
        for _ in range(5):
            failed = register(services, job, body)

        assert body.calls == 3
        assert failed.state is JobState.FAILED
        assert problem(failed).type == INTERNAL.type
        assert "ZeroDivisionError (tried 3 times" in problem(failed).detail
        assert "Jane" not in problem(failed).detail

    def test_a_disk_that_stays_full_is_named_in_the_problem(
        self, services, tables, monkeypatch
    ):
        monkeypatch.setattr(work, "MOST_BEGINNINGS", 0)
        job = new_job(tables)
        body = Body(raising(OSError(28, "No space left on device", "/secret/place")))
        for _ in range(3):
            failed = register(services, job, body)

        assert failed.state is JobState.FAILED
        assert "No space left on device (tried 3" in problem(failed).detail
        assert "secret" not in problem(failed).detail

    def test_a_job_that_fails_twice_may_still_succeed(self, services, tables):
        job = new_job(tables)
        for _ in range(2):
            register(services, job, Body(raising(MemoryError())))
        done = register(services, job, Body())

        assert done.state is JobState.SEGMENTING
        assert done.error is None
        assert done.stages[0].attempts == 3

    def test_the_soft_time_limit_fails_the_job_and_names_the_limit(
        self, services, tables
    ):
        failed = register(
            services, new_job(tables), Body(raising(SoftTimeLimitExceeded()))
        )

        assert failed.state is JobState.FAILED
        assert problem(failed).type == DEADLINE.type
        assert "limit of 900 s" in problem(failed).detail
        assert scratch_is_clean(services)

    @pytest.mark.parametrize(
        "error",
        [
            StoreError("the payload is not there"),
            ServiceUnavailableError("no disk"),
            OSError(28, "No space left on device"),
        ],
    )
    def test_a_failing_store_gives_the_job_back_for_later(
        self, services, tables, publisher, reconciler, clock, error
    ):
        job = new_job(tables)
        released = register(services, job, Body(raising(error)))
        reconciler.run_once()
        assert (released.token, released.state) == (None, JobState.REGISTERING)
        assert publisher.sent == []

        clock.advance(services.settings.republish_seconds + 1.0)
        reconciler.run_once()
        assert publisher.sent == [(TASK_REGISTER, job.id)]

    def test_a_store_that_keeps_failing_fails_the_job_and_says_why(
        self, services, tables
    ):
        job = new_job(tables)
        body = Body(raising(StoreError("payload abc was altered")))
        for _ in range(3):
            failed = register(services, job, body)

        assert failed.state is JobState.FAILED
        assert problem(failed).detail.startswith(
            "payload abc was altered (tried 3 times"
        )

    def test_a_database_that_fails_at_the_end_is_waited_for(
        self, services, tables, monkeypatch
    ):
        finish = Flaky(tables.claims.finish_stage, DOWN, DOWN)
        monkeypatch.setattr(work, "FIRST_PAUSE_SECONDS", 0.0)
        monkeypatch.setattr(tables.claims, "finish_stage", finish)
        body = Body()
        done = register(services, new_job(tables), body)

        assert (body.calls, finish.calls) == (1, 3)
        assert done.state is JobState.SEGMENTING
        assert len(done.stages) == 1

    def test_a_database_that_stays_away_is_waited_for_until_the_worker_must_stop(
        self, services, tables, monkeypatch
    ):
        def fail(*_, **__):
            raise DOWN

        job = new_job(tables)
        services.stop.give(grace_seconds=0.0)
        with monkeypatch.context() as patch:
            patch.setattr(tables.claims, "finish_stage", fail)
            patch.setattr(tables.claims, "release", fail)
            with pytest.raises(ServiceUnavailableError):
                register(services, job, Body())
        release_all(tables)
        done = register(services, job, Body())

        assert done.state is JobState.SEGMENTING
        assert len(done.stages) == 1


def test_a_clock_that_is_set_during_a_stage_does_not_lengthen_it(
    services, tables, clock
):
    body = Body(lambda _: clock.advance(8 * 24 * 3600.0))
    [stage] = register(services, new_job(tables), body).stages

    assert stage.seconds < 3600.0


class TestMachineFaults:
    @pytest.mark.parametrize(
        "fault",
        [
            DOWN,
            OSError(errno.ENOSPC, "No space left on device"),
            OSError(errno.EROFS, "Read-only file system"),
            StoreError("mask.nii.gz: [Errno 28] No space left on device"),
            RuntimeError("ITK ERROR: No space left on device"),
        ],
    )
    def test_an_outage_of_any_length_costs_no_attempt(self, services, tables, fault):
        job = new_job(tables)
        for _ in range(5):
            waiting = register(services, job, Body(raising(fault)))
            assert (waiting.token, waiting.attempts) == (None, 0)
            assert scratch_is_clean(services)
        done = register(services, job, Body())

        assert done.state is JobState.SEGMENTING
        assert done.stages[0].attempts == 1

    def test_a_fault_is_the_machines_by_what_it_was_raised_from(self, services, tables):
        def fail(_: Workplace) -> None:
            cause = OSError(errno.ENOSPC, "No space left on device")
            raise StoreError("the mask could not be written") from cause

        waiting = register(services, new_job(tables), Body(fail))
        assert (waiting.token, waiting.attempts) == (None, 0)

    def test_on_a_full_disk_any_error_is_the_machines(
        self, services, tables, monkeypatch
    ):
        def fill(_: Workplace) -> None:
            monkeypatch.setattr(machine_faults, "FULL_BYTES", 1 << 62)
            raise ValueError("a library that does not know what it met")

        waiting = register(services, new_job(tables), Body(fill))
        assert (waiting.token, waiting.attempts) == (None, 0)

    def test_a_job_that_brings_about_what_it_meets_fails_in_the_end(
        self, services, tables, monkeypatch
    ):
        monkeypatch.setattr(work, "MOST_BEGINNINGS", 5)
        body = Body(raising(OSError(errno.ENOSPC, "No space left on device")))
        job = new_job(tables)
        begun = 0
        while not job.state.is_final:
            job = register(services, job, body)
            begun += 1

        assert begun == 7
        assert job.state is JobState.FAILED
        assert "No space left on device (tried 3 times" in problem(job).detail

    @pytest.mark.parametrize(
        "fault",
        [
            MemoryError(),
            OSError(errno.ENOMEM, "Cannot allocate memory"),
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            RuntimeError("std::bad_alloc"),
        ],
    )
    def test_too_little_memory_is_tried_again_later_and_named_in_the_end(
        self, services, tables, fault
    ):
        job, body = new_job(tables), Body(raising(fault))
        for attempt in (1, 2):
            waiting = register(services, job, body)
            assert (waiting.token, waiting.attempts) == (None, attempt)
            assert waiting.published_at is not None  # sent again, but not at once
        failed = register(services, job, body)

        assert failed.state is JobState.FAILED
        assert problem(failed).type == "urn:hanseg:problem:worker-lost"
        assert "ran out of memory (tried 3 times" in problem(failed).detail

    def test_a_missing_payload_is_the_jobs_and_an_empty_store_the_machines(
        self, services, tables
    ):
        job = new_job(tables)
        body = Body(lambda workplace: workplace.fetch_input("ct"))
        assert register(services, job, body).attempts == 1
        shutil.rmtree(services.settings.data / "payloads")
        assert register(services, job, body).attempts == 1


class Flaky:
    """A function that fails in some ways first."""

    def __init__(self, function, *failures: Exception) -> None:
        self._function = function
        self._failures = list(failures)
        self.calls = 0

    def __call__(self, *arguments, **named):
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)
        return self._function(*arguments, **named)


@pytest.fixture
def hurried(monkeypatch) -> None:
    """Do not wait for a notice to stop."""
    monkeypatch.setattr(work, "NOTICE_SECONDS", 0.0)


@pytest.mark.usefixtures("hurried")
class TestKilledProcess:
    KILLED = ProcessLostError("the process was killed by signal 11 (SIGSEGV)")

    def test_a_stage_whose_process_was_killed_is_due_again_after_a_while(
        self, services, tables, clock
    ):
        job = register(services, new_job(tables), Body(raising(self.KILLED)))

        assert (job.state, job.attempts) == (JobState.REGISTERING, 1)
        assert [due.id for due in tables.outbox.list_waiting()] == [job.id]
        assert unsent(tables) == []

    def test_a_stage_that_is_killed_every_time_has_lost_its_worker(
        self, services, tables
    ):
        job = new_job(tables)
        body = Body(raising(self.KILLED))
        for _ in range(3):
            failed = register(services, job, body)

        assert failed.state is JobState.FAILED
        assert problem(failed).type == WORKER_LOST.type
        assert "signal 11 (SIGSEGV) (tried 3 times" in problem(failed).detail

    def test_the_body_knows_its_last_attempt(self, services, tables):
        job = new_job(tables)
        asked: list[bool] = []

        def ask(workplace: Workplace) -> None:
            asked.append(workplace.is_last_attempt)

        body = Body(ask, raising(self.KILLED))
        for _ in range(3):
            register(services, job, body)
        assert asked == [False, False, True]

    def test_a_process_that_was_stopped_with_its_worker_was_not_killed(
        self, services, tables, publisher
    ):
        job = new_job(tables)

        def stop(workplace: Workplace) -> None:
            services.stop.give(grace_seconds=60.0)
            assert not workplace.is_last_attempt

        for _ in range(4):
            given_back = register(services, job, Body(stop, raising(self.KILLED)))

        assert (given_back.state, given_back.attempts) == (JobState.REGISTERING, 0)
        assert publisher.sent == [(TASK_REGISTER, job.id)] * 4


class TestStoppingWorker:
    def test_a_worker_that_must_leave_gives_its_job_back_at_once(
        self, services, tables, publisher
    ):
        job = new_job(tables)
        for _ in range(4):  # more than the attempts of a stage
            with pytest.raises(SystemExit):
                register(services, job, Body(raising(SystemExit(-253))))
        done = register(services, job, Body())

        assert done.state is JobState.SEGMENTING
        assert [time.attempts for time in done.stages] == [1]
        assert done.total_attempts == 5
        assert publisher.sent == [(TASK_REGISTER, job.id)] * 4 + [
            (TASK_SEGMENT, job.id)
        ]
        assert scratch_is_clean(services)

    def test_a_body_that_does_not_listen_loses_its_job_when_the_grace_is_over(
        self, hasty, tables, publisher
    ):
        job = new_job(tables)
        given_back = Gate()
        publish = publisher.publish

        def published(*message: str) -> None:
            publish(*message)
            given_back.open()

        publisher.publish = published

        def compute(_: Workplace) -> None:
            hasty.stop.give(grace_seconds=0.0)
            given_back.wait()

        after = register(hasty, job, Body(compute))

        assert (after.state, after.token, after.attempts) == (
            JobState.REGISTERING,
            None,
            0,
        )
        assert after.versions == {}
        assert publisher.sent == [(TASK_REGISTER, job.id)]

    def test_a_stage_that_ends_within_the_grace_is_published(
        self, hasty, tables, publisher
    ):
        done = register(
            hasty,
            new_job(tables),
            Body(
                lambda _: hasty.stop.give(grace_seconds=60.0),
                lambda _: tables.claims.wait_for_renewal(),
            ),
        )

        assert done.state is JobState.SEGMENTING

    def test_a_cancelled_job_ends_with_its_worker(self, services, tables):
        job = new_job(tables)
        body = Body(
            lambda _: tables.jobs.request_cancel(job.id), raising(SystemExit(0))
        )
        with pytest.raises(SystemExit):
            register(services, job, body)

        assert tables.jobs.get(job.id).state is JobState.CANCELLED

    def test_without_a_broker_the_job_is_given_back_all_the_same(
        self, services, tables, publisher
    ):
        publisher.down = True
        with pytest.raises(SystemExit):
            register(services, new_job(tables), Body(raising(SystemExit(0))))
        [due] = unsent(tables)

        assert tables.jobs.get(due).attempts == 0

    def test_a_worker_that_lost_its_job_gives_nothing_back(
        self, services, tables, clock
    ):
        job = new_job(tables)
        holders = []

        def lose(_: Workplace) -> None:
            clock.advance(31.0)
            release_all(tables)
            holders.append(claim(tables, job))

        with pytest.raises(SystemExit):
            register(services, job, Body(lose, raising(SystemExit(0))))

        assert [tables.jobs.get(job.id)] == holders

    def test_a_kill_among_restarts_is_the_only_attempt(self, services, tables, clock):
        job = new_job(tables)
        with pytest.raises(SystemExit):
            register(services, job, Body(raising(SystemExit(0))))
        claim(tables, job)
        clock.advance(31.0)
        release_all(tables)

        assert tables.jobs.get(job.id).attempts == 1


class TestStopNotice:
    def test_it_is_due_after_the_time_of_grace(self):
        notice = StopNotice()
        assert not notice.is_given()
        assert not notice.is_due
        notice.give(grace_seconds=60.0)
        assert notice.is_given()
        assert not notice.is_due

    def test_the_shortest_grace_counts(self):
        notice = StopNotice()
        notice.give(grace_seconds=0.0)
        notice.give(grace_seconds=60.0)
        assert notice.is_due


class TestCancel:
    def test_a_cancel_in_the_middle_ends_the_job_and_clears_up(self, hasty, tables):
        job = new_job(tables)
        reached = []
        body = Body(
            lambda _: tables.jobs.request_cancel(job.id),
            lambda _: tables.claims.wait_for_renewal(),
            lambda workplace: workplace.lease.progress(0.5),
            lambda _: reached.append("further"),
        )
        cancelled = register(hasty, job, body)

        assert cancelled.state is JobState.CANCELLED
        assert reached == []
        assert cancelled.versions == {}
        assert scratch_is_clean(hasty)

    def test_a_cancel_at_the_last_moment_ends_the_job(self, services, tables):
        job = new_job(tables)
        body = Body(lambda _: tables.jobs.request_cancel(job.id))
        cancelled = register(services, job, body)

        assert cancelled.state is JobState.CANCELLED
        assert cancelled.versions == {}

    def test_a_body_that_fails_after_a_cancel_ends_the_job(self, services, tables):
        job = new_job(tables)
        body = Body(
            lambda _: tables.jobs.request_cancel(job.id), raising(OSError("killed"))
        )

        assert register(services, job, body).state is JobState.CANCELLED

    def test_a_body_may_say_itself_that_it_was_cancelled(self, services, tables):
        body = Body(raising(JobCancelledError("the child was killed")))

        assert register(services, new_job(tables), body).state is JobState.CANCELLED


class TestLostLease:
    def test_a_worker_that_lost_its_job_stops_and_publishes_nothing(
        self, services, tables, reconciler, clock
    ):
        job = new_job(tables)
        other = Body(result=StageResult(versions={"body": "the other's"}))

        def lose(_: Workplace) -> None:
            watch(reconciler, clock, 31.0)
            register(services, job, other)

        zombie = Body(lose)
        done = register(services, job, zombie)

        assert (zombie.calls, other.calls) == (1, 1)
        assert done.versions == {"body": "the other's"}
        assert done.state is JobState.SEGMENTING
        assert len(done.stages) == 1
        assert scratch_is_clean(services)

    @pytest.mark.parametrize(
        "error", [RegistrationError("late"), OSError("late"), SoftTimeLimitExceeded()]
    )
    def test_a_late_failure_does_not_harm_the_worker_that_has_the_job(
        self, services, tables, clock, error
    ):
        job = new_job(tables)
        holders = []

        def lose(_: Workplace) -> None:
            clock.advance(31.0)
            release_all(tables)
            holders.append(claim(tables, job))

        after = register(services, job, Body(lose, raising(error)))

        assert [after] == holders

    def test_the_lease_thread_tells_the_body_that_the_job_is_lost(self, hasty, tables):
        job = new_job(tables)

        def lose(workplace: Workplace) -> None:
            tables.claims.release(workplace.job)
            workplace.lease._thread.join(10)
            workplace.lease.check()
            pytest.fail("the lease did not notice")

        after = register(hasty, job, Body(lose))
        assert (after.state, after.token) == (JobState.REGISTERING, None)


def test_progress_reaches_the_row(hasty, tables):
    seen = []

    def note(workplace: Workplace) -> None:
        workplace.lease.progress(0.25)
        tables.claims.wait_for_renewal()
        seen.append(tables.jobs.get(workplace.job.id).progress)

    register(hasty, new_job(tables), Body(note))
    assert seen == [Progress(stage="registering", done=0.25)]


class TestWorkplace:
    @pytest.fixture
    def workplace(self, services, tables, tmp_path) -> Workplace:
        image = tmp_path / "image"
        image.write_bytes(b"voxels")
        job_id = "j1"
        payload = services.store.put(job_id, image)
        ct = CT.model_copy(update={"sha256": payload.sha256})
        job = claim(tables, tables.jobs.create(NewJob(job_id, (ct,))))
        folder = tmp_path / "scratch"
        folder.mkdir()
        return Workplace(job, folder, services, lease=None)  # type: ignore[arg-type]

    def test_an_input_comes_by_its_role(self, workplace):
        path = workplace.fetch_input("ct")

        assert path == workplace.folder / "ct"
        assert path.read_bytes() == b"voxels"

    def test_what_is_not_there_is_none(self, workplace):
        assert workplace.fetch_input("mr") is None
        assert workplace.fetch_intermediate("registered_mr.nii.gz") is None

    def test_files_of_one_stage_are_fetched_by_the_next(self, workplace, tmp_path):
        folder = tmp_path / "out"
        (folder / "masks").mkdir(parents=True)
        (folder / "masks" / "Lips.nii.gz").write_bytes(b"lips")
        (folder / "registration.json").write_bytes(b"{}")
        files = workplace.publish_files(folder)
        later = dataclasses.replace(
            workplace, job=dataclasses.replace(workplace.job, intermediate=files)
        )

        assert [(f.name, f.bytes, f.media_type) for f in files] == [
            ("masks/Lips.nii.gz", 4, "application/gzip"),
            ("registration.json", 2, "application/json"),
        ]
        fetched = later.fetch_intermediate("masks/Lips.nii.gz")
        assert fetched is not None
        assert fetched.read_bytes() == b"lips"

    def test_files_of_earlier_stages_become_results_without_a_copy(
        self, workplace, tmp_path
    ):
        (tmp_path / "verdict").write_bytes(b"used")
        kept = workplace.publish_file(tmp_path / "verdict", "registration.json")
        other = workplace.publish_file(tmp_path / "verdict", "labels")
        later = dataclasses.replace(
            workplace,
            job=dataclasses.replace(workplace.job, intermediate=(kept, other)),
        )
        assert later.carry({"registration.json"}) == (kept,)

    def test_a_file_that_has_gone_is_no_result(self, services, workplace, tmp_path):
        (tmp_path / "verdict").write_bytes(b"used")
        gone = workplace.publish_file(tmp_path / "verdict", "registration.json")
        services.store.purge_except(
            workplace.job.id, {image.sha256 for image in workplace.job.inputs}
        )
        later = dataclasses.replace(
            workplace, job=dataclasses.replace(workplace.job, intermediate=(gone,))
        )
        with pytest.raises(StoreError, match="is not in the store"):
            later.carry({"registration.json"})

    def test_a_file_that_was_altered_is_no_result(self, services, workplace, tmp_path):
        (tmp_path / "verdict").write_bytes(b"used")
        file = workplace.publish_file(tmp_path / "verdict", "registration.json")
        with services.store.open(workplace.job.id, file.sha256) as stored:
            Path(stored.name).write_bytes(b"rejected")
        later = dataclasses.replace(
            workplace, job=dataclasses.replace(workplace.job, intermediate=(file,))
        )
        with pytest.raises(StoreError, match="was altered in the store"):
            later.carry({"registration.json"})

    def test_an_altered_input_is_refused(self, services, workplace):
        payload = workplace.job.inputs[0]
        with services.store.open("j1", payload.sha256) as file:
            Path(file.name).write_bytes(b"VOXELS")

        with pytest.raises(StoreError, match="was altered"):
            workplace.fetch_input("ct")
