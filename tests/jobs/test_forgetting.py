"""After DELETE, the name of a patient stands nowhere in the database's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanseg_shared.documents import Progress
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from tests.jobs.fakes import CT, PROBLEM, claim, new_job

NAME = "Planted^Name"


@pytest.fixture
def tables(tmp_path: Path, clock):
    opened = Tables.of(
        open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}", clock=clock),
        retention_seconds=60.0,
    )
    yield opened
    opened.close()


def count_names(folder: Path) -> int:
    return sum(
        path.read_bytes().count(NAME.encode()) for path in folder.glob("jobs.sqlite*")
    )


def work(tables: Tables) -> str:
    """A job with the name in its row, in its index and in many versions of both."""
    job = claim(tables, new_job(tables, case_name=NAME, remarks=(NAME,)))
    for done in range(20):
        tables.claims.renew(
            job.id,
            job.token or "",
            lease_seconds=30.0,
            progress=Progress(stage="registering", done=done / 20),
        )
    return job.id


def test_a_deleted_jobs_name_is_gone(tables, tmp_path):
    job_id = work(tables)
    assert count_names(tmp_path) > 20  # so that the search would find it
    tables.jobs.expire(job_id, PROBLEM)

    assert count_names(tmp_path) == 0
    assert not tables.database.owes_forgetting


def test_a_name_that_somebody_reads_is_forgotten_when_they_have_read(
    tables, tmp_path, sweeper
):
    job_id = work(tables)
    with tables.database.read() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM jobs").scalar_one()
        tables.jobs.expire(job_id, PROBLEM)
        assert tables.database.owes_forgetting
    sweeper.run_once()

    assert not tables.database.owes_forgetting
    assert count_names(tmp_path) == 0


def test_a_batchs_name_goes_with_its_last_job(tables, tmp_path):
    batch = tables.batches.create(
        NAME, [NewJob(id=name, inputs=(CT,), case_name=NAME) for name in ("a", "b")]
    )
    tables.jobs.expire("a", PROBLEM)
    assert tables.batches.get(batch.id).name == NAME
    tables.jobs.expire("b", PROBLEM)
    assert tables.batches.get(batch.id).name is None
    assert count_names(tmp_path) == 0
