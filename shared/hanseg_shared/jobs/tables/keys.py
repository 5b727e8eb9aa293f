"""The table of idempotency keys: a request that is sent twice is done once."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from hanseg_shared.errors import LeaseLostError
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import idempotency_keys as keys

LEASE_SECONDS = 15.0
"""A key whose request has not renewed it for so long belongs to a dead request."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """What is known of an idempotency key that was used before."""

    fingerprint: str
    resource: str | None
    """The id of what was made; None while the first request is being processed."""


@dataclass(slots=True)
class KeyClaim:
    """A key that a request holds, until it has made something or gives it back.

    Attributes:
        key: The key.
        moments: When it was taken or last renewed, and the renewals of which it is not
            known whether they were written. The row has one of them for as long as
            the key is this request's: whoever takes it over writes another.
    """

    key: str
    moments: tuple[float, ...]


class IdempotencyKeys:
    """The keys: taken by a request, renewed meanwhile, settled with what it made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, key: str, fingerprint: str) -> KeyClaim | KeyState:
        """Take an idempotency key; what is known of it if it was taken before.

        One whose request is not over, and has not renewed it for `LEASE_SECONDS`, is
        taken over: that request is dead. So is one from the future, which only a clock
        that was set back makes.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            connection.execute(
                keys.delete().where(
                    keys.c.key == key,
                    keys.c.resource.is_(None),
                    sa.or_(
                        keys.c.created_at < now - LEASE_SECONDS,
                        keys.c.created_at > now + LEASE_SECONDS,
                    ),
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
        return KeyClaim(key, (now,))

    def renew(self, claim: KeyClaim) -> bool:
        """Say that a key's request is alive; False if the key is its no more."""
        with self._database.write() as connection:
            now = self._database.time(connection)
            held = _is_held(claim)
            claim.moments += (now,)  # first: it may be settled in this very moment
            changed = connection.execute(
                keys.update().where(*held).values(created_at=now)
            ).rowcount
        claim.moments = (now,) if changed else ()
        return bool(changed)

    def release(self, claim: KeyClaim) -> None:
        """Give a key back whose request made nothing."""
        with self._database.write() as connection:
            connection.execute(keys.delete().where(*_is_held(claim)))

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


def settle(connection: Connection, claim: KeyClaim | None, resource: str) -> None:
    """Note what a key's request makes, in the transaction that makes it.

    Raises:
        LeaseLostError: Another request has taken the key over: nothing may be made.
    """
    if claim is None:
        return
    statement = keys.update().where(*_is_held(claim)).values(resource=resource)
    if not connection.execute(statement).rowcount:
        raise LeaseLostError(
            "another request with this Idempotency-Key has taken over; ask again"
        )


def _is_held(claim: KeyClaim) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        keys.c.key == claim.key,
        keys.c.resource.is_(None),
        keys.c.created_at.in_(claim.moments),
    )
