"""SQLite's files as a crash or a bad disk leaves them, and a start after that.

A damaged or lost database stops the start with its remedy, and is left as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hanseg_segmentation.api import server
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.services import open_services
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.settings import Settings
from hanseg_shared.stack.redis_server import free_port

pytestmark = pytest.mark.chaos

PAGE_BYTES = 4096
"""Of SQLite's files."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A service with some jobs whose database was not closed in order."""
    data = tmp_path / "data"
    services = open_services(Settings(data=data), "test")
    for number in range(40):
        services.tables.jobs.create(NewJob(f"job-{number}", ()))
    crashed = tmp_path / "crashed"
    shutil.copytree(data, crashed)
    services.tables.close()
    return Settings(data=crashed, port=free_port())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_log_that_was_cut_off_leaves_a_whole_beginning(settings, share):
    file = settings.data / "jobs.sqlite"
    log = file.with_name("jobs.sqlite-wal")
    opened = open_database(settings.database)  # all of it is in the file now
    opened.forget_deleted()
    opened.close()
    services = open_services(settings, "test")
    for number in range(40, 80):
        services.tables.jobs.create(NewJob(f"job-{number}", ()))
    crashed = settings.data.with_name("cut-off")
    shutil.copytree(settings.data, crashed)
    services.tables.close()
    cut = crashed / log.name
    os.truncate(cut, int(share * cut.stat().st_size))
    (crashed / "jobs.sqlite-shm").unlink()

    services = open_services(settings.model_copy(update={"data": crashed}), "test")
    services.tables.database.require_sound()
    there = {job.id for job in services.tables.jobs.list_page(limit=1000).jobs}
    services.tables.close()
    assert len(there) >= 40
    assert there == {f"job-{number}" for number in range(len(there))}


@pytest.mark.parametrize("page", [1, 2, 5])
def test_a_damaged_file_stops_the_start_and_is_left_alone(settings, page):
    opened = open_database(settings.database)
    opened.forget_deleted()
    opened.close()
    file = settings.data / "jobs.sqlite"
    with file.open("r+b") as data:
        data.seek((page - 1) * PAGE_BYTES)
        data.write(b"voxels" * (PAGE_BYTES // 6))
    before = file.read_bytes()

    told = _start(settings)
    assert told.returncode == server.NO_SERVICE
    assert "restore the database from a backup" in told.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize("lost", ["emptied", "deleted"])
def test_a_lost_database_is_not_begun_anew(settings, lost):
    for path in settings.data.glob("jobs.sqlite*"):
        path.unlink()
    if lost == "emptied":
        (settings.data / "jobs.sqlite").touch()

    told = _start(settings)
    assert told.returncode == server.NO_SERVICE
    assert "the database is new and empty" in told.stderr


def _start(settings: Settings) -> subprocess.CompletedProcess[str]:
    """Start the API, which should end by itself."""
    return subprocess.run(
        server.command(settings),
        env=os.environ | settings.as_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
