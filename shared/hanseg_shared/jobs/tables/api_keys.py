"""The table of API keys: whose each is, what it allows, and until when.

Of a key's secret only the SHA-256 is kept. Revoking holds from the next request on, as
every request reads its key's row.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from hanseg_shared.access import ApiKey, Scope
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.audit import SERVICE, Event
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import api_keys
from hanseg_shared.jobs.tables.audit import AuditTable

USE_NOTED_SECONDS = 60.0
"""How precisely the last use of a key is noted; noting each would write each time."""


class KeyStanding(StrEnum):
    """Whether a key opens anything now."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is known of a key; times are seconds since 1970."""

    id: str
    owner: str
    scopes: frozenset[Scope]
    created_at: float
    standing: KeyStanding
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    note: str | None = None
    max_running: int | None = None
    max_unfinished: int | None = None


class ApiKeysTable:
    """The keys that were made, revoked ones too.

    Making and revoking one is written to the audit log in the same transaction.
    """

    def __init__(self, database: Database, audit: AuditTable) -> None:
        self._database = database
        self._audit = audit

    def create(
        self,
        owner: str,
        scopes: frozenset[Scope],
        *,
        seconds: float | None = None,
        note: str | None = None,
        max_running: int | None = None,
        max_unfinished: int | None = None,
        by: str = SERVICE,
        why: str = "asked for",
    ) -> ApiKey:
        """Make a key and return it; it cannot be had again.

        Args:
            owner: To whom belongs what is made with it.
            scopes: What it allows.
            seconds: How long it is valid; None for ever.
            note: What it is for.
            max_running: How many stages of its owner's jobs may be at work at a time;
                None leaves it to the settings.
            max_unfinished: How many jobs of its owner may be unfinished; likewise.
            by: Who makes it, for the audit log.
            why: The reason, for the audit log.
        """
        key = ApiKey.generate()
        told: dict[str, object] = {
            "owner": owner,
            "scopes": sorted(scopes),
            "seconds": seconds,
        }
        limits = {"max_running": max_running, "max_unfinished": max_unfinished}
        told |= {name: most for name, most in limits.items() if most is not None}
        event = Event("create_key", by, subject=key.id, details=told | {"why": why})
        with self._database.write() as connection:
            now = self._database.time(connection)
            connection.execute(
                api_keys.insert().values(
                    id=key.id,
                    secret_sha256=key.sha256,
                    owner=owner,
                    scopes=" ".join(sorted(scopes)),
                    note=note,
                    **limits,
                    created_at=now,
                    expires_at=None if seconds is None else now + seconds,
                )
            )
            entry = self._audit.add(connection, event)
        self._audit.note(entry)
        return key

    def find(self, key: ApiKey) -> KeyRecord | None:
        """Return what is known of a key; None if its id and secret are no key's."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(api_keys).where(api_keys.c.id == key.id)
            ).one_or_none()
            now = self._database.time(connection)
        kept = "" if row is None else row.secret_sha256
        is_same = hmac.compare_digest(kept.encode(), key.sha256.encode())
        return read_key(row, now) if is_same and row is not None else None

    def standing(self, key_id: str) -> KeyStanding:
        """Return whether a key opens anything now; one that is gone is revoked."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(api_keys).where(api_keys.c.id == key_id)
            ).one_or_none()
            now = self._database.time(connection)
        return KeyStanding.REVOKED if row is None else read_key(row, now).standing

    def note_use(self, record: KeyRecord) -> None:
        """Note that a key was used, unless that was noted just before."""
        with self._database.read() as connection:
            now = self._database.time(connection)
        limit = now - USE_NOTED_SECONDS
        if record.last_used_at is not None and record.last_used_at > limit:
            return
        with self._database.write() as connection:
            connection.execute(
                api_keys.update()
                .where(api_keys.c.id == record.id)
                .values(last_used_at=now)
            )

    def list(self) -> list[KeyRecord]:
        """Return all keys, the newest last."""
        query = sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        with self._database.read() as connection:
            now = self._database.time(connection)
            return [read_key(row, now) for row in connection.execute(query)]

    def revoke(self, key_id: str, *, by: str = SERVICE) -> None:
        """Make a key open nothing any more; one that was revoked stays as it is.

        Args:
            key_id: Which key.
            by: Who revokes it, for the audit log.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._database.write() as connection:
            is_there = api_keys.c.id == key_id
            found = connection.execute(sa.select(api_keys.c.id).where(is_there)).all()
            if not found:
                raise JobNotFoundError(
                    f"there is no key {key_id}; `hanseg keys list` names them"
                )
            changed = connection.execute(
                api_keys.update()
                .where(is_there, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=self._database.time(connection))
            )
            if not changed.rowcount:
                return
            event = Event("revoke_key", by, subject=key_id)
            entry = self._audit.add(connection, event)
        self._audit.note(entry)

    def most_unfinished(self, owner: str) -> int | None:
        """Return how many unfinished jobs an owner's keys allow; None if none says.

        Of several keys, the one that allows most counts.
        """
        query = sa.select(sa.func.max(api_keys.c.max_unfinished)).where(
            api_keys.c.owner == owner, api_keys.c.revoked_at.is_(None)
        )
        with self._database.read() as connection:
            most: int | None = connection.execute(query).scalar_one()
        return most

    def has_valid(self) -> bool:
        """Whether there is a key that opens anything."""
        return any(each.standing is KeyStanding.VALID for each in self.list())


def read_key(row: sa.Row[tuple[object, ...]], now: float) -> KeyRecord:
    """Return the key that a row holds, as it stands at a time."""
    names = {scope.value for scope in Scope}
    return KeyRecord(
        id=row.id,
        owner=row.owner,
        scopes=frozenset(Scope(each) for each in row.scopes.split() if each in names),
        created_at=row.created_at,
        standing=_standing(row, now),
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        note=row.note,
        max_running=row.max_running,
        max_unfinished=row.max_unfinished,
    )


def _standing(row: sa.Row[tuple[object, ...]], now: float) -> KeyStanding:
    if row.revoked_at is not None:
        return KeyStanding.REVOKED
    if row.expires_at is not None and row.expires_at <= now:
        return KeyStanding.EXPIRED
    return KeyStanding.VALID
