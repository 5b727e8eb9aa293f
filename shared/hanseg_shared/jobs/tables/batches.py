"""The table of batches: jobs that were queued together."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from hanseg_shared.access import LOCAL_OWNER
from hanseg_shared.documents import JobState
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import Batch, NewJob
from hanseg_shared.jobs.schema import batches, jobs
from hanseg_shared.jobs.tables.job_row import known_states, make_row
from hanseg_shared.jobs.tables.keys import KeyClaim, settle
from hanseg_shared.jobs.tables.queue_bounds import QueueBounds, require_room

ORDER_SECONDS = 2e-6
"""By how much the jobs of a batch differ in age, so that they are done in order."""


class BatchesTable:
    """The batches and how far their jobs are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str | None,
        members: Sequence[NewJob] = (),
        *,
        owned_by: str = LOCAL_OWNER,
        key: KeyClaim | None = None,
        bounds: QueueBounds | None = None,
    ) -> Batch:
        """Insert a batch and its queued jobs: all of them, or nothing at all.

        It is returned as it was made, whatever becomes of its jobs meanwhile.

        Args:
            name: What the caller calls it.
            members: What its jobs are made of.
            owned_by: Whose it is.
            key: The idempotency key of its request, settled at the same moment.
            bounds: How many jobs may be unfinished then; None allows any number.

        Raises:
            LeaseLostError: Another request has taken the key over.
            ServiceUnavailableError: As `QueueBounds.require_room`.
        """
        batch_id = uuid.uuid4().hex
        with self._database.write() as connection:
            require_room(connection, bounds, owned_by, len(members))
            now = self._database.time(connection)
            connection.execute(
                batches.insert().values(
                    id=batch_id, created_at=now, name=name, owned_by=owned_by
                )
            )
            for position, job in enumerate(members):
                member = replace(job, batch_id=batch_id)
                moment = now + position * ORDER_SECONDS
                connection.execute(jobs.insert().values(make_row(member, moment)))
            settle(connection, key, batch_id)
        counts = {JobState.QUEUED: len(members)} if members else {}
        return Batch(batch_id, name, now, counts, owned_by)

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
        return Batch(
            row.id, row.name, row.created_at, known_states(counted), row.owned_by
        )
