"""A worker whose disk is full waits, says why, and goes on by itself."""

from __future__ import annotations

import errno
import shutil
from types import SimpleNamespace

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs import fitness
from hanseg_shared.jobs.ballast import SPARE_BYTES, Ballast
from hanseg_shared.jobs.fitness import find_complaint, wait_until_fit
from tests.jobs.fakes import PROBLEM, new_job

GIGABYTE = 1 << 30


class FakeDisk:
    """How much is free, look by look; the last answer again and again."""

    def __init__(self, *free: int) -> None:
        self._free = list(free)

    def __call__(self, _: object) -> SimpleNamespace:
        free = self._free.pop(0) if len(self._free) > 1 else self._free[0]
        return SimpleNamespace(free=free)


@pytest.fixture(autouse=True)
def hurried(monkeypatch) -> None:
    monkeypatch.setattr(fitness, "LOOK_SECONDS", 0.001)


def test_a_worker_with_room_is_fit_and_leaves_nothing(services):
    assert find_complaint(services) is None
    assert list(services.settings.scratch.iterdir()) == []


def test_a_full_disk_is_named(services, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", FakeDisk(1000))
    assert find_complaint(services) == (
        "the disk is full: 1000 bytes free, a stage wants 268435456"
    )


def test_a_disk_that_takes_nothing_is_named(services, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(fitness, "_try_writing", fail)
    complaint = find_complaint(services)
    assert (
        complaint == "nothing can be written to the data folder: Read-only file system"
    )


def test_a_worker_goes_on_when_there_is_room_again(services, monkeypatch):
    told: list[str | None] = []
    monkeypatch.setattr(shutil, "disk_usage", FakeDisk(0, 0, 0, 8 * GIGABYTE))
    assert wait_until_fit(services, told.append)
    assert [said is None for said in told] == [False, False, False, True]


def test_a_message_is_not_held_for_ever(services, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", FakeDisk(0))
    monkeypatch.setattr(fitness, "WAIT_SECONDS", 0.01)
    assert not wait_until_fit(services, lambda _: None)


def test_a_worker_that_must_stop_does_not_wait(services, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", FakeDisk(0))
    services.stop.give(grace_seconds=0.0)
    assert not wait_until_fit(services, lambda _: None)


class TestBallast:
    def test_it_holds_room_and_gives_it_once(self, tmp_path):
        ballast = Ballast(tmp_path / "ballast", size=1 << 16)
        ballast.load()
        ballast.load()
        made = (tmp_path / "ballast").stat()
        assert made.st_size == 1 << 16
        assert made.st_blocks * 512 >= 1 << 16
        assert made.st_mode & 0o777 == 0o600
        assert ballast.drop()
        assert not ballast.drop()
        assert list(tmp_path.iterdir()) == []

    def test_a_disk_with_little_room_is_spared(self, tmp_path, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", FakeDisk(SPARE_BYTES))
        Ballast(tmp_path / "ballast").load()
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_away_harms_nothing(self, tmp_path):
        Ballast(tmp_path / "away" / "ballast").load()
        assert not Ballast(tmp_path / "away" / "ballast").drop()


class TestDeletionOnAFullDisk:
    @pytest.fixture
    def fills(self, tables, monkeypatch):
        """A database that is full until the ballast goes."""
        database = tables.database
        write, full = (
            database.write,
            ServiceUnavailableError("database or disk is full"),
        )

        def write_or_fail():
            if database.ballast is None or database.ballast._path.exists():
                raise full
            return write()

        def fill() -> None:
            monkeypatch.setattr(database, "write", write_or_fail)

        return fill

    def test_a_job_is_deleted_with_the_room_of_the_ballast(
        self, tables, reconciler, fills
    ):
        job, upload = new_job(tables), tables.uploads.create(size=1, sha256="a" * 64)
        reconciler.run_once()
        fills()
        if tables.database.ballast is None:  # PostgreSQL's disk is not ours
            with pytest.raises(ServiceUnavailableError):
                tables.jobs.expire(job.id, PROBLEM)
            return
        with pytest.raises(ServiceUnavailableError):
            new_job(tables)
        assert tables.jobs.expire(job.id, PROBLEM).state is JobState.EXPIRED
        tables.uploads.delete(upload.id)
        reconciler.run_once()  # and the ballast is back
        assert tables.database.ballast._path.exists()
