"""The table of dead letters: messages that the broker gave up, and when.

Their jobs are rows, and go on or have failed; what is here is for a person who asks
why. What a message named is kept only if it looks like something of ours.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from hanseg_shared.jobs.brokers.link import DeadLetter
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import dead_letters
from hanseg_shared.jobs.tables.tallies import TallyName, add

REASONS = frozenset({"rejected", "expired", "maxlen", "delivery_limit"})
"""Why RabbitMQ gives messages up: https://www.rabbitmq.com/docs/dlx"""


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A dead letter, and when it was taken from the broker (seconds since 1970)."""

    at: float
    letter: DeadLetter


class DeadLetters:
    """What was taken from the broker's queue of the dead."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, letter: DeadLetter) -> None:
        """Write a letter down, and count it."""
        with self._database.write() as connection:
            connection.execute(
                dead_letters.insert().values(
                    id=uuid.uuid4().hex,
                    at=self._database.time(connection),
                    queue=letter.queue,
                    reason=letter.reason,
                    task=letter.task,
                    job_id=letter.job_id,
                )
            )
            labels = (("reason", _known_reason(letter.reason)),)
            add(connection, {(TallyName.DEAD_LETTERS, labels): 1})

    def list(self, *, limit: int) -> list[KeptLetter]:
        """Return the newest letters, the newest first."""
        query = sa.select(dead_letters).order_by(dead_letters.c.at.desc()).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            KeptLetter(row.at, DeadLetter(row.queue, row.reason, row.task, row.job_id))
            for row in rows
        ]

    def drop_old(self, *, older_than_seconds: float) -> int:
        """Forget letters that were kept for their time; return how many."""
        with self._database.write() as connection:
            limit = self._database.time(connection) - older_than_seconds
            dropped = connection.execute(
                dead_letters.delete().where(dead_letters.c.at < limit)
            )
        return dropped.rowcount


def _known_reason(reason: str) -> str:
    return reason if reason in REASONS else "other"
