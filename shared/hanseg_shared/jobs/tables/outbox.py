"""The outbox: jobs that wait for a worker, and whether their message was sent."""

from __future__ import annotations

import sqlalchemy as sa

from hanseg_shared.documents import FINAL_STATES, JobState
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.tables.job_row import read_row

_WAITING = (
    jobs.c.token.is_(None),
    jobs.c.state.not_in(FINAL_STATES),
    jobs.c.cancel_requested.is_(False),
)
"""What is true of a job that waits for a worker."""


class Outbox:
    """Messages that are due: the broker may lose one, the rows do not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_due(self, *, published_before_seconds: float | None) -> list[Job]:
        """Return unclaimed jobs whose message was never sent, oldest first.

        With `published_before_seconds`, also those whose message was sent so many
        seconds ago or earlier and may have been lost.
        """
        unsent: sa.ColumnElement[bool] = jobs.c.published_at.is_(None)
        with self._database.read() as connection:
            if published_before_seconds is not None:
                limit = self._database.time(connection) - published_before_seconds
                unsent = sa.or_(unsent, jobs.c.published_at < limit)
            rows = connection.execute(
                sa.select(jobs).where(*_WAITING, unsent).order_by(jobs.c.created_at)
            ).all()
        return [read_row(row._mapping) for row in rows]

    def mark_published(self, job: Job) -> None:
        """Note that the message of the job's due stage was sent."""
        with self._database.write() as connection:
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job.id, jobs.c.state == job.state)
                .where(jobs.c.token.is_(None))
                .values(published_at=self._database.time(connection))
            )

    def count_waiting(self) -> dict[JobState, int]:
        """Return how many jobs wait for a worker in each state that has some."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(jobs.c.state, sa.func.count())
                .where(*_WAITING)
                .group_by(jobs.c.state)
            ).all()
        return {JobState(state): count for state, count in rows}

    def longest_wait_seconds(self) -> float:
        """Return how long the oldest unclaimed job has been waiting, 0 if none."""
        with self._database.read() as connection:
            oldest = connection.execute(
                sa.select(sa.func.min(jobs.c.updated_at)).where(
                    jobs.c.state.not_in(FINAL_STATES), jobs.c.token.is_(None)
                )
            ).scalar_one()
            if oldest is None:
                return 0.0
            return max(0.0, self._database.time(connection) - oldest)
