"""Opens a database whose schema is this version's: created or upgraded where needed.

Each process of the service does this at its start. One of them migrates, under a lock
and in one transaction; the others wait for it and find nothing left to do.
``python -m hanseg_shared.jobs.upgrade`` does it alone, before they start.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from hanseg_shared.errors import HansegError, ServiceUnavailableError
from hanseg_shared.jobs.database import (
    DEFAULT,
    Clock,
    Connections,
    Database,
    connect,
    take_turns,
    translate_errors,
)
from hanseg_shared.jobs.schema import REVISION
from hanseg_shared.logs import configure_logging
from hanseg_shared.settings import settings_of_process

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

ADVISORY_LOCK = int.from_bytes(b"hanseg", "big")
"""The number of PostgreSQL's lock for migrations; any other would do as well."""

NO_DATABASE = 4
"""Exit status when the database cannot be opened."""

_REVISION_NAME = re.compile(r"(?P<version>\d+\.\d+\.\d+)_\d+")


class SchemaVersionError(ServiceUnavailableError):
    """The database is not one that this version can work with; waiting is no remedy."""


def open_database(
    url: str, *, clock: Clock | None = None, connections: Connections = DEFAULT
) -> Database:
    """Open the database of a URL; an empty or older one gets this version's schema.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``.
        clock: See `Database`.
        connections: How many, and what is waited for.

    Raises:
        SchemaVersionError: A newer version or another program made the database.
        ServiceUnavailableError: The database cannot be opened.
    """
    with translate_errors():
        engine = connect(url, connections)
        try:
            _upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
    return Database(engine, clock)


def _upgrade(engine: Engine) -> None:
    with engine.execution_options(writing=False).connect() as connection:
        if _read_revision(connection) == REVISION:
            return
    with engine.begin() as connection:
        _lock(connection)
        found = _read_revision(connection)
        if found != REVISION:  # no other process was faster
            _migrate(connection, found)
            logger.info("the database's schema is now %s, was %s", REVISION, found)


def _lock(connection: Connection) -> None:
    """Keep other processes from migrating until this transaction ends."""
    if connection.dialect.name == "postgresql":
        # neither a large table nor another process's migration is cut short
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    take_turns(connection, ADVISORY_LOCK)


def _read_revision(connection: Connection) -> str | None:
    """Return the schema's revision; None in a database that never had migrations."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    names = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
    return ", ".join(sorted(names.scalars())) or None


def _migrate(connection: Connection, found: str | None) -> None:
    # imported here: most starts find nothing to do, and need no Alembic
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from hanseg_shared.jobs.migrations.versions import v0_1_0_1_tables as baseline

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise SchemaVersionError(_describe_unknown(connection, found))
    if found is None and _has_any_table(connection, baseline.metadata):
        _require_tables(connection, baseline.metadata)
        command.stamp(config, baseline.revision)
    command.upgrade(config, REVISION)


def _has_any_table(connection: Connection, metadata: sa.MetaData) -> bool:
    return not metadata.tables.keys().isdisjoint(
        sa.inspect(connection).get_table_names()
    )


def _require_tables(connection: Connection, metadata: sa.MetaData) -> None:
    """Check that the tables of version 0.1.0 are there with all of their columns."""
    inspector = sa.inspect(connection)
    present = set(inspector.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in present:
            raise SchemaVersionError(
                _describe_foreign(connection, f"it has no table {table.name}")
            )
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        missing = [
            column.name for column in table.columns if column.name not in columns
        ]
        if missing:
            raise SchemaVersionError(
                _describe_foreign(
                    connection, f"its table {table.name} lacks {', '.join(missing)}"
                )
            )


def _describe_unknown(connection: Connection, found: str) -> str:
    named = _REVISION_NAME.fullmatch(found)
    needed = f"version {named['version']} or later" if named else "a newer version"
    return (
        f"the database {_name(connection)} was upgraded by a newer version of the "
        f"service: its schema is {found}, and this version knows none after "
        f"{REVISION}; update this program to {needed}, nothing was changed"
    )


def _describe_foreign(connection: Connection, what: str) -> str:
    return (
        f"the database {_name(connection)} was made neither by version 0.1.0 of the "
        f"service nor by a later one ({what}); it cannot be upgraded and was not "
        "changed: let HANSEG_DATABASE_URL name the service's own database, or restore "
        "that one from a backup"
    )


def _name(connection: Connection) -> str:
    return connection.engine.url.render_as_string(hide_password=True)


def main() -> None:
    """Upgrade the database that the settings name, and end.

    Where many processes start at once, this spares them to wait for the first of them.
    """
    settings = settings_of_process()
    configure_logging(settings.log)
    try:
        open_database(settings.database).close()
    except HansegError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line for the terminal
        sys.exit(NO_DATABASE)


if __name__ == "__main__":
    main()
