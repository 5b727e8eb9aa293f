"""The outbox: jobs that wait for a worker, and whether their message was sent."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from hanseg_shared.documents import FINAL_STATES, JobState, Priority
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.job_row import known_states

_WAITING = (
    jobs.c.token.is_(None),
    jobs.c.state.in_([state for state in JobState if Stage.due_in(state)]),
    jobs.c.cancel_requested.is_(False),
)
"""What is true of a job that waits for a worker."""


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """What of a row says that its message is due; the rest need not be readable.

    Attributes:
        published_at: When the message was last sent, by the database's clock; None if
            it never was.
        attempt: How often the job was begun.
        owned_by: Whose it is.
    """

    id: str
    state: JobState
    published_at: float | None
    attempt: int
    owned_by: str


class Outbox:
    """Messages that are due: the broker may lose one, the rows do not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_waiting(self) -> list[WaitingJob]:
        """Return the jobs that no worker has, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(
                    jobs.c.id,
                    jobs.c.state,
                    jobs.c.published_at,
                    jobs.c.total_attempts,
                    jobs.c.owned_by,
                )
                .where(*_WAITING)
                .order_by(jobs.c.created_at)
            ).all()
        return [WaitingJob(row[0], JobState(row[1]), *row[2:]) for row in rows]

    def mark_published(self, job_id: str, state: JobState) -> None:
        """Note that the message of the job's stage that is due in a state was sent."""
        with self._database.write() as connection:
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.state == state)
                .where(jobs.c.token.is_(None))
                .values(published_at=self._database.time(connection))
            )

    def mark_unpublished(self, job_id: str) -> None:
        """Note that a job's message is lost; if it waits for a worker, it is due."""
        with self._database.write() as connection:
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, *_WAITING)
                .values(published_at=None)
            )

    def count_waiting(self) -> dict[JobState, int]:
        """Return how many jobs wait for a worker in each state that has some."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(jobs.c.state, sa.func.count())
                .where(*_WAITING)
                .group_by(jobs.c.state)
            ).all()
        return known_states(rows)

    def count_by_priority(self) -> dict[tuple[Stage, Priority], int]:
        """Return how many jobs wait for each stage with each priority."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(jobs.c.state, jobs.c.priority, sa.func.count())
                .where(*_WAITING)
                .group_by(jobs.c.state, jobs.c.priority)
            ).all()
        counts = {(stage, each): 0 for stage in Stage for each in Priority}
        for state, priority, count in rows:
            stage = Stage.due_in(JobState(state))
            if stage is not None and priority in set(Priority):
                counts[stage, Priority(priority)] += count
        return counts

    def longest_waits(self) -> dict[Stage, float]:
        """Return for each stage how long, in seconds, its oldest job has been due."""
        return self._ages(jobs.c.updated_at, *_WAITING)

    def longest_runs(self) -> dict[Stage, float]:
        """Return how long ago, in seconds, each stage that is at work was begun."""
        return self._ages(jobs.c.stage_started_at, jobs.c.token.is_not(None))

    def _ages(
        self, since: sa.Column[float], *which: sa.ColumnElement[bool]
    ) -> dict[Stage, float]:
        ages = dict.fromkeys(Stage, 0.0)
        with self._database.read() as connection:
            now = self._database.time(connection)
            rows = connection.execute(
                sa.select(jobs.c.state, sa.func.min(since))
                .where(jobs.c.state.not_in(FINAL_STATES), *which)
                .group_by(jobs.c.state)
            ).all()
        states = {state.value for state in JobState}
        for state, first in rows:
            stage = Stage.due_in(JobState(state)) if state in states else None
            if stage is not None and first is not None:
                ages[stage] = max(ages[stage], now - first)
        return ages
