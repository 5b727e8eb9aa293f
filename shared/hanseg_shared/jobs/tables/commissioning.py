"""The sheets of commissionings that were registered, and the files beside them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import commissioning_files, commissioning_sheets

SHOWN = 50
"""How many sheets are listed at most, the newest first."""


@dataclass(frozen=True, slots=True)
class RegisteredSheet:
    """A sheet that is kept.

    Attributes:
        sha256: Of its canonical bytes.
        document: The signed sheet, as JSON.
        registered_at: When it was registered, in seconds since 1970.
        files: Names of those of its files that are kept too.
    """

    sha256: str
    document: dict[str, Any]
    registered_at: float
    files: tuple[str, ...] = ()


class CommissioningSheets:
    """Every sheet; none is ever changed or taken away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, sha256: str, document: dict[str, Any]) -> RegisteredSheet:
        """Keep a signed sheet under its hash; what is there already stays as it is."""
        with self._database.write() as connection:
            now = self._database.time(connection)
            values = {
                "sha256": sha256,
                "registered_at": now,
                "document": document,
            }
            _insert_once(connection, commissioning_sheets, values)
            (found,) = _read(connection, commissioning_sheets.c.sha256 == sha256)
        return found

    def get(self, sha256: str) -> RegisteredSheet | None:
        """Return a sheet by its hash; None if there is none."""
        with self._database.read() as connection:
            found = _read(connection, commissioning_sheets.c.sha256 == sha256)
        return found[0] if found else None

    def add_file(self, sheet: str, name: str, content: bytes) -> None:
        """Keep a file of a sheet; one that is there already stays as it is."""
        values = {"sheet": sheet, "name": name, "content": content}
        with self._database.write() as connection:
            _insert_once(connection, commissioning_files, values)

    def get_file(self, sheet: str, name: str) -> bytes | None:
        """Return a file of a sheet; None if it is not kept."""
        query = sa.select(commissioning_files.c.content).where(
            commissioning_files.c.sheet == sheet, commissioning_files.c.name == name
        )
        with self._database.read() as connection:
            content: bytes | None = connection.execute(query).scalar_one_or_none()
        return content

    def list(self, limit: int = SHOWN) -> tuple[RegisteredSheet, ...]:
        """Return the newest sheets, the newest first."""
        with self._database.read() as connection:
            return _read(connection, limit=limit)


def _insert_once(
    connection: sa.Connection, table: sa.Table, values: dict[str, Any]
) -> None:
    """Insert a row; the very same one that is there already stays."""
    with contextlib.suppress(IntegrityError), connection.begin_nested():
        connection.execute(table.insert().values(values))


def _read(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool], limit: int = 1
) -> tuple[RegisteredSheet, ...]:
    newest = commissioning_sheets.c.registered_at.desc()
    query = sa.select(commissioning_sheets).where(*conditions).order_by(newest)
    rows = connection.execute(query.limit(limit)).all()
    files = sa.select(commissioning_files.c.sheet, commissioning_files.c.name).where(
        commissioning_files.c.sheet.in_([row.sha256 for row in rows])
    )
    names: dict[str, list[str]] = {}
    for sheet, name in connection.execute(files.order_by(commissioning_files.c.name)):
        names.setdefault(sheet, []).append(name)
    return tuple(
        RegisteredSheet(
            row.sha256,
            row.document,
            row.registered_at,
            tuple(names.get(row.sha256, ())),
        )
        for row in rows
    )
