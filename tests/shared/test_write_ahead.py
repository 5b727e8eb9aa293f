"""A SQLite file is put into WAL mode once, whoever else opens it at that moment."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hanseg_shared.write_ahead import write_ahead

OPENERS = 8
FILES = 10


@pytest.fixture
def written_by_another(tmp_path):
    """A file that somebody is writing, so that it cannot be switched."""
    file = tmp_path / "x.sqlite"
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("CREATE TABLE t (x)")
    writer.execute("BEGIN IMMEDIATE")
    yield file, writer
    writer.close()


def _open(file: Path) -> object:
    sql = sqlite3.connect(file, timeout=30.0, isolation_level=None)
    try:
        write_ahead(sql, wait_seconds=30.0)
        return sql.execute("PRAGMA journal_mode").fetchone()[0]
    finally:
        sql.close()


def test_who_writes_at_that_moment_is_waited_for(written_by_another, monkeypatch):
    file, writer = written_by_another
    monkeypatch.setattr(time, "sleep", lambda _: writer.rollback())

    assert _open(file) == "wal"


def test_who_writes_for_too_long_is_told(written_by_another):
    sql = sqlite3.connect(written_by_another[0], isolation_level=None)

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_ahead(sql, wait_seconds=0.0)
    sql.close()


def test_another_fault_is_told_at_once(tmp_path):
    (tmp_path / "x.sqlite").write_bytes(b"voxels" * 1000)
    sql = sqlite3.connect(tmp_path / "x.sqlite")

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        write_ahead(sql, wait_seconds=30.0)
    sql.close()


def test_many_open_a_new_file_at_once(tmp_path):
    files = [tmp_path / f"{i}.sqlite" for i in range(FILES) for _ in range(OPENERS)]
    with ThreadPoolExecutor(OPENERS) as pool:
        assert set(pool.map(_open, files)) == {"wal"}
