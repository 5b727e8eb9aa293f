"""Whatever happens in whatever order: no job is lost, none is done twice, all end.

Hypothesis plays workers that take messages, renew, finish, fail, die and wake up too
late; users who cancel and delete; a broker that loses and doubles messages and goes
away; a clock that jumps; and reconcilers. A model beside it says what must hold.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
)

from hanseg_shared.documents import FINAL_STATES, JobState
from hanseg_shared.errors import JobStateError, ServiceUnavailableError
from hanseg_shared.jobs.reconciler import Reconciler, publish_due
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.repository import JobRepository, StageResult, open_database
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.messages import QueueName
from hanseg_shared.settings import Settings
from hanseg_shared.store import PayloadStore
from tests.jobs.fakes import PROBLEM, FakeClock, FakePublisher, new_job

LEASE_SECONDS = 30.0
MOST_JOBS = 3
STAGE_OF_TASK = {stage.task: stage for stage in Stage}


class Histories(RuleBasedStateMachine):
    """One service with a few jobs and any number of workers."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="histories-"))
        self.clock = FakeClock()
        self.publisher = FakePublisher()
        self.settings = Settings(data=self.folder, lease_seconds=LEASE_SECONDS)
        self.repository = JobRepository(
            open_database(self.settings.database),
            retention_seconds=3600.0,
            clock=self.clock,
        )
        self.reconciler = Reconciler(
            self.repository,
            PayloadStore(self.settings.store),
            self.publisher,
            self.settings,
        )
        self.ids: list[str] = []
        self.finished: dict[tuple[str, Stage], str] = {}
        self.fate: dict[str, JobState] = {}

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.repository.close()
            shutil.rmtree(self.folder)

    # -- what users do ---------------------------------------------------------

    @precondition(lambda self: len(self.ids) < MOST_JOBS)
    @rule(target=jobs)
    def create(self) -> str:
        job = new_job(self.repository)
        self.ids.append(job.id)
        self.send(job)
        return job.id

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        try:
            self.repository.request_cancel(job_id)
        except JobStateError:
            assert self.repository.get(job_id).state in FINAL_STATES

    @rule(job_id=jobs, really=st.integers(0, 4))
    def delete(self, job_id: str, really: int) -> None:
        if really < 4:  # a deleted job has no further history
            return
        self.repository.mark_expired(job_id, PROBLEM)
        self.fate[job_id] = JobState.EXPIRED

    # -- what the broker does --------------------------------------------------

    @precondition(lambda self: self.publisher.sent)
    @rule(target=claims, choice=st.integers(0, 9), keep=st.booleans())
    def deliver(self, choice: int, keep: bool):
        """Give the oldest message to a worker; the broker may give it again."""
        queues = [name for name in QueueName if self.publisher.queues[name]]
        queue = queues[choice % len(queues)]
        message = self.publisher.queues[queue].pop(0)
        if keep:
            self.publisher.queues[queue].append(message)
        task, job_id = message
        claimed = self.claim(job_id, STAGE_OF_TASK[task])
        return multiple() if claimed is None else claimed

    @rule(target=claims, job_id=jobs, stage=st.sampled_from(Stage))
    def deliver_out_of_the_blue(self, job_id: str, stage: Stage):
        claimed = self.claim(job_id, stage)
        return multiple() if claimed is None else claimed

    @rule(event=st.sampled_from(["flush", "down", "up", "up"]))
    def broker(self, event: str) -> None:
        if event == "flush":
            self.publisher.flush()
        else:
            self.publisher.down = event == "down"

    # -- what workers do; each may have lost its lease long ago ----------------

    @rule(claimed=claims)
    def renew(self, claimed: tuple[Job, Stage]) -> None:
        job, _ = claimed
        going_on = self.repository.renew(
            job.id, job.token or "", lease_seconds=LEASE_SECONDS
        )
        assert (going_on is not None) == self.holds(job)

    @rule(claimed=claims)
    def finish(self, claimed: tuple[Job, Stage]) -> None:
        job, stage = claimed
        row = self.repository.get(job.id)
        may = self.holds(job) and not row.cancel_requested
        assert self.repository.finish_stage(job, stage, StageResult()) == may
        if may:
            assert (job.id, stage) not in self.finished, "a stage was done twice"
            assert job.token is not None
            self.finished[job.id, stage] = job.token
            self.send(self.repository.get(job.id))

    @rule(claimed=claims, ending=st.sampled_from(["fail", "cancelled", "release"]))
    def give_up(self, claimed: tuple[Job, Stage], ending: str) -> None:
        job, _ = claimed
        may = self.holds(job)
        if ending == "fail":
            assert self.repository.fail(job, PROBLEM) == may
        elif ending == "cancelled":
            assert self.repository.end_cancelled(job) == may
        else:
            assert self.repository.release(job) == may
        if may and ending != "release":
            assert self.repository.get(job.id).state in FINAL_STATES

    # -- what time and reconcilers do ------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 20.5, LEASE_SECONDS + 1.0, 250.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def reconcile(self) -> None:
        try:
            self.reconciler.run_once()
        except ServiceUnavailableError:
            assert self.publisher.down

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

    def rows(self) -> list[Job]:
        return [self.repository.get(job_id) for job_id in self.ids]

    def holds(self, job: Job) -> bool:
        return self.repository.get(job.id).token == job.token

    def claim(self, job_id: str, stage: Stage) -> tuple[Job, Stage] | None:
        before = self.repository.get(job_id)
        job = self.repository.claim(job_id, stage, lease_seconds=LEASE_SECONDS)
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
            publish_due(job, self.repository, self.publisher)
        except ServiceUnavailableError:
            assert self.publisher.down


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
