"""All tables of one database as one value."""

from __future__ import annotations

from dataclasses import dataclass

from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.tables.batches import BatchesTable
from hanseg_shared.jobs.tables.claims import Claims
from hanseg_shared.jobs.tables.installation import Installation
from hanseg_shared.jobs.tables.job_row import Ending
from hanseg_shared.jobs.tables.jobs import JobsTable
from hanseg_shared.jobs.tables.keys import IdempotencyKeys
from hanseg_shared.jobs.tables.outbox import Outbox
from hanseg_shared.jobs.tables.uploads import UploadsTable
from hanseg_shared.jobs.tables.workers import WorkersTable


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a database.

    Attributes:
        database: Its transactions and its time.
        jobs: Jobs as callers see them: made, found, counted, ended.
        claims: Which worker has a job, until when, and what it made of it.
        outbox: Jobs that wait for a worker, and their messages.
        uploads: Files announced for a job to come.
        batches: Jobs that were queued together.
        keys: Idempotency keys.
        workers: What workers last reported.
        installation: The identity of this database.
    """

    database: Database
    jobs: JobsTable
    claims: Claims
    outbox: Outbox
    uploads: UploadsTable
    batches: BatchesTable
    keys: IdempotencyKeys
    workers: WorkersTable
    installation: Installation

    @classmethod
    def of(cls, database: Database, *, retention_seconds: float) -> Tables:
        """Return the tables of an open database.

        Args:
            database: See `open_database`.
            retention_seconds: How long a job keeps its files once it has ended.
        """
        ending = Ending(retention_seconds)
        return cls(
            database=database,
            jobs=JobsTable(database, ending),
            claims=Claims(database, ending),
            outbox=Outbox(database),
            uploads=UploadsTable(database),
            batches=BatchesTable(database),
            keys=IdempotencyKeys(database),
            workers=WorkersTable(database),
            installation=Installation(database),
        )

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()
