"""The table of batches: jobs that were queued together."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from hanseg_shared.documents import JobState
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import Batch, NewJob
from hanseg_shared.jobs.schema import batches, jobs
from hanseg_shared.jobs.tables.job_row import make_row

ORDER_SECONDS = 2e-6
"""By how much the jobs of a batch differ in age, so that they are done in order."""


class BatchesTable:
    """The batches and how far their jobs are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str | None, members: Sequence[NewJob] = ()) -> Batch:
        """Insert a batch and its queued jobs: all of them, or nothing at all."""
        batch_id = uuid.uuid4().hex
        with self._database.write() as connection:
            now = self._database.time(connection)
            connection.execute(
                batches.insert().values(id=batch_id, created_at=now, name=name)
            )
            for position, job in enumerate(members):
                member = replace(job, batch_id=batch_id)
                moment = now + position * ORDER_SECONDS
                connection.execute(jobs.insert().values(make_row(member, moment)))
        return self.get(batch_id)

    def get(self, batch_id: str) -> Batch:
        """Return a batch with its jobs counted by state.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(batches).where(batches.c.id == batch_id)
            ).one_or_none()
            counted = connection.execute(
                sa.select(jobs.c.state, sa.func.count())
                .where(jobs.c.batch_id == batch_id)
                .group_by(jobs.c.state)
            ).all()
        if row is None:
            raise JobNotFoundError(f"there is no batch {batch_id}")
        counts = {JobState(state): count for state, count in counted}
        return Batch(row.id, row.name, row.created_at, counts)
