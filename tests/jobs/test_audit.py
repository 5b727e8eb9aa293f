"""The audit log: a chain of entries in which no fault goes unseen."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from hanseg_shared.cli import exit_status
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.audit import Anchor, Event
from hanseg_shared.jobs.audit_cli import AuditFaultError, audit
from hanseg_shared.jobs.schema import audit as table
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.tables.audit import AuditTable
from hanseg_shared.settings import Settings


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    return tmp_path / "audit.head"


@pytest.fixture
def log(tables, anchor) -> AuditTable:
    found = AuditTable(tables.database, Anchor(anchor))
    for number in range(5):
        found.record(Event("delete_job", who="ada", subject=f"job-{number}"))
    return found


def change(tables, *statements: sa.Executable) -> None:
    with tables.database.write() as connection:
        for statement in statements:
            connection.execute(statement)


def line_of(tables, position: int) -> str:
    with tables.database.read() as connection:
        query = sa.select(table.c.line).where(table.c.position == position)
        return str(connection.execute(query).scalar_one())


def rewrite(tables, first: int, last: int, **values: object) -> None:
    """Change an entry and make the chain after it anew, as one who knows how would."""
    from hanseg_shared.jobs.audit import hash_line

    before = None
    for position in range(first, last + 1):
        told = json.loads(line_of(tables, position))
        told |= values if position == first else {"before": before}
        line = json.dumps(told, sort_keys=True, separators=(",", ":"))
        before = hash_line(line)
        change(
            tables,
            table.update()
            .where(table.c.position == position)
            .values(line=line, hash=before),
        )


def test_a_log_that_nobody_touched_is_whole(log):
    assert log.find_fault() is None
    assert [json.loads(entry.line)["on"] for entry in log.list_entries()] == [
        f"job-{number}" for number in range(5)
    ]


def test_a_changed_entry_is_named(log, tables):
    line = line_of(tables, 3).replace("ada", "eve")
    change(tables, table.update().where(table.c.position == 3).values(line=line))
    assert log.find_fault() == "entry 3 was changed: its hash is another"


def test_a_changed_entry_with_a_new_hash_breaks_the_next(log, tables):
    rewrite(tables, 3, 3, who="eve")
    assert "entry 4 does not follow entry 3" in log.find_fault()


def test_a_chain_made_anew_contradicts_the_anchor(log, tables):
    rewrite(tables, 3, 5, who="eve")
    assert "entry 5 is not the one that was written" in log.find_fault()


def test_a_removed_entry_is_named(log, tables):
    change(tables, table.delete().where(table.c.position == 2))
    assert "entry 2 is missing" in log.find_fault()


def test_a_first_entry_that_was_removed_is_named(log, tables):
    change(tables, table.delete().where(table.c.position == 1))
    assert "entry 1 is missing" in log.find_fault()


def test_a_removed_entry_whose_gap_was_closed_is_named(log, tables):
    change(
        tables,
        table.delete().where(table.c.position == 2),
        *(
            table.update().where(table.c.position == n).values(position=n - 1)
            for n in (3, 4, 5)
        ),
    )
    assert "entry 2 does not follow entry 1" in log.find_fault()


def test_an_inserted_entry_is_named(log, tables):
    entries = {entry.position: entry for entry in log.list_entries()}
    change(
        tables,
        *(
            table.update().where(table.c.position == n).values(position=n + 1)
            for n in (5, 4, 3)
        ),
        table.insert().values(position=3, line=entries[2].line, hash=entries[2].hash),
    )
    assert "entry 3 does not follow entry 2" in log.find_fault()


def test_a_log_that_was_cut_off_is_found(log, tables):
    change(tables, table.delete().where(table.c.position > 3))
    assert "entry 4 is missing" in log.find_fault()
    assert "lacks 2 of 5" in log.find_fault()


def test_a_log_that_was_cut_off_and_goes_on_is_found(log, tables, caplog):
    change(tables, table.delete().where(table.c.position > 3))
    for _ in range(4):
        log.record(Event("start_api"))
    assert "entry 5 is not the one that was written" in log.find_fault()
    assert "`hanseg audit verify` says where" in caplog.text


def test_without_its_anchor_the_end_of_the_log_is_not_vouched_for(log, anchor):
    anchor.unlink()
    assert "anchor of the audit log is missing" in log.find_fault()
    anchor.write_text("nonsense")
    assert "cannot be read" in log.find_fault()


def test_entries_of_many_threads_make_one_chain(log, tables, anchor):
    def write() -> None:
        own = AuditTable(tables.database, Anchor(anchor))
        for _ in range(5):
            own.record(Event("fetch_result"))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.find_fault() is None
    assert sum(1 for _ in log.list_entries()) == 25


def test_a_database_that_is_away_keeps_nobody_from_work(
    log, tables, monkeypatch, caplog
):
    def fail() -> None:
        raise ServiceUnavailableError("the disk is full")

    monkeypatch.setattr(type(tables.database), "write", lambda _: fail())
    log.record(Event("delete_job", subject="job-9"))
    assert "not in the audit log: delete_job of job-9" in caplog.text


def test_only_the_owner_reads_the_anchor(log, anchor):
    assert stat.S_IMODE(anchor.stat().st_mode) == 0o600


class TestCommand:
    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        tables = open_tables(Settings(data=tmp_path))
        for name in ("delete_job", "cancel_job"):
            tables.audit.record(Event(name, who="ada", subject="a" * 32))
        tables.close()
        return tmp_path

    def test_a_whole_log_is_verified(self, data):
        result = CliRunner().invoke(audit, ["verify", "--data", str(data)])
        assert (result.exit_code, result.output) == (
            0,
            "the audit log is whole: 2 entries\n",
        )

    def test_a_changed_log_ends_with_status_3(self, data):
        tables = open_tables(Settings(data=data))
        change(tables, table.delete().where(table.c.position == 1))
        tables.close()
        result = CliRunner().invoke(audit, ["verify", "--data", str(data)])
        assert isinstance(result.exception, AuditFaultError)
        assert exit_status(result.exception) == 3
        assert "entry 1 is missing" in str(result.exception)

    def test_entries_are_listed_for_a_script(self, data):
        result = CliRunner().invoke(
            audit, ["list", "--data", str(data), "--json", "--limit", "1"]
        )
        told = json.loads(result.output)
        assert (told["what"], told["who"], told["on"]) == (
            "cancel_job",
            "ada",
            "a" * 32,
        )

    def test_an_export_is_private_and_has_every_line(self, data, tmp_path):
        file = tmp_path / "audit.jsonl"
        result = CliRunner().invoke(audit, ["export", "--data", str(data), str(file)])
        assert result.exit_code == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(file.read_text().splitlines()) == 2

    def test_a_folder_without_a_service_is_not_made_one(self, tmp_path):
        result = CliRunner().invoke(audit, ["verify", "--data", str(tmp_path / "no")])
        assert "no service's database" in str(result.exception)
        assert not (tmp_path / "no").exists()
