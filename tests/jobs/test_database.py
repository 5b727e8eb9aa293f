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
from hanseg_shared.jobs import repository as module
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.repository import JobRepository, open_database
from hanseg_shared.jobs.stages import Stage
from tests.jobs.fakes import CT, PROBLEM, claim, new_job

WRITERS = 3
JOBS_EACH = 15


def _write(url, barrier, answers):
    barrier.wait(30)
    try:
        repository = JobRepository(open_database(url), retention_seconds=60.0)
        for _ in range(JOBS_EACH):
            job = repository.create(NewJob(uuid.uuid4().hex, (CT,)))
            job = claim(repository, job)
            repository.renew(
                job.id,
                job.token or "",
                lease_seconds=30.0,
                progress=Progress(stage="registering", done=0.5),
            )
            repository.release_lost_leases(attempts=3, problem=PROBLEM)
            repository.fail(job, PROBLEM)
        repository.close()
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
    repository = JobRepository(open_database(database), retention_seconds=60.0)
    assert repository.count_by_state()[JobState.FAILED] == WRITERS * JOBS_EACH
    repository.close()


def test_a_reader_never_waits_for_a_writer(database):
    repository = JobRepository(open_database(database), retention_seconds=60.0)
    job = new_job(repository)
    other = open_database(database)
    with other.begin() as connection:
        connection.execute(
            sa.text("UPDATE jobs SET case_name = 'half' WHERE id = :id"), {"id": job.id}
        )
        assert repository.get(job.id).case_name is None
    other.dispose()
    repository.close()


def test_sqlite_writes_ahead_so_that_nobody_reads_a_half(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    with engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    engine.dispose()

    assert mode == "wal"


def test_opening_again_keeps_what_is_there(database):
    first = JobRepository(open_database(database), retention_seconds=60.0)
    job = new_job(first, case_name="kept")
    first.close()
    second = JobRepository(open_database(database), retention_seconds=60.0)

    assert second.get(job.id) == job
    second.close()


def test_the_database_has_a_clock_of_its_own(database):
    repository = JobRepository(open_database(database), retention_seconds=60.0)

    assert abs(repository.now() - time.time()) < 60.0
    assert repository.now() <= repository.now()
    repository.ping()
    repository.close()


def test_a_write_that_fails_in_the_middle_leaves_nothing(repository):
    job = new_job(repository)

    def fail() -> None:
        with repository._writing() as connection:
            connection.execute(sa.text("UPDATE jobs SET version = 99"))
            raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        fail()
    assert repository.get(job.id) == job


class TestFaults:
    def test_a_writer_that_never_ends_is_told_and_nothing_is_lost(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(module, "BUSY_TIMEOUT_SECONDS", 0.05)
        url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
        repository = JobRepository(open_database(url), retention_seconds=60.0)
        job = new_job(repository)
        other = open_database(url)
        with other.begin():
            with pytest.raises(ServiceUnavailableError, match="database is locked"):
                repository.claim(job.id, Stage.REGISTER, lease_seconds=30.0)
            assert repository.get(job.id) == job
        assert claim(repository, job).attempts == 1
        other.dispose()
        repository.close()

    def test_a_file_that_is_no_database_is_told(self, tmp_path):
        (tmp_path / "jobs.sqlite").write_bytes(b"voxels" * 1000)

        with pytest.raises(ServiceUnavailableError, match="file is not a database"):
            open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path):
        (tmp_path / "file").touch()

        with pytest.raises(ServiceUnavailableError, match="cannot be made"):
            open_database(f"sqlite:///{tmp_path / 'file' / 'x' / 'jobs.sqlite'}")

    def test_a_full_disk_is_told(self, tmp_path):
        engine = open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
        repository = JobRepository(engine, retention_seconds=60.0)

        @sa.event.listens_for(engine, "begin")
        def no_more_pages(connection):
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        with pytest.raises(ServiceUnavailableError, match="disk is full"):
            new_job(repository, case_name="x" * 100_000)
        assert repository.count_unfinished() == 0
        repository.close()

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
        url = module._with_driver(sa.make_url(f"{scheme}://u:p@h/d"))

        assert url.drivername == "postgresql+psycopg"
        assert url.query["connect_timeout"] == "5"

    def test_more_requests_than_connections_are_told(self, database, monkeypatch):
        monkeypatch.setitem(module._POOL, "pool_size", 1)
        monkeypatch.setitem(module._POOL, "max_overflow", 0)
        monkeypatch.setitem(module._POOL, "pool_timeout", 0.05)
        engine = open_database(database)
        repository = JobRepository(engine, retention_seconds=60.0)
        with (
            engine.connect(),
            pytest.raises(ServiceUnavailableError, match="limit of size 1"),
        ):
            repository.ping()
        repository.close()


def test_a_database_of_another_version_is_told_with_what_it_lacks(tmp_path):
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    older = open_database(url)
    with older.begin() as connection:
        connection.execute(sa.text("ALTER TABLE jobs DROP COLUMN remarks"))
    older.dispose()
    with pytest.raises(ServiceUnavailableError, match=r"another version.*remarks"):
        open_database(url)


def test_a_database_of_an_earlier_version_gets_the_indexes_it_lacks(tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX jobs_by_case"))
    engine.dispose()
    engine = open_database(url)
    names = {each["name"] for each in sa.inspect(engine).get_indexes("jobs")}
    assert "jobs_by_case" in names
    engine.dispose()


def test_a_database_of_an_older_version_is_given_the_workers_states(database):
    engine = open_database(database)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE worker_states"))
    engine.dispose()
    repository = JobRepository(open_database(database), retention_seconds=60.0)
    repository.report_loading("a-1", queue="registration", trouble=None)

    assert [status.name for status in repository.worker_statuses()] == ["a-1"]
    repository.close()
