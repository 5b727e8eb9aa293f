"""Claims: which worker has a job's stage, until when, and what it made of it.

A claim gives a worker a random token. Everything the worker writes afterwards names
the token, so that a worker that lost its lease writes nothing (fencing).
"""

from __future__ import annotations

import uuid
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
    Ending,
    mark_change,
    read_row,
)


class Claims:
    """Stages that workers take, keep, finish or give back, each under its token."""

    def __init__(self, database: Database, ending: Ending) -> None:
        self._database = database
        self._ending = ending

    def claim(self, job_id: str, stage: Stage, *, lease_seconds: float) -> Job | None:
        """Give the stage to the caller, under a new token.

        Returns:
            The job with its token, or None when there is nothing to do: another
            worker has it, the stage is over, or the job was cancelled.
        """
        token = uuid.uuid4().hex
        with self._database.write() as connection:
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
                    token=token,
                    lease_until=now + lease_seconds,
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

    def finish_stage(self, job: Job, stage: Stage, result: StageResult) -> bool:
        """Publish a stage's result and make the next stage due.

        Returns:
            False when the token is no longer valid, or a cancel was requested:
            nothing was published then.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            values = self._finished_values(job, stage, now)
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
                one would be: an outage gets time to pass.
            counted: Whether this was one of the stage's attempts. It always is one of
                `total_attempts`, which count how often the job was begun.

        Returns:
            False when the token is no longer valid.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            values = mark_change(now) | UNCLAIMED
            values["published_at"] = now if later else None
            if not counted:
                values["attempts"] = jobs.c.attempts - 1
            released = _update_claimed(connection, job, values)
            if released:
                self._ending.end_unclaimed_cancelled(connection, now, job.id)
        return released

    def release_lost(
        self, *, attempts: int, problem: Problem
    ) -> tuple[list[str], list[str]]:
        """Take jobs away from workers that stopped renewing their leases.

        Returns:
            The ids made due again, and the ids that failed for good after
            `attempts` tries of one stage.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            lost = sa.and_(jobs.c.token.is_not(None), jobs.c.lease_until < now)
            connection.execute(
                jobs.update()
                .where(lost, jobs.c.cancel_requested.is_(True))
                .values(self._ending.values(JobState.CANCELLED, now))
            )
            failed = connection.execute(
                jobs.update()
                .where(lost, jobs.c.attempts >= attempts)
                .values(self._ending.failure_values(problem, now))
                .returning(jobs.c.id)
            ).all()
            released = connection.execute(
                jobs.update()
                .where(lost)
                .values(mark_change(now) | UNCLAIMED)
                .returning(jobs.c.id)
            ).all()
            self._ending.end_unclaimed_cancelled(connection, now)
        return [row.id for row in released], [row.id for row in failed]

    def _finished_values(self, job: Job, stage: Stage, now: float) -> dict[str, Any]:
        values = mark_change(now) | {
            "stages": STAGES.dump_python(
                (*job.stages, _stage_time(job, stage, now)), mode="json"
            ),
            **UNCLAIMED,
            "attempts": 0,
            "stage_started_at": None,
        }
        if stage.following is None:
            return values | self._ending.values(JobState.SUCCEEDED, now)
        return values | {"state": stage.following.state}


def _stage_time(job: Job, stage: Stage, now: float) -> StageTime:
    started = job.stage_started_at if job.stage_started_at is not None else now
    return StageTime(
        name=stage.state,
        seconds=round(max(0.0, now - started), 3),
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
    if result.model is not None:
        values["model"] = result.model.model_dump(mode="json")
    if result.inference is not None:
        values["inference"] = result.inference.model_dump(mode="json")
    if result.organs is not None:
        values["organs"] = ORGANS.dump_python(result.organs, mode="json")
    if result.files is not None:
        values["files"] = FILES.dump_python(result.files, mode="json")
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
