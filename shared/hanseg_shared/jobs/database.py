"""The database's connections: how it is opened, read, written and asked for the time.

Every statement runs inside `Database.read` or `Database.write`, which translate what
the database raises into one sentence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hanseg_shared.errors import ServiceUnavailableError

BUSY_TIMEOUT_SECONDS = 15.0
"""How long SQLite waits for another writer before it gives up."""

CONNECT_SECONDS = 5
"""How long PostgreSQL may take to accept a connection."""

_POOL: dict[str, Any] = {"pool_size": 10, "max_overflow": 30}
"""Connections kept open, and how many more a crowd of requests may open."""

_BUGS = (IntegrityError, ProgrammingError, DataError, NotSupportedError)
"""What the database raises when a statement is wrong, rather than the database."""

Clock = Callable[[Connection], float]


class Database:
    """A database that is open: its transactions and its time.

    Args:
        engine: See `connect`.
        clock: Returns the time in seconds since 1970; the database's own by default,
            so that several hosts agree about leases.
    """

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        self.time = clock or database_time

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database and changes nothing."""
        engine = self.engine.execution_options(writing=False)
        with translate_errors(), engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection whose changes are all kept at the end, or none of them."""
        with translate_errors(), self.engine.begin() as connection:
            yield connection

    def ping(self) -> None:
        """Raise `ServiceUnavailableError` unless the database answers."""
        with self.read() as connection:
            connection.execute(sa.select(sa.literal(1)))

    def now(self) -> float:
        """Return the time that leases are measured in."""
        with self.read() as connection:
            return self.time(connection)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def connect(url: str) -> Engine:
    """Return an engine for the database of a URL, which may still be empty.

    SQLite is put into WAL mode, so that readers never wait for a writer.

    Raises:
        ServiceUnavailableError: The URL cannot be used.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _make_sqlite_engine(parsed)
        return sa.create_engine(_choose_driver(parsed), pool_pre_ping=True, **_POOL)
    except (ArgumentError, ModuleNotFoundError) as error:
        # the URL may hold a password, so it is not repeated
        raise ServiceUnavailableError(
            f"the database's URL cannot be used ({type(error).__name__}): it must be "
            "sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME with psycopg "
            "installed"
        ) from error


def _make_sqlite_engine(url: sa.URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ServiceUnavailableError(
            "jobs must outlive a process: the database's URL needs a file, such as "
            "sqlite:////var/lib/hanseg/jobs.sqlite"
        )
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceUnavailableError(
            f"the folder of the database cannot be made: {error}"
        ) from error
    engine = sa.create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, **_POOL
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_immediately)
    return engine


def _choose_driver(url: sa.URL) -> sa.URL:
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    return url


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - sqlite3's own
    connection.isolation_level = None  # SQLAlchemy's BEGIN, not the driver's
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_immediately(connection: Connection) -> None:
    # A reader that turns into a writer cannot wait for another writer; one that
    # begins as a writer can.
    writing = connection.get_execution_options().get("writing", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def database_time(connection: Connection) -> float:
    """Return the database's time in seconds since 1970."""
    if connection.dialect.name == "postgresql":
        return float(
            connection.execute(
                sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
            ).scalar_one()
        )
    return time.time()  # SQLite serves one host


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise `ServiceUnavailableError` for a database that does not work."""
    try:
        yield
    except _BUGS:
        raise
    except (DBAPIError, PoolTimeoutError) as error:
        raise ServiceUnavailableError(
            f"the database does not work: {_cause(error)}"
        ) from error


def _cause(error: DBAPIError | PoolTimeoutError) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    lines = str(original).splitlines()
    return lines[0] if lines else "no answer"
