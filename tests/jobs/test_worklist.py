"""Jobs as lines: found by what a worklist shows, with the time that is left."""

from __future__ import annotations

import pytest

from hanseg_shared.documents import (
    JobOptions,
    JobState,
    MrVerdict,
    OrganResult,
    Progress,
    RegistrationReport,
)
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.jobs.record import NewJob, StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.worklist import (
    HISTORY_SECONDS,
    JobFilter,
    Line,
    Worklist,
    seconds_left,
)
from hanseg_shared.organs import OrganStatus
from hanseg_shared.problems import DAMAGED
from tests.jobs.fakes import CT

TAKES = {"registering": 10.0, "segmenting": 60.0, "packaging": 5.0}

HOLES = OrganResult(
    name="Lips",
    label=20,
    status=OrganStatus.CONTOURED,
    flags=(Flag.of(FlagCode.FEW_VOXELS, 3), Flag.of(FlagCode.PIECES_REMOVED, 2.5)),
)


def create(tables, job_id: str, **values) -> None:
    tables.jobs.create(NewJob(id=job_id, inputs=(CT,), **values))


def finish(tables, clock, job_id: str, *, verdict=MrVerdict.USED, organs=(HOLES,)):
    """Take a job through all stages, which last as long as `TAKES` says."""
    results = {
        Stage.REGISTER: StageResult(
            registration=RegistrationReport(verdict=verdict, reason="x")
        ),
        Stage.SEGMENT: StageResult(organs=organs),
        Stage.PACKAGE: StageResult(files=()),
    }
    for stage, result in results.items():
        job = tables.claims.claim(job_id, stage, lease_seconds=60.0)
        clock.advance(TAKES[stage.state])
        assert tables.claims.finish_stage(job, stage, result)


def ids(tables, **wanted) -> list[str]:
    lines, _ = tables.worklist.list_page(JobFilter(**wanted).conditions(), limit=50)
    return [line.id for line in lines]


def test_a_line_says_what_was_found(tables, clock):
    create(tables, "a", case_name="Möller")
    finish(tables, clock, "a")
    ([line], position) = tables.worklist.list_page([], limit=5)
    assert (line.case_name, line.state, line.model) == (
        "Möller",
        JobState.SUCCEEDED,
        "default",
    )
    assert (line.mr_verdict, line.flags) == (MrVerdict.USED, 2)
    assert position is None


def test_jobs_are_found_by_what_a_line_shows(tables, clock):
    other = JobOptions(model="finer")
    create(tables, "a", case_name="Lena_01")
    create(tables, "b", case_name="50%_b", options=other)
    finish(tables, clock, "a", verdict=MrVerdict.REJECTED)
    finish(tables, clock, "b", organs=())
    assert ids(tables, search="lena") == ["a"]
    assert ids(tables, search="%") == ["b"]
    assert ids(tables, search="_") == ["b", "a"]
    assert ids(tables, verdicts=(MrVerdict.REJECTED,)) == ["a"]
    assert ids(tables, flag=FlagCode.FEW_VOXELS) == ["a"]
    assert ids(tables, flag=FlagCode.HOLES) == []
    assert ids(tables, model="finer") == ["b"]


def test_pages_follow_each_other(tables, clock):
    for name in "abc":
        create(tables, name)
        clock.advance(1)
    first, position = tables.worklist.list_page([], limit=2)
    second, end = tables.worklist.list_page([], limit=2, before=position)
    assert [line.id for line in (*first, *second)] == ["c", "b", "a"]
    assert end is None


def test_what_was_deleted_is_found_by_nothing_of_the_patients(tables, clock):
    create(tables, "a", case_name="Lena")
    finish(tables, clock, "a")
    tables.jobs.expire("a", DAMAGED.problem("deleted"))
    assert ids(tables, search="Lena") == []
    assert ids(tables, flag=FlagCode.FEW_VOXELS) == []
    assert ids(tables, verdicts=(MrVerdict.USED,)) == []
    assert ids(tables, model="default") == ["a"]


def test_a_change_is_listed_once_its_time_is_later(tables, clock):
    create(tables, "a")
    since = tables.database.now()
    clock.advance(5)
    create(tables, "b")
    assert [line.id for line in tables.worklist.list_changes([], since=since)] == ["b"]
    clock.advance(5)
    tables.jobs.request_cancel("a")
    found = tables.worklist.list_changes([], since=since)
    assert [line.id for line in found] == ["b", "a"]


def test_history_is_the_median_of_each_stage(tables, clock):
    for name in "abc":
        create(tables, name)
        finish(tables, clock, name)
    (stages,) = tables.worklist.stage_seconds().values()
    assert stages == TAKES


def test_history_is_read_once_in_a_few_seconds(tables, clock):
    now = [0.0]
    worklist = Worklist(tables.database, tables.worklist._reader, clock=lambda: now[0])
    assert worklist.recent_stage_seconds() == {}
    create(tables, "a")
    finish(tables, clock, "a")
    now[0] = HISTORY_SECONDS - 0.1
    assert worklist.recent_stage_seconds() == {}
    now[0] = HISTORY_SECONDS
    (stages,) = worklist.recent_stage_seconds().values()
    assert stages == TAKES


def line(state: JobState, **values) -> Line:
    return Line("a", 1, state, "local", 0.0, 0.0, **values)


@pytest.mark.parametrize(
    ("shown", "left"),
    [
        (line(JobState.QUEUED), 75.0),
        (line(JobState.REGISTERING), 75.0),
        (line(JobState.SEGMENTING, stage_started_at=80.0), 45.0),
        (line(JobState.PACKAGING, stage_started_at=0.0), 0.0),
        (line(JobState.SUCCEEDED), None),
    ],
)
def test_what_is_left_is_what_stages_take(shown, left):
    assert seconds_left(shown, TAKES, now=100.0) == left


def test_a_queued_job_waits_for_those_before_it():
    assert seconds_left(line(JobState.QUEUED), TAKES, now=0.0, ahead=2) == 195.0


def test_the_further_a_stage_is_the_more_its_progress_counts():
    slow = line(
        JobState.SEGMENTING,
        stage_started_at=0.0,
        progress=Progress(stage="segmenting", done=0.5),
    )
    assert seconds_left(slow, TAKES, now=100.0) == 0.5 * 100 + 0.5 * 0 + 5


def test_without_a_history_nobody_can_tell():
    assert seconds_left(line(JobState.QUEUED), {}, now=0.0) is None
    assert seconds_left(line(JobState.QUEUED), {"segmenting": 1.0}, now=0.0) is None
