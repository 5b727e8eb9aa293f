"""What became of jobs is summed up once, changes with reviews, and names no job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from hanseg_shared.documents import ModelSummary, OrganResult, Problem, ReviewState
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.jobs.record import NewJob, StageResult
from hanseg_shared.jobs.schema import daily_sums, organ_facts
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.statistics import Which
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.organs import OrganStatus, organ
from hanseg_shared.review.documents import (
    ChangeKind,
    CorrectedMask,
    MaskComparison,
    OrganReview,
    OrganVerdict,
    ReviewChange,
    ReviewDocument,
)
from tests.jobs.fakes import CT

STEM = organ("Brainstem").label
AT = datetime(2026, 3, 4, tzinfo=UTC)
MODEL = ModelSummary(name="default", version="1.0", sha256="a" * 64)
GONE = Problem(type="urn:x", title="gone")


def finish(tables: Tables, job_id: str, volume_ml: float, **made: Any) -> None:
    """Take a job with one contour down the whole road."""
    tables.jobs.create(NewJob(id=job_id, inputs=(CT,), **made))
    flags = (Flag.of(FlagCode.HOLES, 0.1),)
    stem = OrganResult(
        name="Brainstem",
        label=STEM,
        status=OrganStatus.CONTOURED,
        volume_ml=volume_ml,
        flags=flags,
    )
    results = {
        Stage.REGISTER: StageResult(),
        Stage.SEGMENT: StageResult(organs=(stem,), model=MODEL),
        Stage.PACKAGE: StageResult(files=()),
    }
    for stage, result in results.items():
        job = tables.claims.claim(job_id, stage, lease_seconds=60.0)
        assert job is not None
        assert tables.claims.finish_stage(job, stage, result)


def edited(job_id: str, version: int, verdict: OrganVerdict) -> ReviewDocument:
    """Return a review with a verdict on the brainstem, with numbers if it is edited."""
    compared = MaskComparison(
        dice=0.9,
        hd95_mm=1.5,
        surface_dice=0.95,
        tolerance_mm=2.5,
        added_path_mm=120.0,
        volume_ml=20.0,
        corrected_ml=22.0,
    )
    is_edited = verdict is OrganVerdict.EDITED
    said = OrganReview(
        organ="Brainstem",
        verdict=verdict,
        by="anna",
        at=AT,
        comparison=compared if is_edited else None,
        mask=CorrectedMask(source="viewer", sha256="b" * 64, bytes=9)
        if is_edited
        else None,
    )
    change = ReviewChange(version=version, what=ChangeKind.ORGANS, by="anna", at=AT)
    return ReviewDocument(
        job=job_id,
        version=version,
        state=ReviewState.IN_PROGRESS,
        organs=(said,),
        change=change,
    )


def total(tables: Tables, label: int, name: str, **which: object) -> float:
    return sum(
        tables.statistics.sums(Which(**which)).get((label, name), {}).values()  # type: ignore[arg-type]
    )


@pytest.fixture
def two(tables: Tables) -> Tables:
    finish(tables, "j1", 20.0)
    finish(tables, "j2", 30.0, owned_by="bert")
    assert tables.statistics.take_ended() == 2
    return tables


def test_a_job_is_summed_up_once(two: Tables):
    assert two.statistics.take_ended() == 0
    assert total(two, 0, "jobs") == 2
    assert total(two, STEM, "volume_ml") == 50.0
    assert total(two, STEM, "volume_ml_squared") == 1300.0
    assert total(two, STEM, "flag:holes") == 2
    assert two.statistics.models() == ["default 1.0"]


def test_sums_are_asked_for_by_owner_model_and_day(two: Tables):
    assert total(two, 0, "jobs", owned_by="bert") == 1
    assert total(two, 0, "jobs", model="another 1.0") == 0
    today = int(two.database.now() // 86400)
    assert total(two, 0, "jobs", since=today - 1, until=today) == 2
    assert total(two, 0, "jobs", since=today + 1) == 0


@pytest.mark.parametrize("periods", [1, 2, 3])
def test_days_are_joined_to_periods_by_the_database(two: Tables, periods: int):
    today = int(two.database.now() // 86400)
    assert two.statistics.days(Which()) in {(today, today), (today - 1, today)}
    starts = [today - 10 * (periods - n) + 10 for n in range(periods)]
    starts[0] = today - 40
    found = two.statistics.sums(Which(), starts)[0, "jobs"]
    assert sum(found.values()) == 2
    assert set(found) <= set(starts)


def test_a_verdict_that_changes_moves_its_sums(two: Tables):
    two.reviews.save(edited("j1", 1, OrganVerdict.EDITED))
    assert total(two, STEM, "verdict:edited") == 1
    assert total(two, STEM, "added_path_mm") == 120.0
    assert total(two, STEM, "volume_change_ml") == pytest.approx(2.0)
    [row] = two.statistics.corrections(Which(), limit=9)
    assert (row["job_id"], row["dice"], row["corrected_ml"]) == ("j1", 0.9, 22.0)

    two.reviews.save(edited("j1", 2, OrganVerdict.REJECTED))
    assert total(two, STEM, "verdict:edited") == 0
    assert total(two, STEM, "added_path_mm") == 0.0
    assert total(two, STEM, "verdict:rejected") == 1
    assert two.statistics.corrections(Which(), limit=9) == []


def test_a_review_before_the_job_was_summed_up_counts_too(tables: Tables):
    finish(tables, "j1", 20.0)
    tables.reviews.save(edited("j1", 1, OrganVerdict.ACCEPTED))
    assert total(tables, STEM, "verdict:accepted") == 1
    assert tables.statistics.take_ended() == 0


def test_numbers_stay_when_results_go_and_the_job_s_own_go_with_its_record(tables):
    finish(tables, "j1", 20.0)
    tables.jobs.bury("j1", GONE, why="deleted")
    assert total(tables, STEM, "volume_ml") == 20.0
    assert count(tables, organ_facts) == 1
    with tables.database.write() as connection:
        connection.execute(sa.text("UPDATE jobs SET record_expires_at = 1"))
    assert tables.jobs.drop_records() == ["j1"]
    assert count(tables, organ_facts) == 0
    assert total(tables, STEM, "volume_ml") == 20.0


def test_the_sums_name_no_job(two: Tables):
    with two.database.read() as connection:
        rows = [str(tuple(row)) for row in connection.execute(sa.select(daily_sums))]
    assert rows
    assert not any("j1" in row or "case" in row for row in rows)


def test_a_damaged_row_keeps_no_other_from_being_summed_up(tables: Tables):
    finish(tables, "j1", 20.0)
    finish(tables, "j2", 30.0)
    with tables.database.write() as connection:
        connection.execute(
            sa.text("UPDATE jobs SET organs = '[{\"name\": 7}]' WHERE id = 'j1'")
        )
    assert tables.statistics.take_ended() == 2
    assert total(tables, STEM, "volume_ml") == 30.0


def count(tables: Tables, table: sa.Table) -> int:
    with tables.database.read() as connection:
        query = sa.select(sa.func.count()).select_from(table)
        return int(connection.execute(query).scalar_one())
