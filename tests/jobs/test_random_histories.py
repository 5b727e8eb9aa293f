"""Whatever happens in whatever order: no job is lost, none is done twice, all end.

Hypothesis plays workers that take messages, renew, finish, fail, die and wake up too
late; users who cancel and delete; a broker that loses and doubles messages and goes
away; a clock that jumps; and reconcilers. A model beside it says what must hold.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from hanseg_shared.documents import FINAL_STATES, JobState
from hanseg_shared.errors import JobStateError, ServiceUnavailableError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.reconciler import Reconciler
from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.settings import Settings
from tests.jobs.fakes import PROBLEM, FakeClock, FakePublisher, new_job

LEASE_SECONDS = 30.0
MOST_JOBS = 4
NUMBER = st.integers(0, MOST_JOBS - 1)
STAGE_OF_TASK = {stage.task: stage for stage in Stage}


class Histories(RuleBasedStateMachine):
    """One service with a few jobs and any number of workers."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="histories-"))
        self.clock = FakeClock()
        self.publisher = FakePublisher()
        self.settings = Settings(data=self.folder, lease_seconds=LEASE_SECONDS)
        self.tables = Tables.of(
            open_database(self.settings.database, clock=self.clock),
            retention_seconds=3600.0,
        )
        self.services = Services(
            self.tables,
            PayloadStore(self.settings.store),
            self.publisher,
            self.settings,
        )
        self.reconciler = Reconciler(
            self.services, steady=self.clock.steady, most_step_seconds=math.inf
        )
        self.ids: list[str] = []
        self.finished: set[tuple[str, Stage]] = set()
        self.fate: dict[str, JobState] = {}

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.tables.close()
            shutil.rmtree(self.folder)

    # -- what users do ---------------------------------------------------------

    @initialize(target=claims)
    def begin(self):
        """Two jobs are being worked on when the history begins, one waits."""
        ids = [self.create() for _ in range(3)]
        return multiple(*(self.claim(job_id, Stage.REGISTER) for job_id in ids[:2]))

    @precondition(lambda self: len(self.ids) < MOST_JOBS)
    @rule()
    def submit(self) -> None:
        self.create()

    def create(self) -> str:
        job = new_job(self.tables)
        self.ids.append(job.id)
        self.send(job)
        return job.id

    @rule(number=NUMBER, wish=st.sampled_from(["cancel"] * 4 + ["delete"]))
    def end(self, number: int, wish: str) -> None:
        self.end_job(self.ids[number % len(self.ids)], wish)

    def end_job(self, job_id: str, wish: str) -> None:
        if wish == "delete":
            self.tables.jobs.expire(job_id, PROBLEM)
            return
        try:
            self.tables.jobs.request_cancel(job_id)
        except JobStateError:
            assert self.tables.jobs.get(job_id).state in FINAL_STATES

    # -- what the broker does --------------------------------------------------

    @rule(
        target=claims,
        number=NUMBER,
        way=st.sampled_from(["once", "once", "twice", "out of the blue"]),
        stage=st.sampled_from(Stage),
    )
    def deliver(self, number: int, way: str, stage: Stage):
        """Give a job's oldest message to a worker; the broker may give it again."""
        job_id = self.ids[number % len(self.ids)]
        if way == "out of the blue":
            return self.claim(job_id, stage) or multiple()
        for messages in self.publisher.queues.values():
            for message in messages:
                if message[1] != job_id:
                    continue
                messages.remove(message)
                if way == "twice":
                    messages.append(message)
                return self.claim(job_id, STAGE_OF_TASK[message[0]]) or multiple()
        return multiple()

    @rule(event=st.sampled_from(["flush", "down", "up", "up"]))
    def broker(self, event: str) -> None:
        if event == "flush":
            self.publisher.flush()
        else:
            self.publisher.down = event == "down"

    # -- what workers do; each may have lost its lease long ago ----------------

    @rule(
        claimed=claims,
        deed=st.sampled_from(
            [
                "renew",
                "finish",
                "finish",
                "finish too late",
                "finish after a cancel",
                "release",
                "fail",
                "cancelled",
            ]
        ),
    )
    def work(self, claimed: tuple[Job, Stage], deed: str) -> None:
        job, _ = claimed
        if deed == "finish after a cancel":
            self.end_job(job.id, "cancel")
        if deed == "finish too late":
            self.reconcile(LEASE_SECONDS + 1.0)
        may = self.holds(job)
        if deed.startswith("finish"):
            self.finish(claimed)
        elif deed == "renew":
            assert (self.renew(job) is not None) == may
        elif deed == "release":
            assert self.tables.claims.release(job) == may
        elif deed == "fail":
            assert self.tables.claims.fail(job, PROBLEM) == may
        else:
            assert self.tables.claims.end_cancelled(job) == may

    # -- what time and reconcilers do ------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 1.0, 20.5, LEASE_SECONDS + 1.0, 250.0, 4000.0]))
    def reconcile(self, seconds: float) -> None:
        for step in (0.0, seconds):  # it looks, time passes, and it looks again
            self.clock.advance(step)
            try:
                self.reconciler.run_once()
            except ServiceUnavailableError:
                assert self.publisher.down

    @rule(seconds=st.sampled_from([-8 * 86400.0, -3600.0, 3600.0, 8 * 86400.0]))
    def set_clock(self, seconds: float) -> None:
        self.clock.set_forward(seconds)

    # -- what must hold --------------------------------------------------------

    @invariant()
    def a_claimed_job_has_a_lease_and_no_other_has(self) -> None:
        for job in self.rows():
            assert (job.token is None) == (job.lease_until is None)
            if job.state in FINAL_STATES or job.state is JobState.QUEUED:
                assert job.token is None

    @invariant()
    def no_job_is_lost(self) -> None:
        assert [job.id for job in self.rows()] == self.ids

    @invariant()
    def a_final_state_is_final(self) -> None:
        for job in self.rows():
            fate = self.fate.get(job.id)
            if fate is not None:
                assert job.state in {fate, JobState.EXPIRED}
            if job.state in FINAL_STATES:
                self.fate[job.id] = job.state
                assert job.finished_at is not None

    @invariant()
    def finished_stages_are_those_of_the_row(self) -> None:
        for job in self.rows():
            done = [stage for stage in Stage if (job.id, stage) in self.finished]
            assert done == list(Stage)[: len(done)]
            assert [time.name for time in job.stages] == [s.state for s in done]
            if job.state is JobState.SUCCEEDED:
                assert done == list(Stage)

    @invariant()
    @precondition(lambda self: self.ids)
    def messages_do_not_pile_up(self) -> None:
        # one for each time a job became due, and at most as many sent again
        due = sum(job.total_attempts + 1 for job in self.rows())
        assert len(self.publisher.sent) <= 3 * due + len(self.finished)

    # -- the end ---------------------------------------------------------------

    def drain(self) -> None:
        """Let everything work again: every job must end, by messages alone."""
        self.publisher.down = False
        for _ in range(200):
            if all(job.state in FINAL_STATES for job in self.rows()):
                return
            self.clock.advance(21.0)
            self.reconciler.run_once()
            for queue in QueueName:
                while self.publisher.queues[queue]:
                    task, job_id = self.publisher.queues[queue].pop(0)
                    claimed = self.claim(job_id, STAGE_OF_TASK[task])
                    if claimed is not None:
                        self.finish(claimed)
        unfinished = [job.state for job in self.rows() if not job.state.is_final]
        raise AssertionError(f"jobs that never end: {unfinished}")

    def renew(self, job: Job) -> bool | None:
        return self.tables.claims.renew(
            job.id, job.token or "", lease_seconds=LEASE_SECONDS
        )

    def finish(self, claimed: tuple[Job, Stage]) -> None:
        job, stage = claimed
        may = self.holds(job) and not self.tables.jobs.get(job.id).cancel_requested
        assert self.tables.claims.finish_stage(job, stage, StageResult()) == may
        if may:
            assert (job.id, stage) not in self.finished, "a stage was done twice"
            self.finished.add((job.id, stage))
            self.send(self.tables.jobs.get(job.id))

    def rows(self) -> list[Job]:
        return [self.tables.jobs.get(job_id) for job_id in self.ids]

    def holds(self, job: Job) -> bool:
        return self.tables.jobs.get(job.id).token == job.token

    def claim(self, job_id: str, stage: Stage) -> tuple[Job, Stage] | None:
        before = self.tables.jobs.get(job_id)
        job = self.tables.claims.claim(job_id, stage, lease_seconds=LEASE_SECONDS)
        may = (
            before.token is None
            and not before.cancel_requested
            and before.state in stage.claimable_states
        )
        assert (job is not None) == may
        if job is None:
            return None
        assert (job_id, stage) not in self.finished, "a finished stage was claimed"
        return job, stage

    def send(self, job: Job) -> None:
        try:
            self.services.publish_due(job)
        except ServiceUnavailableError:
            assert self.publisher.down


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
