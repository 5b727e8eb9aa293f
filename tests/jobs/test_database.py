"""The database opens for many at once, and says in one line why it does not work."""

from __future__ import annotations

import multiprocessing
import socket
import time
import uuid

import pytest
import sqlalchemy as sa

from hanseg_shared.documents import JobState, Progress
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs import database as module
from hanseg_shared.jobs.database import Connections, connect
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from tests.jobs.fakes import CT, PROBLEM, claim, new_job

WRITERS = 3
JOBS_EACH = 15


def _write(url, barrier, answers):
    barrier.wait(30)
    try:
        tables = Tables.of(open_database(url), retention_seconds=60.0)
        for _ in range(JOBS_EACH):
            job = tables.jobs.create(NewJob(uuid.uuid4().hex, (CT,)))
            job = claim(tables, job)
            tables.claims.renew(
                job.id,
                job.token or "",
                lease_seconds=30.0,
                progress=Progress(stage="registering", done=0.5),
            )
            tables.claims.release_lost([], attempts=3, problem=PROBLEM)
            tables.claims.fail(job, PROBLEM)
        tables.close()
        answers.put("done")
    except Exception as error:  # noqa: BLE001 - shown by the test's own process
        answers.put(repr(error))


def test_processes_that_open_and_write_at_once_never_meet_a_lock(database):
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(WRITERS), context.Queue()
    writers = [
        context.Process(target=_write, args=(database, barrier, answers))
        for _ in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    said = [answers.get(timeout=60) for _ in writers]
    for writer in writers:
        writer.join()

    assert said == ["done"] * WRITERS
    tables = Tables.of(open_database(database), retention_seconds=60.0)
    assert tables.jobs.count_by_state()[JobState.FAILED] == WRITERS * JOBS_EACH
    tables.close()


def test_a_reader_never_waits_for_a_writer(database):
    tables = Tables.of(open_database(database), retention_seconds=60.0)
    job = new_job(tables)
    other = open_database(database)
    with other.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE jobs SET case_name = 'half' WHERE id = :id"), {"id": job.id}
        )
        assert tables.jobs.get(job.id).case_name is None
    other.close()
    tables.close()


def test_sqlite_writes_ahead_so_that_nobody_reads_a_half(tmp_path):
    opened = open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    with opened.read() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    opened.close()

    assert mode == "wal"


def test_opening_again_keeps_what_is_there(database):
    first = Tables.of(open_database(database), retention_seconds=60.0)
    job = new_job(first, case_name="kept")
    first.close()
    second = Tables.of(open_database(database), retention_seconds=60.0)

    assert second.jobs.get(job.id) == job
    second.close()


def test_the_database_has_a_clock_of_its_own(database):
    tables = Tables.of(open_database(database), retention_seconds=60.0)

    assert abs(tables.database.now() - time.time()) < 60.0
    assert tables.database.now() <= tables.database.now()
    tables.database.ping()
    tables.close()


def test_a_write_that_fails_in_the_middle_leaves_nothing(tables):
    job = new_job(tables)

    def fail() -> None:
        with tables.database.write() as connection:
            connection.execute(sa.text("UPDATE jobs SET version = 99"))
            raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        fail()
    assert tables.jobs.get(job.id) == job


class TestFaults:
    def test_a_writer_that_never_ends_is_told_and_nothing_is_lost(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(module, "BUSY_TIMEOUT_SECONDS", 0.05)
        url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
        tables = Tables.of(open_database(url), retention_seconds=60.0)
        job = new_job(tables)
        other = open_database(url)
        with other.engine.begin():
            with pytest.raises(ServiceUnavailableError, match="database is locked"):
                tables.claims.claim(job.id, Stage.REGISTER, lease_seconds=30.0)
            assert tables.jobs.get(job.id) == job
        assert claim(tables, job).attempts == 1
        other.close()
        tables.close()

    def test_a_file_that_is_no_database_is_told(self, tmp_path):
        (tmp_path / "jobs.sqlite").write_bytes(b"voxels" * 1000)

        with pytest.raises(ServiceUnavailableError, match="file is not a database"):
            open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path):
        (tmp_path / "file").touch()

        with pytest.raises(ServiceUnavailableError, match="cannot be made"):
            open_database(f"sqlite:///{tmp_path / 'file' / 'x' / 'jobs.sqlite'}")

    def test_a_full_disk_is_told(self, tmp_path):
        opened = open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
        tables = Tables.of(opened, retention_seconds=60.0)

        @sa.event.listens_for(opened.engine, "begin")
        def no_more_pages(connection):
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        with pytest.raises(ServiceUnavailableError, match="disk is full"):
            new_job(tables, case_name="x" * 100_000)
        assert sum(tables.jobs.count_by_state().values()) == 0
        tables.close()

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
    def test_a_database_in_memory_is_refused(self, url):
        with pytest.raises(ServiceUnavailableError, match="jobs must outlive"):
            open_database(url)

    @pytest.mark.parametrize(
        "url", ["", "nonsense:hush", "oracle+none://u:hush@h/d", "mysql://u:hush@h/d"]
    )
    def test_a_url_of_no_use_is_told_without_its_password(self, url):
        with pytest.raises(ServiceUnavailableError, match="URL cannot be") as refused:
            open_database(url)
        assert "hush" not in str(refused.value)

    def test_a_server_that_is_away_is_told_without_its_password(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"postgresql://somebody:hush@127.0.0.1:{port}/jobs"

        with pytest.raises(ServiceUnavailableError, match="refused") as refused:
            open_database(url)
        assert "hush" not in str(refused.value)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
    def test_postgresql_is_reached_by_psycopg_within_a_time(self, scheme):
        url = module._choose_driver(sa.make_url(f"{scheme}://u:p@h/d"))

        assert url.drivername == "postgresql+psycopg"
        assert url.query["connect_timeout"] == "5"
        assert url.query["tcp_user_timeout"] == "25000"

    def test_what_the_url_says_of_silence_holds(self):
        told = sa.make_url("postgresql://u:p@h/d?keepalives_idle=60&sslmode=require")
        query = module._choose_driver(told).query

        assert (query["keepalives_idle"], query["sslmode"]) == ("60", "require")
        assert query["keepalives_count"] == "3"

    def test_more_requests_than_connections_are_told(self, database):
        few = Connections(kept=1, further=0, wait_seconds=0.05)
        opened = open_database(database, connections=few)
        tables = Tables.of(opened, retention_seconds=60.0)
        with (
            opened.engine.connect(),
            pytest.raises(ServiceUnavailableError, match="limit of size 1"),
        ):
            tables.database.ping()
        tables.close()


def test_a_statement_that_fails_shows_no_values(database):
    engine = connect(database)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError) as caught:
        connection.execute(sa.text("SELECT :name FROM nowhere"), {"name": "Trillian"})
    engine.dispose()
    assert "Trillian" not in str(caught.value)


@pytest.mark.postgres
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
class TestPostgres:
    """What only a server can do."""

    def test_a_statement_that_takes_too_long_is_ended(self, database):
        hasty = Connections(statement_seconds=0.2)
        opened = open_database(database, connections=hasty)
        with (
            pytest.raises(ServiceUnavailableError, match="statement timeout"),
            opened.read() as connection,
        ):
            connection.execute(sa.select(sa.func.pg_sleep(30)))
        opened.ping()
        opened.close()

    def test_a_transaction_that_a_stopped_process_left_open_is_ended(self, database):
        opened = open_database(database, connections=Connections(statement_seconds=0.2))
        patient = open_database(database)

        def hold() -> None:
            with opened.write() as connection:
                connection.execute(sa.delete(jobs))
                with patient.read() as other:
                    other.execute(sa.select(sa.func.pg_sleep(0.5)))
                connection.execute(sa.delete(jobs))

        with pytest.raises(ServiceUnavailableError):
            hold()
        for each in (opened, patient):
            each.close()

    def test_a_connection_that_the_server_ended_is_replaced_unseen(self, database):
        opened, other = open_database(database), open_database(database)
        with opened.read() as connection:
            process = connection.execute(sa.func.pg_backend_pid()).scalar_one()
        with other.read() as connection:
            connection.execute(sa.func.pg_terminate_backend(process))
        opened.ping()
        for each in (opened, other):
            each.close()
