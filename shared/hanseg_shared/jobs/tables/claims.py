"""Claims: which worker has a job's stage, until when, and what it made of it.

A claim gives a worker a random token. Everything the worker writes afterwards names
the token, so that a worker that lost its lease writes nothing (fencing). Each renewal
changes `lease_until`; nobody compares it with a clock, see
`hanseg_shared.jobs.unchanged`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.documents import JobState, Problem, Progress, StageTime
from hanseg_shared.errors import JobStateError
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.job_row import (
    FILES,
    ORGANS,
    STAGES,
    UNCLAIMED,
    UNREADABLE,
    Ending,
    mark_change,
    read_row,
    summary_values,
)
from hanseg_shared.jobs.tables.quarantine import JobReader
from hanseg_shared.jobs.tables.tallies import TallyName, add
from hanseg_shared.jobs.tables.turns import Choice, Turns, Wish

MOST_UNREADABLE = 20
"""So many rows that cannot be read are put aside for one claim."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A claim as it stands: a renewal changes `lease_until`, another claim the rest.

    Attributes:
        attempt: The how-manieth time that the job was begun.
    """

    job_id: str
    token: str
    lease_until: float | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job under its token, and the stage of it that is to be done."""

    job: Job
    stage: Stage


class Claims:
    """Stages that workers take, keep, finish or give back, each under its token."""

    def __init__(
        self, database: Database, ending: Ending, reader: JobReader, turns: Turns
    ) -> None:
        self._database = database
        self._ending = ending
        self._reader = reader
        self._turns = turns

    def claim(self, job_id: str, stage: Stage, *, lease_seconds: float) -> Job | None:
        """Give the stage to the caller, under a new token.

        Returns:
            The job with its token, or None when there is nothing to do: another
            worker has it, the stage is over, the job was cancelled, or its row cannot
            be read and was put aside.
        """
        try:
            return self._claim(job_id, stage, lease_seconds)
        except UNREADABLE:  # and the claim was taken back
            self._reader.put_aside(job_id)
            return None

    def claim_next(
        self, wish: Wish, *, lease_seconds: float, named: str | None = None
    ) -> Claimed | None:
        """Give the caller the job whose turn it is, under a new token.

        Args:
            wish: What the caller can take.
            lease_seconds: How long it is the caller's, unless it is renewed.
            named: The job that the message names: it is put off no longer.

        Returns:
            The job with its token, and the stage to do; None when nothing is due that
            the wish allows.
        """
        for _ in range(MOST_UNREADABLE):
            chosen: Choice | None = None
            try:
                with self._database.write() as connection:
                    if named is not None:
                        self._turns.call_back(connection, named)
                    chosen = self._turns.choose(connection, wish)
                    if chosen is None:
                        return None
                    job = self._take(
                        connection, chosen.job_id, chosen.stage, lease_seconds
                    )
                    if job is None:
                        continue
                    self._turns.note(connection, chosen, job.owned_by)
                return Claimed(job, chosen.stage)
            except UNREADABLE:
                if chosen is None:
                    raise
                self._reader.put_aside(chosen.job_id)
        return None

    def _claim(self, job_id: str, stage: Stage, lease_seconds: float) -> Job | None:
        with self._database.write() as connection:
            return self._take(connection, job_id, stage, lease_seconds)

    def _take(
        self, connection: Connection, job_id: str, stage: Stage, lease_seconds: float
    ) -> Job | None:
        now = self._database.time(connection)
        claimed = connection.execute(
            jobs.update()
            .where(
                jobs.c.id == job_id,
                jobs.c.state.in_(stage.claimable_states),
                jobs.c.token.is_(None),
                jobs.c.cancel_requested.is_(False),
            )
            .values(
                state=stage.state,
                token=uuid.uuid4().hex,
                lease_until=now + lease_seconds,
                put_off=False,
                attempts=jobs.c.attempts + 1,
                total_attempts=jobs.c.total_attempts + 1,
                started_at=sa.func.coalesce(jobs.c.started_at, now),
                stage_started_at=sa.func.coalesce(jobs.c.stage_started_at, now),
                progress=Progress(stage=stage.state).model_dump(mode="json"),
                **mark_change(now),
            )
            .returning(*jobs.c)
        ).one_or_none()
        # Read in the same statement: a later read could show the token of another
        # worker, and two would work under one.
        return None if claimed is None else read_row(claimed._mapping)

    def renew(
        self,
        job_id: str,
        token: str,
        *,
        lease_seconds: float,
        progress: Progress | None = None,
    ) -> bool | None:
        """Prolong a lease and note the progress.

        Returns:
            True to go on, False when a cancel was requested, None when the job
            belongs to another worker.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            values: dict[str, Any] = {"lease_until": now + lease_seconds}
            if progress is not None:
                values |= mark_change(now)
                values["progress"] = progress.model_dump(mode="json")
            cancelled = connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.token == token)
                .values(values)
                .returning(jobs.c.cancel_requested)
            ).scalar_one_or_none()
        return None if cancelled is None else not cancelled

    def finish_stage(
        self,
        job: Job,
        stage: Stage,
        result: StageResult,
        *,
        attempt_seconds: float | None = None,
    ) -> bool:
        """Publish a stage's result and make the next stage due.

        Args:
            job: As it was claimed.
            stage: Which was done.
            result: What came of it.
            attempt_seconds: What this attempt took, by a clock that nobody sets; None
                goes by the time of day.

        Returns:
            False when the token is no longer valid, or a cancel was requested:
            nothing was published then.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            took = attempt_seconds
            done = now if took is None else job.updated_at + took
            values = self._finished_values(job, stage, now, done)
            return bool(
                connection.execute(
                    jobs.update()
                    .where(
                        *_is_claimed_by(job),
                        jobs.c.state == stage.state,
                        jobs.c.cancel_requested.is_(False),
                    )
                    .values(values | _result_values(job, result))
                ).rowcount
            )

    def fail(self, job: Job, problem: Problem) -> bool:
        """End a claimed job as failed; False when the token is no longer valid."""
        with self._database.write() as connection:
            now = self._database.time(connection)
            values = self._ending.failure_values(problem, now)
            return _update_claimed(connection, job, values)

    def end_cancelled(self, job: Job) -> bool:
        """End a claimed job as cancelled; False when the token is no longer valid."""
        with self._database.write() as connection:
            now = self._database.time(connection)
            values = self._ending.values(JobState.CANCELLED, now)
            return _update_claimed(connection, job, values)

    def release(self, job: Job, *, later: bool = False, counted: bool = True) -> bool:
        """Give a claimed stage back, to be tried again; a cancelled job ends.

        Its message is sent with the reconciler's next pass.

        Args:
            job: As it was claimed.
            later: Treats the message as sent just now, so that it is sent when a lost
                one would be, and the job is not taken before: an outage gets time to
                pass.
            counted: Whether this was one of the stage's attempts. It always is one of
                `total_attempts`, which count how often the job was begun.

        Returns:
            False when the token is no longer valid.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            values = mark_change(now) | UNCLAIMED
            values["published_at"] = now if later else None
            values["put_off"] = later
            if not counted:
                values["attempts"] = jobs.c.attempts - 1
            released = _update_claimed(connection, job, values)
            if released:
                self._ending.end_unclaimed_cancelled(connection, now, job.id)
        return released

    def list_holds(self) -> list[Hold]:
        """Return every claim there is."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(
                    jobs.c.id, jobs.c.token, jobs.c.lease_until, jobs.c.total_attempts
                ).where(jobs.c.token.is_not(None))
            ).all()
        return [Hold(*row) for row in rows]

    def release_lost(
        self, lost: Iterable[Hold], *, attempts: int, problem: Problem
    ) -> tuple[list[str], list[str]]:
        """Take jobs away from workers that are dead or silent.

        Args:
            lost: The claims; one that was renewed since, or that ended, is left alone.
            attempts: A stage that was tried so often fails for good.
            problem: Why it failed then.

        Returns:
            The ids made due again, and the ids that failed for good.
        """
        released, failed = [], []
        with self._database.write() as connection:
            now = self._database.time(connection)
            again = mark_change(now) | UNCLAIMED
            failure = self._ending.failure_values(problem, now)
            cancelled = self._ending.values(JobState.CANCELLED, now)
            for hold in lost:
                if _update_held(connection, hold, cancelled, jobs.c.cancel_requested):
                    continue
                if _update_held(connection, hold, failure, jobs.c.attempts >= attempts):
                    failed.append(hold.job_id)
                elif _update_held(connection, hold, again):
                    released.append(hold.job_id)
            self._ending.end_unclaimed_cancelled(connection, now)
            taken = len(released) + len(failed)
            add(connection, {(TallyName.LEASES_EXPIRED, ()): taken} if taken else {})
        return released, failed

    def _finished_values(
        self, job: Job, stage: Stage, now: float, done: float
    ) -> dict[str, Any]:
        values = mark_change(now) | {
            "stages": STAGES.dump_python(
                (*job.stages, _stage_time(job, stage, done)), mode="json"
            ),
            **UNCLAIMED,
            "attempts": 0,
            "stage_started_at": None,
        }
        if stage.following is None:
            return values | self._ending.values(JobState.SUCCEEDED, now)
        return values | {"state": stage.following.state}


def _stage_time(job: Job, stage: Stage, done: float) -> StageTime:
    started = job.stage_started_at if job.stage_started_at is not None else done
    return StageTime(
        name=stage.state,
        seconds=round(max(0.0, done - started), 3),
        attempts=job.attempts,
    )


def _result_values(job: Job, result: StageResult) -> dict[str, Any]:
    values: dict[str, Any] = {
        "intermediate": FILES.dump_python(
            (*job.intermediate, *result.intermediate), mode="json"
        )
    }
    if result.registration is not None:
        values["registration"] = result.registration.model_dump(mode="json")
        values["mr_verdict"] = result.registration.verdict
    if result.model is not None:
        values["model"] = result.model.model_dump(mode="json")
    if result.inference is not None:
        values["inference"] = result.inference.model_dump(mode="json")
    if result.organs is not None:
        values["organs"] = ORGANS.dump_python(result.organs, mode="json")
        values |= summary_values(result.organs)
    if result.files is not None:
        values["files"] = FILES.dump_python(result.files, mode="json")
    if result.dicom is not None:
        values["dicom"] = result.dicom.model_dump(mode="json")
    if result.versions is not None:
        values["versions"] = job.versions | result.versions
    return values


def _is_claimed_by(job: Job) -> tuple[sa.ColumnElement[bool], ...]:
    if job.token is None:
        raise JobStateError(f"job {job.id} was never claimed by this worker")
    return (jobs.c.id == job.id, jobs.c.token == job.token)


def _update_claimed(connection: Connection, job: Job, values: dict[str, Any]) -> bool:
    statement = jobs.update().where(*_is_claimed_by(job)).values(values)
    return bool(connection.execute(statement).rowcount)


def _update_held(
    connection: Connection,
    hold: Hold,
    values: dict[str, Any],
    *conditions: sa.ColumnElement[bool],
) -> bool:
    """Change a job that is still held as it was; return whether it was."""
    statement = jobs.update().where(
        jobs.c.id == hold.job_id,
        jobs.c.token == hold.token,
        jobs.c.lease_until == hold.lease_until,
        *conditions,
    )
    return bool(connection.execute(statement.values(values)).rowcount)
