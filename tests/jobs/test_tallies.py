"""Tallies: each ended job is counted once, whatever its row holds."""

from __future__ import annotations

import sqlalchemy as sa

from hanseg_shared.documents import (
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
)
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables import tallies as tallies_module
from hanseg_shared.jobs.tables.tallies import TallyName
from hanseg_shared.organs import OrganStatus
from tests.jobs.fakes import PROBLEM, claim, new_job, release_all

BRAINSTEM = OrganResult(
    name="Brainstem",
    label=1,
    status=OrganStatus.CONTOURED,
    volume_ml=25.0,
    flags=(Flag(code=FlagCode.PIECES_REMOVED, ml=1.0),),
)


def finish(tables, model: str = "m") -> str:
    job = new_job(tables)
    report = RegistrationReport(verdict=MrVerdict.REJECTED, reason="by a test")
    for stage, result in (
        (Stage.REGISTER, StageResult(registration=report)),
        (
            Stage.SEGMENT,
            StageResult(
                model=ModelSummary(name=model, version="1", sha256="a" * 64),
                organs=(BRAINSTEM,),
            ),
        ),
        (Stage.PACKAGE, StageResult()),
    ):
        assert tables.claims.finish_stage(claim(tables, job, stage), stage, result)
    return job.id


def count(tables, name: TallyName, *, suffix: str = "", **labels: str) -> float:
    tables.tallies.take_ended()
    found = tables.tallies.read().get(f"{name}{suffix}", {})
    wanted = set(labels.items())
    return sum(value for key, value in found.items() if wanted <= set(key))


def test_an_ended_job_is_counted_once(tables):
    finish(tables)
    new_job(tables)
    assert tables.tallies.take_ended() == 1
    assert tables.tallies.take_ended() == 0
    assert count(tables, TallyName.JOBS, state="succeeded") == 1
    assert count(tables, TallyName.MR_VERDICTS, verdict="rejected") == 1
    assert count(tables, TallyName.STAGE_ATTEMPTS, stage="packaging") == 1
    assert count(tables, TallyName.ORGAN_STATUSES, organ="Brainstem", model="m 1") == 1
    assert count(tables, TallyName.ORGAN_FLAGS, flag="pieces_removed") == 1


def test_nobody_who_writes_is_waited_for_where_nothing_has_ended(tables):
    new_job(tables)
    with tables.database.write():
        assert tables.tallies.take_ended() == 0


def test_a_volume_is_counted_between_its_bounds(tables):
    finish(tables)
    name = TallyName.ORGAN_VOLUME_ML
    assert count(tables, name, suffix="_sum", organ="Brainstem") == 25.0
    assert count(tables, name, suffix="_bucket", organ="Brainstem", le="32") == 1
    assert count(tables, name, suffix="_bucket", organ="Brainstem") == 1


def test_what_is_deleted_before_it_was_counted_counts(tables):
    tables.jobs.expire(finish(tables), PROBLEM)
    tables.jobs.expire(new_job(tables).id, PROBLEM)
    assert count(tables, TallyName.JOBS, state="succeeded") == 1
    assert count(tables, TallyName.JOBS, state="expired") == 1
    assert tables.tallies.take_ended() == 0


def test_a_failed_jobs_last_stage_counts_its_attempts(tables):
    job = new_job(tables)
    assert tables.claims.release(claim(tables, job))
    assert tables.claims.fail(claim(tables, job), PROBLEM)
    assert count(tables, TallyName.STAGE_ATTEMPTS, stage="registering") == 2


def test_leases_that_are_taken_away_are_counted(tables):
    claim(tables, new_job(tables))
    release_all(tables)
    assert count(tables, TallyName.LEASES_EXPIRED) == 1


def test_a_row_that_cannot_be_read_keeps_no_other_from_being_counted(tables):
    damaged = finish(tables)
    with tables.database.write() as connection:
        connection.execute(
            jobs.update()
            .where(jobs.c.id == damaged)
            .values(organs=sa.cast('[1, {"name": 2}]', sa.JSON), model=7)
        )
    finish(tables)
    assert tables.tallies.take_ended() == 2
    assert count(tables, TallyName.JOBS, state="succeeded") == 2
    assert count(tables, TallyName.MODEL_JOBS) == 1


def test_models_beyond_the_most_are_counted_together(tables, monkeypatch):
    monkeypatch.setattr(tallies_module, "MOST_MODELS", 2)
    for name in ("a", "b", "c", "d"):
        finish(tables, name)
    assert count(tables, TallyName.MODEL_JOBS, model="other") == 2
    assert count(tables, TallyName.MODEL_JOBS, model="a 1") == 1
