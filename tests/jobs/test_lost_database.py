"""A database that is gone, replaced, damaged or new: said with its remedy, never begun
anew behind anyone's back."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from hanseg_shared.errors import DiskFullError, ServiceUnavailableError
from hanseg_shared.jobs.services import claim_store, open_services
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.settings import Settings
from tests.jobs.fakes import new_job


@pytest.fixture
def file(tmp_path):
    return tmp_path / "data" / "jobs.sqlite"


@pytest.fixture
def tables(file):
    tables = Tables.of(open_database(f"sqlite:///{file}"), retention_seconds=60.0)
    yield tables
    tables.close()


def _damage(file: Path, *, page: int) -> None:
    """Overwrite one page of a database, which has 4096 bytes."""
    with file.open("r+b") as data:
        data.seek(4096 * (page - 1))
        data.write(b"voxels" * 682)


class TestGone:
    def test_no_empty_database_is_made_in_its_place(self, tables, file, tmp_path):
        job = new_job(tables)
        file.parent.rename(tmp_path / "away")
        file.parent.mkdir()
        with pytest.raises(
            ServiceUnavailableError, match="deleted, or its disk is awa"
        ):
            new_job(tables)
        assert list(file.parent.iterdir()) == []

        file.parent.rmdir()
        (tmp_path / "away").rename(file.parent)
        assert tables.jobs.get(job.id) == job

    def test_one_that_was_restored_is_used(self, tables, file, tmp_path):
        job = new_job(tables)
        tables.database.forget_deleted()  # all is in the one file now
        shutil.copy(file, tmp_path / "backup")
        for path in file.parent.glob("jobs.sqlite*"):
            path.unlink()
        shutil.copy(tmp_path / "backup", file)
        later = new_job(tables)

        with sqlite3.connect(file) as fresh:
            found = {row[0] for row in fresh.execute("SELECT id FROM jobs")}
        fresh.close()
        assert found == {job.id, later.id}


class TestDamaged:
    def test_a_damaged_page_is_found_at_the_start(self, tables, file):
        new_job(tables)
        tables.close()
        _damage(file, page=3)
        opened = open_database(f"sqlite:///{file}")
        with pytest.raises(ServiceUnavailableError, match="restore the database from"):
            opened.require_sound()
        opened.close()

    def test_a_sound_one_is_taken(self, tables):
        new_job(tables)
        tables.database.require_sound()

    def test_one_without_its_first_page_is_told_with_the_remedy(self, tables, file):
        tables.close()
        _damage(file, page=1)
        with pytest.raises(ServiceUnavailableError, match="restore the database from"):
            open_database(f"sqlite:///{file}")


def test_a_full_disk_is_an_error_of_its_own(tables):
    @sa.event.listens_for(tables.database.engine, "begin")
    def no_more_pages(connection):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(DiskFullError, match="disk is full; delete finished jobs"):
        new_job(tables, case_name="x" * 100_000)


class TestNewBesideAnOldStore:
    @pytest.fixture
    def settings(self, tmp_path):
        return Settings(data=tmp_path / "data")

    def test_a_lost_database_is_not_begun_anew(self, settings, file):
        services = open_services(settings, "test")
        new_job(services.tables)
        services.tables.close()
        file.write_bytes(b"")
        for path in file.parent.glob("jobs.sqlite-*"):
            path.unlink()

        with pytest.raises(ServiceUnavailableError, match="restore the database from"):
            open_services(settings, "test")

    def test_one_that_has_jobs_may_share_the_store(self, tables, tmp_path, caplog):
        new_job(tables)
        store = PayloadStore(f"file://{tmp_path / 'payloads'}")
        store.bind("another database")
        claim_store(store, tables)

        assert "was begun by another database" in caplog.text
