"""The table of the audit log: entries are added, and never changed or removed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.audit import Anchor, Entry, Event, Head, find_fault
from hanseg_shared.jobs.database import Database, take_turns
from hanseg_shared.jobs.schema import audit

logger = logging.getLogger(__name__)

LOCK_NUMBER = 0x68616E736567
"""PostgreSQL's advisory lock under which entries are added one after the other."""

PAGE = 1000
"""Entries that are read at a time."""


class AuditTable:
    """The audit log.

    Args:
        database: Where it is.
        anchor: Where this machine notes how far it is; None notes nothing.
    """

    def __init__(self, database: Database, anchor: Anchor | None = None) -> None:
        self._database = database
        self._anchor = anchor

    def record(self, event: Event) -> None:
        """Add an entry; a fault is logged, and keeps nobody from their work.

        A full disk must not keep a patient's images from being deleted, for instance.
        """
        try:
            with self._database.write() as connection:
                entry = self.add(connection, event)
        except ServiceUnavailableError as error:
            logger.error(  # noqa: TRY400 - the sentence says it all
                "not in the audit log: %s of %s by %s: %s",
                event.what,
                event.subject,
                event.who,
                error,
            )
            return
        self.note(entry)

    def add(self, connection: Connection, event: Event) -> Entry:
        """Add an entry within a transaction: what is recorded is done with it or not.

        `note` is the next step, once the transaction has ended.
        """
        take_turns(connection, LOCK_NUMBER)
        now = self._database.time(connection)
        entry = Entry.after(_head(connection), event, at=now)
        connection.execute(
            audit.insert().values(
                position=entry.position, line=entry.line, hash=entry.hash
            )
        )
        return entry

    def contains(self, what: str, subject: str) -> bool:
        """Whether there is an entry of such an event; it reads the whole log."""
        named = (f'"what":{json.dumps(what)}', f'"on":{json.dumps(subject)}')
        query = sa.select(audit.c.position).where(
            *(audit.c.line.contains(each, autoescape=True) for each in named)
        )
        with self._database.read() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def list_entries(self) -> Iterator[Entry]:
        """Yield all entries, oldest first."""
        last: int | None = None
        while True:
            query = sa.select(audit).order_by(audit.c.position).limit(PAGE)
            if last is not None:
                query = query.where(audit.c.position > last)
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            for row in rows:
                yield Entry(row.position, row.line, row.hash)
            if len(rows) < PAGE:
                return
            last = rows[-1].position

    def find_fault(self) -> str | None:
        """Return what is wrong with the first bad entry; None if the log is whole."""
        try:
            anchored = self._anchor.read() if self._anchor else None
        except ValueError as error:
            return f"{error}; whether entries were cut off cannot be told"
        fault = find_fault(self.list_entries(), anchored)
        if fault is None and anchored is None and self._anchor and self._has_entries():
            return (
                "the anchor of the audit log is missing: whether entries were cut off "
                "cannot be told"
            )
        return fault

    def _has_entries(self) -> bool:
        with self._database.read() as connection:
            return _head(connection) != Head()

    def note(self, entry: Entry) -> None:
        """Note how far the log is now, in the anchor."""
        if self._anchor is None:
            return
        try:
            if not self._anchor.advance(entry.head, self._find_hash):
                logger.error(
                    "the audit log is not the one that was written here before; "
                    "`hanseg audit verify` says where"
                )
        except (OSError, ServiceUnavailableError) as error:
            logger.warning("the audit log's anchor stays behind: %s", error)

    def _find_hash(self, position: int) -> str | None:
        query = sa.select(audit.c.hash).where(audit.c.position == position)
        with self._database.read() as connection:
            return connection.execute(query).scalar_one_or_none()


def _head(connection: Connection) -> Head:
    row = connection.execute(
        sa.select(audit.c.position, audit.c.hash)
        .order_by(audit.c.position.desc())
        .limit(1)
    ).one_or_none()
    return Head() if row is None else Head(row.position, row.hash)
