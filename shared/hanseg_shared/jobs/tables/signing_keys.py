"""The public keys that results were signed with."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import signing_keys


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A public key: 32 bytes in base64, and when a worker first had it."""

    key: str
    since: float


class SigningKeys:
    """Every public key of this database's workers; none is ever taken away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: str) -> None:
        """Add a key, unless it is known."""
        query = sa.select(signing_keys.c.key).where(signing_keys.c.key == key)
        with self._database.read() as connection:
            if connection.execute(query).first() is not None:
                return
        with self._database.write() as connection:
            since = self._database.time(connection)
            try:
                with connection.begin_nested():
                    connection.execute(
                        signing_keys.insert().values(key=key, since=since)
                    )
            except IntegrityError:  # added by another worker at this very moment
                return

    def list(self) -> tuple[KnownKey, ...]:
        """Return all keys, the newest first."""
        query = sa.select(signing_keys).order_by(signing_keys.c.since.desc())
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(KnownKey(row.key, row.since) for row in rows)
