"""A database of any earlier version is upgraded, once, and keeps what is in it."""

from __future__ import annotations

import logging
import multiprocessing
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from hanseg_shared.documents import JobState, Progress
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs import schema, upgrade
from hanseg_shared.jobs.database import connect
from hanseg_shared.jobs.tables.keys import KeyState
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import SchemaVersionError, open_database
from tests.jobs.fakes import new_job

STATEMENTS = (Path(__file__).parent / "data" / "version_0_1_0.sql").read_text()
PROCESSES = 4

pytestmark = pytest.mark.usefixtures("migrations_run")


def execute(url: str, *statements: str) -> None:
    """Change a database without opening it as the service does."""
    engine = connect(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def make_old(url: str) -> None:
    """Make the database of version 0.1.0 with rows in it."""
    execute(url, *(part for part in STATEMENTS.split(";\n") if part.strip()))


def schema_of(url: str) -> list[str]:
    """Return the revisions that a database says it has."""
    engine = connect(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        names = list(found.scalars())
    engine.dispose()
    return names


@pytest.fixture
def old(database: str) -> str:
    make_old(database)
    return database


class TestOlder:
    def test_the_rows_of_version_0_1_0_are_read(self, old):
        tables = Tables.of(open_database(old), retention_seconds=60.0)
        done, running = tables.jobs.get("done"), tables.jobs.get("running")

        assert (done.state, done.version, done.total_attempts) == (
            JobState.SUCCEEDED,
            9,
            3,
        )
        assert (done.created_at, done.case_name) == (1700000001.5, "Möller 2")
        assert done.inputs[0].size == (7, 8, 9)
        assert [organ.name for organ in done.organs] == ["Lips"]
        assert (done.remarks, done.versions) == (
            ("the CT is tilted",),
            {"hanseg-shared": "0.1.0"},
        )
        assert (running.token, running.lease_until) == ("a-token", 1700000200.0)
        assert running.progress == Progress(stage="segmenting", done=0.25)
        tables.close()

    def test_what_stands_beside_the_jobs_is_kept(self, old):
        tables = Tables.of(open_database(old), retention_seconds=60.0)

        assert tables.batches.get("b1").counts == {JobState.SUCCEEDED: 1}
        assert tables.uploads.get("u1").bytes == 5_000_000_000
        assert tables.keys.reserve("k1", "other") == KeyState("a-request", "done")
        assert tables.installation.identity() == "this-database"
        with tables.database.read() as connection:
            [worker] = connection.execute(sa.select(schema.workers)).all()
        assert (worker.name, worker.queue) == ("host-1", "segmentation")
        tables.close()

    def test_a_worker_of_version_0_1_0_may_go_on_with_its_job(self, old):
        tables = Tables.of(open_database(old), retention_seconds=60.0)

        assert tables.claims.renew("running", "a-token", lease_seconds=30.0) is True
        tables.close()

    def test_what_came_since_can_be_used(self, old):
        tables = Tables.of(open_database(old), retention_seconds=60.0)
        tables.workers.report_loading("a-1", queue="registration", trouble=None)

        assert [status.name for status in tables.workers.statuses()] == ["a-1"]
        assert tables.jobs.list_page(limit=5, case_name="Möller 2").jobs[0].id == "done"
        tables.close()

    def test_a_database_that_had_it_before_there_were_migrations_is_adopted(self, old):
        execute(
            old,
            "CREATE INDEX jobs_by_case ON jobs (case_name, created_at)",
            "CREATE TABLE worker_states (name VARCHAR(128) NOT NULL PRIMARY KEY, queue "
            "VARCHAR(32) NOT NULL, state VARCHAR(16) NOT NULL, since FLOAT NOT NULL, "
            "seen_at FLOAT NOT NULL, trouble TEXT)",
            "INSERT INTO worker_states VALUES ('a-1', 'q', 'ready', 1.0, 2.0, NULL)",
        )
        tables = Tables.of(open_database(old), retention_seconds=60.0)

        assert [status.name for status in tables.workers.statuses()] == ["a-1"]
        assert schema_of(old) == [schema.REVISION]
        tables.close()

    def test_an_upgrade_that_fails_changes_nothing(self, old, monkeypatch):
        monkeypatch.setattr(upgrade, "REVISION", "0.9.9_1")
        with pytest.raises(Exception, match=r"0\.9\.9_1"):
            open_database(old)
        monkeypatch.undo()
        engine = connect(old)
        assert not sa.inspect(engine).has_table("alembic_version")
        engine.dispose()

        open_database(old).close()
        assert schema_of(old) == [schema.REVISION]


@pytest.mark.parametrize("begin", [lambda _: None, make_old], ids=["empty", "0.1.0"])
class TestAnyBeginning:
    def test_the_schema_is_that_of_the_tables(self, database, begin):
        begin(database)
        opened = open_database(database)
        with opened.engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True}
            )
            assert compare_metadata(context, schema.metadata) == []
        opened.close()
        assert schema_of(database) == [schema.REVISION]

    def test_processes_that_start_at_once_upgrade_it_once(self, database, begin):
        begin(database)
        context = multiprocessing.get_context("fork")
        barrier, answers = context.Barrier(PROCESSES), context.Queue()
        starts = [
            context.Process(target=_start, args=(database, barrier, answers))
            for _ in range(PROCESSES)
        ]
        for start in starts:
            start.start()
        counts = [answers.get(timeout=60) for _ in starts]
        for start in starts:
            start.join()

        assert sorted(counts) == [0] * (PROCESSES - 1) + [1]


def _start(url, barrier, answers):
    """Open the database with others at once, and say how often it was migrated."""
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    upgrade.logger.addHandler(QueueHandler(records))
    upgrade.logger.setLevel(logging.INFO)
    barrier.wait(30)
    try:
        tables = Tables.of(open_database(url), retention_seconds=60.0)
        new_job(tables)
        tables.close()
        answers.put(records.qsize())
    except Exception as error:  # noqa: BLE001 - shown by the test's own process
        answers.put(repr(error))


class TestRefused:
    def test_a_newer_database_is_refused_with_the_version_that_it_needs(self, database):
        open_database(database).close()
        execute(database, "UPDATE alembic_version SET version_num = '0.4.0_2'")

        with pytest.raises(SchemaVersionError, match=r"version 0\.4\.0 or later"):
            open_database(database)
        assert schema_of(database) == ["0.4.0_2"]

    @pytest.mark.parametrize("found", ["8d2f", "9_9", "1.0"])
    def test_a_schema_that_nobody_knows_is_refused(self, database, found):
        open_database(database).close()
        execute(database, f"UPDATE alembic_version SET version_num = '{found}'")

        with pytest.raises(ServiceUnavailableError, match="a newer version"):
            open_database(database)

    def test_a_database_that_lacks_a_column_of_0_1_0_is_refused(self, old):
        execute(
            old,
            "ALTER TABLE jobs DROP COLUMN remarks",
            "ALTER TABLE jobs DROP COLUMN versions",
        )
        with pytest.raises(SchemaVersionError, match="lacks remarks, versions"):
            open_database(old)

    def test_a_database_of_another_program_is_refused_and_left_alone(self, database):
        execute(database, "CREATE TABLE workers (name TEXT, salary FLOAT)")

        with pytest.raises(SchemaVersionError, match="it has no table batches"):
            open_database(database)
        engine = connect(database)
        assert sa.inspect(engine).get_table_names() == ["workers"]
        engine.dispose()

    def test_a_refusal_says_what_to_do_and_never_to_part_with_the_data(self, old):
        execute(old, "DROP TABLE installations")

        with pytest.raises(SchemaVersionError, match="from a backup") as refused:
            open_database(old)
        assert "data folder" not in str(refused.value)
        assert "\n" not in str(refused.value)


def test_the_tables_name_their_last_migration():
    assert ScriptDirectory(str(upgrade.MIGRATIONS)).get_heads() == [schema.REVISION]


def test_a_migration_is_named_by_the_version_that_brings_it():
    scripts = ScriptDirectory(str(upgrade.MIGRATIONS)).walk_revisions()

    assert all(upgrade._REVISION_NAME.fullmatch(script.revision) for script in scripts)


def test_the_command_makes_the_database_and_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("HANSEG_DATABASE_URL", f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    upgrade.main()
    engine = connect(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    assert revision == schema.REVISION


def test_the_command_says_in_one_line_why_it_could_not(tmp_path, monkeypatch, capsys):
    (tmp_path / "jobs.sqlite").write_bytes(b"something else" * 100)
    monkeypatch.setenv("HANSEG_DATABASE_URL", f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    with pytest.raises(SystemExit, match="4"):
        upgrade.main()
    assert len(capsys.readouterr().err.splitlines()) == 1
