"""Puts a SQLite file into WAL mode, in which readers never wait for a writer."""

from __future__ import annotations

import random
import sqlite3
import time
from typing import Any

PAUSE_SECONDS = 0.05
"""Longest pause between two tries."""

_PRIMARY = 0xFF
"""The bits of SQLite's error codes that say what went wrong; the others say where."""


def write_ahead(sql: Any, *, wait_seconds: float) -> None:  # noqa: ANN401 - see below
    """Switch a file to WAL mode, however many processes do so at the same time.

    SQLite's own waiting does not cover a second writer: whoever switches is a reader
    already, and two who waited would wait for each other.

    Args:
        sql: A connection to the file, or a cursor: sqlite3's own, or a wrapped one.
        wait_seconds: How long others may keep the file from being switched.

    Raises:
        sqlite3.OperationalError: They kept it longer, or it cannot be switched.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            sql.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= deadline:
                raise
        else:
            return
        time.sleep(random.uniform(0.1, 1.0) * PAUSE_SECONDS)  # noqa: S311 - no secret
