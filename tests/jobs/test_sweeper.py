"""The sweeper deletes what has been kept for its time, and what belongs to nobody."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

import pytest

from hanseg_shared.documents import JobState, ResultFile
from hanseg_shared.errors import StoreError
from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.stores.files import Payload
from hanseg_shared.jobs.sweeper import ORPHAN_SECONDS, UPLOAD_SECONDS, Sweeper
from hanseg_shared.jobs.tables.keys import KeyClaim
from tests.jobs.fakes import PROBLEM, claim, make_with_key, new_job, watch


@pytest.fixture
def store(services) -> PayloadStore:
    found: PayloadStore = services.store
    return found


def put(store: PayloadStore, owner: str, folder: Path) -> Payload:
    path = folder / "payload"
    path.write_bytes(owner.encode())
    return store.put(owner, path)


class TestExpiry:
    def test_an_expired_job_loses_its_payloads_and_no_other_does(
        self, tables, sweeper, store, clock, tmp_path
    ):
        old = claim(tables, new_job(tables))
        tables.claims.fail(old, PROBLEM)
        kept = new_job(tables)
        for job in (old, kept):
            put(store, job.id, tmp_path)
        watch(sweeper, clock, 3601.0)

        assert tables.jobs.get(old.id).state is JobState.EXPIRED
        assert tables.jobs.get(old.id).error.status == 410
        assert store.owners() == [kept.id]

    def test_an_unused_upload_goes_after_a_day(
        self, tables, sweeper, store, clock, tmp_path
    ):
        upload = tables.uploads.create(size=1, sha256="a" * 64)
        put(store, upload.owner, tmp_path)
        clock.advance(UPLOAD_SECONDS + 1.0)
        sweeper.run_once()

        assert store.owners() == []

    def test_one_folder_that_cannot_be_deleted_stops_no_other(
        self, services, tables, clock, caplog
    ):
        stubborn = Stubborn()
        for _ in range(2):
            tables.claims.fail(claim(tables, new_job(tables)), PROBLEM)
        clock.advance(3601.0)
        sweeper = Sweeper(tables, stubborn, services.settings, steady=clock.steady)  # type: ignore[arg-type]
        sweeper.expire()

        assert len(stubborn.asked) == 2
        assert tables.jobs.count_by_state()[JobState.EXPIRED] == 2
        assert caplog.text.count("cannot be deleted") == 2


def end_with_late_files(tables, store, tmp_path, *, attempts: int) -> Job:
    """A job with a payload that its row names, and one that none does, a day old."""
    job = new_job(tables)
    for _ in range(attempts - 1):
        tables.claims.release(claim(tables, job))
    late = put(store, job.id, tmp_path)
    (tmp_path / "result").write_text("result")
    result = store.put(job.id, tmp_path / "result")
    file = ResultFile(
        name="a.txt", sha256=result.sha256, bytes=6, media_type="text/plain"
    )
    for stage in Stage:
        claimed = claim(tables, job, stage)
        assert tables.claims.finish_stage(claimed, stage, StageResult(files=(file,)))
    assert store.exists(job.id, late.sha256)
    return tables.jobs.get(job.id)


def age_all(store: PayloadStore, seconds: float) -> None:
    then = time.time() - seconds
    for path in Path(str(store.local_folder)).rglob("*"):
        os.utime(path, (then, then))


def payloads(store: PayloadStore, job: Job) -> set[str]:
    return {path.name for path in Path(f"{store.local_folder}/{job.id}").iterdir()}


class TestUnnamed:
    def test_what_a_killed_attempt_stored_is_deleted_and_the_result_stays(
        self, tables, sweeper, store, tmp_path
    ):
        job = end_with_late_files(tables, store, tmp_path, attempts=2)
        age_all(store, ORPHAN_SECONDS + 60.0)
        sweeper.sweep()
        assert payloads(store, job) == {file.sha256 for file in job.files}

    def test_what_is_young_stays_as_a_row_may_be_about_to_name_it(
        self, tables, sweeper, store, tmp_path
    ):
        job = end_with_late_files(tables, store, tmp_path, attempts=2)
        age_all(store, ORPHAN_SECONDS - 60.0)
        sweeper.sweep()
        assert len(payloads(store, job)) == 2

    def test_a_job_that_nothing_disturbed_is_not_looked_at(
        self, tables, tmp_path, store
    ):
        end_with_late_files(tables, store, tmp_path, attempts=1)
        assert tables.jobs.list_disturbed() == []

    def test_a_job_that_is_being_worked_on_keeps_all_it_has(
        self, tables, sweeper, store, tmp_path
    ):
        job = new_job(tables)
        tables.claims.release(claim(tables, job))
        claim(tables, job)
        put(store, job.id, tmp_path)
        age_all(store, ORPHAN_SECONDS + 60.0)
        sweeper.sweep()
        assert len(payloads(store, job)) == 1


class TestSweep:
    def test_files_a_late_worker_wrote_are_deleted(
        self, tables, sweeper, store, tmp_path
    ):
        job = claim(tables, new_job(tables))
        tables.jobs.expire(job.id, PROBLEM)
        put(store, job.id, tmp_path)
        sweeper.sweep()

        assert store.owners() == []

    def test_files_of_jobs_and_uploads_are_kept(self, tables, sweeper, store, tmp_path):
        owners = [
            new_job(tables).id,
            tables.uploads.create(size=1, sha256="a" * 64).owner,
        ]
        for owner in owners:
            age(store, owner, put(store, owner, tmp_path), 10 * ORPHAN_SECONDS)
        sweeper.sweep()

        assert store.owners() == sorted(owners)

    def test_files_of_nobody_are_deleted_after_a_day(self, sweeper, store, tmp_path):
        put(store, "young", tmp_path)
        age(store, "old", put(store, "old", tmp_path), ORPHAN_SECONDS + 60.0)
        sweeper.sweep()

        assert store.owners() == ["young"]

    def test_a_step_that_always_fails_keeps_no_orphan(
        self, tables, sweeper, store, tmp_path, monkeypatch
    ):
        def fail(**_: object) -> None:
            raise StoreError("it cannot be summed up")

        age(store, "old", put(store, "old", tmp_path), ORPHAN_SECONDS + 60.0)
        monkeypatch.setattr(tables.statistics, "take_ended", fail)
        with pytest.raises(StoreError, match="cannot be summed up"):
            sweeper.run_once()

        assert store.owners() == []

    def test_a_store_of_another_database_loses_nothing(
        self, services, tmp_path, caplog
    ):
        (tmp_path / "other").mkdir()
        other = PayloadStore(f"file://{tmp_path / 'other'}")
        assert other.bind("another database")
        age(other, "old", put(other, "old", tmp_path), 10 * ORPHAN_SECONDS)
        Sweeper(services.tables, other, services.settings).sweep()

        assert other.owners() == ["old"]
        assert "the store is not ours" in caplog.text

    def test_a_store_with_patients_of_unknown_origin_is_not_taken_over(
        self, tables, tmp_path
    ):
        found = PayloadStore(f"file://{tmp_path / 'found'}")
        put(found, "old", tmp_path)
        assert not found.bind(tables.installation.identity())

    def test_a_database_keeps_its_identity(self, tables):
        assert tables.installation.identity() == tables.installation.identity()

    def test_old_keys_and_dead_workers_are_forgotten(self, tables, sweeper, clock):
        make_with_key(tables, "k", "f")
        tables.workers.report_ready("w", queue="registration", device="cpu")
        clock.advance(30 * 24 * 3600.0)
        sweeper.sweep()

        assert isinstance(tables.keys.reserve("k", "g"), KeyClaim)
        assert tables.workers.statuses() == []


class Stubborn:
    """A store that deletes nothing."""

    cache = None

    def __init__(self) -> None:
        self.asked: list[str] = []

    def purge(self, owner: str, named: Collection[str] = ()) -> None:
        self.asked.append(owner)
        raise StoreError(f"what {owner} has in the store cannot be deleted")


def age(store: PayloadStore, owner: str, payload: Payload, seconds: float) -> None:
    with store.open(owner, payload.sha256) as file:
        path = Path(file.name)
    then = time.time() - seconds
    os.utime(path, (then, then))
    os.utime(path.parent, (then, then))
