"""The table of sessions: who is signed in with a key in a browser, and until when.

Of a session's secret, which the browser keeps as a cookie, only the SHA-256 is kept. A
session opens what its key opens, and nothing from the moment the key is revoked.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

import sqlalchemy as sa

from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import api_keys, sessions
from hanseg_shared.jobs.tables.api_keys import KeyRecord, KeyStanding, read_key

SECRET_BYTES = 32
"""256 random bits, as an API key has."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session as its browser has it; the secret cannot be had again."""

    secret: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session that has not ended, with its key; the time is seconds since 1970."""

    id: str
    key: KeyRecord
    expires_at: float


class SessionsTable:
    """The sessions that have not ended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, key_id: str, *, seconds: float) -> NewSession:
        """Begin a session, and forget those whose time is over.

        Args:
            key_id: The key that was shown.
            seconds: How long it lasts.
        """
        secret = secrets.token_hex(SECRET_BYTES)
        with self._database.write() as connection:
            now = self._database.time(connection)
            connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            connection.execute(
                sessions.insert().values(
                    id=session_id(secret),
                    key_id=key_id,
                    created_at=now,
                    expires_at=now + seconds,
                )
            )
        return NewSession(secret, now + seconds)

    def find(self, id_: str) -> SessionRecord | None:
        """Return a session and its key; None once either has ended.

        Args:
            id_: The secret's hash, see `session_id`.
        """
        query = (
            sa.select(api_keys, sessions.c.expires_at.label("session_expires_at"))
            .join(sessions, sessions.c.key_id == api_keys.c.id)
            .where(sessions.c.id == id_)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
            now = self._database.time(connection)
        if row is None or row.session_expires_at <= now:
            return None
        key = read_key(row, now)
        if key.standing is not KeyStanding.VALID:
            return None
        return SessionRecord(id_, key, row.session_expires_at)

    def end(self, id_: str) -> None:
        """End a session; one that is not there has ended already."""
        with self._database.write() as connection:
            connection.execute(sessions.delete().where(sessions.c.id == id_))


def session_id(secret: str) -> str:
    """Return under which name a session is kept: the SHA-256 of its secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
