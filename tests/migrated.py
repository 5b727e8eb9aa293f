"""New databases without the migrations' cost: they run once a process, and are copied.

An empty SQLite file becomes a copy of one that the migrations made; in an empty schema
of PostgreSQL, the statements that they made it with are sent again, all at once. What
is tested about migrations runs them: see `migrations_run`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from hanseg_shared.jobs import upgrade
from hanseg_shared.jobs.database import connect

_migrate, _upgrade = upgrade._migrate, upgrade._upgrade


class NewDatabases:
    """How a new database gets its schema while tests run; ``folder`` is this one's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: bytes | None = None
        self._script: str | None = None

    def upgrade(self, engine: Engine) -> None:
        """Upgrade a database; an SQLite file that is not there yet is copied first."""
        file = engine.url.database if engine.dialect.name == "sqlite" else None
        if file and not os.path.lexists(file):
            self._copy_to(Path(file))
        _upgrade(engine)

    def migrate(self, connection: Connection, found: str | None) -> None:
        """Migrate a database; an empty one of PostgreSQL as the first was."""
        is_new = found is None and not sa.inspect(connection).get_table_names()
        if connection.dialect.name != "postgresql" or not is_new:
            _migrate(connection, found)
        elif self._script is None:
            self._script = _record(connection)
        else:
            driver: Any = connection.connection.dbapi_connection
            driver.execute(self._script)

    def _copy_to(self, file: Path) -> None:
        if self._file is None:
            self._file = self._make()
        whole = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
        with suppress(OSError):  # no folder to write to, or another was faster
            whole.write_bytes(self._file)
            os.link(whole, file)
        whole.unlink(missing_ok=True)

    def _make(self) -> bytes:
        file = self.folder / "new.sqlite"
        engine = connect(f"sqlite:///{file}")
        _upgrade(engine)
        engine.dispose()
        return file.read_bytes()


def _record(connection: Connection) -> str:
    """Migrate an empty database, and return the statements that changed it."""
    statements: list[str] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object):
        if not statement.lstrip().startswith("SELECT"):
            assert not parameters, (
                f"what migrations write depends on nothing: {statement}"
            )
            statements.append(statement)

    sa.event.listen(connection, "before_cursor_execute", note)
    _migrate(connection, None)
    sa.event.remove(connection, "before_cursor_execute", note)
    return ";\n".join(statements)


@contextmanager
def new_databases(folder: Path) -> Iterator[None]:
    """Let new databases be copies, with the first of them in ``folder``."""
    copies = NewDatabases(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upgrade, "_upgrade", copies.upgrade)
        patch.setattr(upgrade, "_migrate", copies.migrate)
        yield


@pytest.fixture
def migrations_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a new database be migrated, as the service does it."""
    monkeypatch.setattr(upgrade, "_upgrade", _upgrade)
    monkeypatch.setattr(upgrade, "_migrate", _migrate)
