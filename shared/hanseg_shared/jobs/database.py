"""The database's connections: how it is opened, read, written and asked for the time.

Every statement runs inside `Database.read` or `Database.write`, which translate what
the database raises into one sentence.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from hanseg_shared.errors import DiskFullError, ServiceUnavailableError
from hanseg_shared.jobs.ballast import Ballast
from hanseg_shared.write_ahead import write_ahead

BALLAST = "ballast"
"""The file beside SQLite's that keeps room for deletions."""

BUSY_TIMEOUT_SECONDS = 15.0
"""How long SQLite waits for another writer before it gives up."""

FORGETTING_MILLISECONDS = 200
"""How long the log's readers are waited for when it is emptied."""

SILENCE = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""After 25 s without a sign of PostgreSQL's host a connection is broken, in libpq's
words. By itself Linux would wait for two hours for the answer of a host that lost its
power, and the worker that asked it would hang for as long."""


@dataclass(frozen=True, slots=True)
class Connections:
    """How many connections a process keeps to its database, and what it waits for.

    Attributes:
        kept: How many stay open once they were needed.
        further: How many more a crowd of requests may open.
        wait_seconds: How long a request waits for one when all are taken.
        connect_seconds: How long PostgreSQL may take to accept one.
        statement_seconds: How long a statement of PostgreSQL's may take, and a
            transaction that does nothing.
        recycle_seconds: After so long one is opened anew.
    """

    kept: int = 10
    further: int = 30
    wait_seconds: float = 10.0
    connect_seconds: int = 5
    statement_seconds: float = 60.0
    recycle_seconds: int = 1800

    @property
    def pool(self) -> dict[str, Any]:
        """The arguments of SQLAlchemy's engine."""
        return {
            "pool_size": self.kept,
            "max_overflow": self.further,
            "pool_timeout": self.wait_seconds,
            "pool_use_lifo": True,  # what a crowd opened falls idle, and is closed
            "hide_parameters": True,  # of a failing statement: they name patients
        }


DEFAULT = Connections()

FULL = frozenset({sqlite3.SQLITE_FULL, "53100"})
"""What SQLite and PostgreSQL (class 53) call a disk without room."""

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""What SQLite calls a file whose content cannot be right."""

REMEDY = (
    "stop the service, put the damaged file aside, restore the database from a backup"
)

_FILE = "hanseg_file"
"""Where a connection's record keeps which file it opened."""

_PRIMARY = 0xFF
"""The bits of SQLite's error codes that say what went wrong; the others say where."""

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
        file = engine.url.database if engine.dialect.name == "sqlite" else None
        self.owes_forgetting = False
        self.ballast = Ballast(Path(file).with_name(BALLAST)) if file else None

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

    def write_at_need(self, change: Callable[[Connection], object]) -> None:
        """Do what frees room: if there is none left for it, the ballast goes first.

        Raises:
            ServiceUnavailableError: As `write`.
        """
        try:
            with self.write() as connection:
                change(connection)
        except ServiceUnavailableError:
            if self.ballast is None or not self.ballast.drop():
                raise
            with self.write() as connection:
                change(connection)

    def forget_deleted(self) -> bool:
        """Empty SQLite's write-ahead log, where deleted names stand until then.

        Returns:
            False if somebody was reading: `owes_forgetting` is true until it succeeds.
        """
        if self.engine.dialect.name != "sqlite":
            return True
        with translate_errors():
            connection = self.engine.raw_connection()
            try:
                self.owes_forgetting = _truncate_log(connection.cursor())
            finally:
                connection.close()
        return not self.owes_forgetting

    def require_file(self) -> None:
        """Raise `ServiceUnavailableError` if SQLite's file was deleted.

        What is open would go on to be written, and be lost.
        """
        url = self.engine.url
        is_file = self.engine.dialect.name == "sqlite" and url.database
        if is_file and not Path(str(url.database)).exists():
            raise ServiceUnavailableError(
                "the database's file was deleted; restore the data folder, or restart "
                "the service to begin anew"
            )

    def require_sound(self) -> None:
        """Read all of SQLite's file, and raise `ServiceUnavailableError` if damaged."""
        if self.engine.dialect.name != "sqlite":
            return
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise ServiceUnavailableError(
                f"the database is damaged ({found}); {REMEDY}"
            )

    def ping(self) -> None:
        """Raise `ServiceUnavailableError` unless the database answers."""
        self.require_file()
        with self.read() as connection:
            connection.execute(sa.select(sa.literal(1)))

    def now(self) -> float:
        """Return the time that leases are measured in."""
        with self.read() as connection:
            return self.time(connection)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def connect(url: str, connections: Connections = DEFAULT) -> Engine:
    """Return an engine for the database of a URL, which may still be empty.

    SQLite is put into WAL mode, so that readers never wait for a writer. PostgreSQL
    is asked before each use of a connection whether it is still there.

    Raises:
        ServiceUnavailableError: The URL cannot be used.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _make_sqlite_engine(parsed, connections)
        return _make_postgres_engine(parsed, connections)
    except (ArgumentError, ModuleNotFoundError) as error:
        # the URL may hold a password, so it is not repeated
        raise ServiceUnavailableError(
            f"the database's URL cannot be used ({type(error).__name__}): it must be "
            "sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME with psycopg "
            "installed"
        ) from error


def _make_sqlite_engine(url: sa.URL, connections: Connections) -> Engine:
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
        url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, **connections.pool
    )
    file = Path(url.database)
    is_new = not file.exists()  # then the first connection makes it, and no other does

    def refuse_to_make(*_: object) -> None:
        nonlocal is_new
        if not is_new and not file.exists():
            raise sqlite3.OperationalError(
                "its file was deleted, or its disk is away; put the data folder back"
            )
        is_new = False

    sa.event.listen(engine, "do_connect", refuse_to_make)
    sa.event.listen(engine, "connect", partial(_remember_file, file))
    sa.event.listen(engine, "checkout", partial(_require_same_file, file))
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_immediately)
    return engine


def _make_postgres_engine(url: sa.URL, connections: Connections) -> Engine:
    engine = sa.create_engine(
        _choose_driver(url, connections),
        pool_pre_ping=True,
        pool_recycle=connections.recycle_seconds,
        **connections.pool,
    )
    if engine.dialect.name == "postgresql":
        limit = int(1000 * connections.statement_seconds)
        sa.event.listen(engine, "connect", partial(_limit_statements, limit))
    return engine


def _choose_driver(url: sa.URL, connections: Connections = DEFAULT) -> sa.URL:
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "postgresql":
        limits = {"connect_timeout": str(connections.connect_seconds), **SILENCE}
        url = url.set(query={**limits, **url.query})
    return url


def _limit_statements(milliseconds: int, connection: Any, _: object) -> None:  # noqa: ANN401 - psycopg's own
    """Have PostgreSQL end what takes too long, and what a stopped process left open."""
    connection.autocommit = True
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(f"SET {name} = {milliseconds}")
    connection.autocommit = False


def _remember_file(file: Path, _: object, record: ConnectionPoolEntry) -> None:
    record.info[_FILE] = _identify(file)


def _require_same_file(
    file: Path, _: object, record: ConnectionPoolEntry, __: object
) -> None:
    """Close a connection whose file is gone or replaced: what it writes is lost."""
    if record.info.get(_FILE) != _identify(file):
        raise DisconnectionError("the database's file was replaced")


def _identify(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - sqlite3's own
    connection.isolation_level = None  # SQLAlchemy's BEGIN, not the driver's
    # a damaged text would fail every query that finds its row
    connection.text_factory = lambda text: text.decode(errors="replace")
    cursor = connection.cursor()
    write_ahead(cursor, wait_seconds=BUSY_TIMEOUT_SECONDS)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
    cursor.close()


def _truncate_log(cursor: Any) -> bool:  # noqa: ANN401 - sqlite3's own
    """Return whether the log could not be emptied because somebody reads it."""
    cursor.execute(f"PRAGMA busy_timeout={FORGETTING_MILLISECONDS}")
    try:
        return bool(cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
    except sqlite3.OperationalError:  # locked, or no room: at the next pass
        return True
    finally:
        cursor.execute(f"PRAGMA busy_timeout={int(1000 * BUSY_TIMEOUT_SECONDS)}")


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


def take_turns(connection: Connection, number: int) -> None:
    """Wait until no other transaction has the lock of a number; keep it to the end.

    SQLite needs none: it has one writer at a time.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def insert_into(
    connection: Connection, table: sa.Table
) -> postgresql.Insert | sqlite.Insert:
    """Return an insert that may say what happens where there is such a row."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise `ServiceUnavailableError` for a database that does not work."""
    try:
        yield
    except _BUGS:
        raise
    except (DBAPIError, PoolTimeoutError, DisconnectionError) as error:
        codes = _codes(error)
        said = f"the database does not work: {_cause(error)}"
        if codes & FULL:
            raise DiskFullError(f"{said}; delete finished jobs") from error
        if codes & DAMAGED:
            raise ServiceUnavailableError(f"{said}; {REMEDY}") from error
        raise ServiceUnavailableError(said) from error


def _codes(error: Exception) -> set[object]:
    """Return what the driver calls an error: SQLite's number, or SQLSTATE."""
    original = error.orig if isinstance(error, DBAPIError) else None
    number = getattr(original, "sqlite_errorcode", 0)
    return {number & _PRIMARY, getattr(original, "sqlstate", None)}


def _cause(error: Exception) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    lines = str(original).splitlines()
    return lines[0] if lines else "no answer"
