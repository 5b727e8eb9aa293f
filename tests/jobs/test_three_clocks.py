"""A job's images go first, then its results and names, and its row last."""

from __future__ import annotations

import json

import pytest

from hanseg_shared.documents import JobState, ResultFile
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.audit import Event
from hanseg_shared.jobs.record import NewJob, StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.sweeper import Sweeper
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.tables.worklist import JobFilter
from hanseg_shared.jobs.upgrade import open_database
from tests.jobs.fakes import CT, EPOCH, PROBLEM, claim, new_job, watch

HOUR = 3600.0


@pytest.fixture
def tables(database, clock):
    opened = Tables.of(
        open_database(database, clock=clock),
        input_seconds=HOUR,
        retention_seconds=10 * HOUR,
        record_seconds=100 * HOUR,
    )
    yield opened
    opened.close()


@pytest.fixture
def job(tables, services, tmp_path):
    """A job that has succeeded, with an image and a result in the store."""
    made = new_job(tables, case_name="Möller", batch_id=None)
    kept = {}
    for name in ("image", "result"):
        (tmp_path / name).write_text(name)
        kept[name] = services.store.put(made.id, tmp_path / name)
    file = ResultFile(
        name="result",
        sha256=kept["result"].sha256,
        bytes=kept["result"].bytes,
        media_type="text/plain",
    )
    for stage in Stage:
        files = (file,) if stage is Stage.PACKAGE else None
        claimed = claim(tables, made, stage)
        assert tables.claims.finish_stage(claimed, stage, StageResult(files=files))
    return tables.jobs.get(made.id)


def stored(services, job_id: str) -> int:
    folder = services.store.local_folder / job_id
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_a_job_that_ends_says_until_when_everything_is_kept(job):
    document = job.document()
    hours = [
        (each.timestamp() - EPOCH) / HOUR
        for each in (
            document.inputs_expire_at,
            document.expires_at,
            document.record_expires_at,
        )
    ]
    assert hours == [1.0, 10.0, 100.0]


def test_images_go_while_results_stay(job, tables, services, sweeper, clock):
    watch(sweeper, clock, 1.1 * HOUR)
    found = tables.jobs.get(job.id)

    assert (found.state, found.case_name) == (JobState.SUCCEEDED, "Möller")
    assert services.store.exists(job.id, found.files[0].sha256)
    assert stored(services, job.id) == 1
    [removal] = found.document().removed
    assert (removal.what, removal.files, removal.why) == ("inputs", 1, "expired")


def test_results_and_names_go_next(job, tables, services, sweeper, clock):
    watch(sweeper, clock, 1.1 * HOUR)
    watch(sweeper, clock, 9.0 * HOUR)
    found = tables.jobs.get(job.id)

    assert (found.state, found.case_name) == (JobState.EXPIRED, None)
    assert stored(services, job.id) == 0
    assert [(each.what, each.files, each.why) for each in found.removed] == [
        ("inputs", 1, "expired"),
        ("results", 1, "expired"),
    ]
    assert found.removed[0].at < found.removed[1].at


def test_the_record_goes_last_and_its_batch_with_it(tables, sweeper, clock):
    batch = tables.batches.create("spring", [NewJob(id="e" * 32, inputs=(CT,))])
    [member] = tables.jobs.list_page(
        limit=9, found_by=JobFilter(batch_id=batch.id)
    ).jobs
    tables.claims.fail(claim(tables, member), PROBLEM)
    watch(sweeper, clock, 99.0 * HOUR)
    assert tables.jobs.get(member.id).state is JobState.EXPIRED
    watch(sweeper, clock, 2.0 * HOUR)

    assert tables.jobs.list_page(limit=9).jobs == ()
    assert tables.jobs.version(member.id) is None
    with pytest.raises(JobNotFoundError):
        tables.batches.get(batch.id)


def test_a_deleted_job_says_what_was_removed_and_when(job, tables):
    found = tables.jobs.expire(job.id, PROBLEM)
    assert [(each.what, each.files, each.why) for each in found.removed] == [
        ("inputs", 1, "deleted"),
        ("results", 1, "deleted"),
    ]
    assert found.removed[0].at.timestamp() == EPOCH
    again = tables.jobs.expire(job.id, PROBLEM)
    assert again.removed == found.removed


def test_deleting_keeps_the_records_clock(job, tables, clock):
    clock.advance(5 * HOUR)
    found = tables.jobs.expire(job.id, PROBLEM)
    assert found.record_expires_at == job.record_expires_at
    assert found.inputs_expire_at == job.inputs_expire_at
    assert found.expires_at == clock.now


def test_unfinished_jobs_keep_their_images(tables, sweeper, clock):
    waiting = new_job(tables)
    watch(sweeper, clock, 1000 * HOUR)
    assert tables.jobs.get(waiting.id).removed is None


def test_two_sweepers_record_each_removal_once(job, tables, services, sweeper, clock):
    other = Sweeper(tables, services.store, services.settings, steady=clock.steady)
    tables.audit.record(Event("test"))
    for hours in (1.1, 9.0, 95.0):
        clock.advance(hours * HOUR)
        for each in (sweeper, other):
            each.run_once()
            each._wall_clock._trusted = None  # a new look at the clocks

    told = [json.loads(entry.line) for entry in tables.audit.list_entries()]
    assert [(each["what"], each["on"]) for each in told[1:]] == [
        ("expire_inputs", job.id),
        ("expire_job", job.id),
        ("expire_record", job.id),
    ]
