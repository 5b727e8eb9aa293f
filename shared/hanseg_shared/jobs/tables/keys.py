"""The table of idempotency keys: a request that is sent twice is done once."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import idempotency_keys as keys

ABANDONED_KEY_SECONDS = 900.0
"""An idempotency key still being processed after so long belongs to a dead request."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """What is known of an idempotency key that was used before."""

    fingerprint: str
    resource: str | None
    """The id of what was made; None while the first request is being processed."""


class IdempotencyKeys:
    """The keys: reserved by a request, then settled with what it made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, key: str, fingerprint: str) -> KeyState | None:
        """Take an idempotency key; what is known of it if it was taken before.

        A key whose first request is still being processed after
        `ABANDONED_KEY_SECONDS` is taken over: that request is dead.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            connection.execute(
                keys.delete().where(
                    keys.c.key == key,
                    keys.c.resource.is_(None),
                    keys.c.created_at < now - ABANDONED_KEY_SECONDS,
                )
            )
            try:
                with connection.begin_nested():
                    connection.execute(
                        keys.insert().values(
                            key=key, fingerprint=fingerprint, created_at=now
                        )
                    )
            except IntegrityError:  # taken before, or at this very moment
                row = connection.execute(
                    sa.select(keys).where(keys.c.key == key)
                ).one_or_none()
                if row is None:  # and given back since: the caller may try again
                    return KeyState(fingerprint, None)
                return KeyState(row.fingerprint, row.resource)
        return None

    def settle(self, key: str, resource: str) -> None:
        """Note what the first request with a key has made; the first one counts."""
        with self._database.write() as connection:
            connection.execute(
                keys.update()
                .where(keys.c.key == key, keys.c.resource.is_(None))
                .values(resource=resource)
            )

    def release(self, key: str) -> None:
        """Give a key back whose request made nothing."""
        with self._database.write() as connection:
            connection.execute(
                keys.delete().where(keys.c.key == key, keys.c.resource.is_(None))
            )

    def release_unsettled(self) -> int:
        """Give back the keys of all requests that made nothing yet; return how many.

        Only for a caller that knows that no such request can still be running.
        """
        with self._database.write() as connection:
            return connection.execute(
                keys.delete().where(keys.c.resource.is_(None))
            ).rowcount

    def drop_old(self, *, older_than_seconds: float) -> int:
        """Forget idempotency keys of that age; return how many."""
        with self._database.write() as connection:
            limit = self._database.time(connection) - older_than_seconds
            return connection.execute(
                keys.delete().where(keys.c.created_at < limit)
            ).rowcount
