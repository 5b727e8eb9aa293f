"""Facts about the documents of a job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hanseg_shared.documents import (
    FINAL_STATES,
    InputSummary,
    JobDocument,
    JobOptions,
    JobState,
    MrVerdict,
    OrganResult,
    Progress,
    RegistrationReport,
    TransformKind,
)
from hanseg_shared.flags import MEANINGS, Flag, FlagCode
from hanseg_shared.organs import ORGANS, OrganStatus


def job(**changes: Any) -> JobDocument:
    values: dict[str, Any] = {
        "id": "a1",
        "state": JobState.QUEUED,
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return JobDocument(**(values | changes))


@given(
    state=st.sampled_from(JobState),
    statuses=st.lists(st.sampled_from(OrganStatus), min_size=30, max_size=30),
    volume=st.floats(0, 2000),
)
def test_a_job_comes_back_from_json_as_it_went(state, statuses, volume):
    organs = tuple(
        OrganResult(name=organ.name, label=organ.label, status=status, volume_ml=volume)
        for organ, status in zip(ORGANS, statuses, strict=True)
    )
    document = job(state=state, organs=organs, mr_verdict=MrVerdict.REJECTED)
    assert JobDocument.model_validate_json(document.model_dump_json()) == document


def test_times_are_written_as_iso_8601_in_utc():
    assert job().model_dump(mode="json")["created_at"] == "2026-01-02T03:04:05Z"


def test_an_unknown_member_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        JobOptions.model_validate({"modell": "default"})


def test_a_document_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        job().state = JobState.FAILED


@pytest.mark.parametrize("name", ["", "../weights", "a/b", ".hidden", "x" * 65, "a b"])
def test_a_model_name_is_no_path(name):
    with pytest.raises(ValidationError, match="model"):
        JobOptions(model=name)


def test_the_defaults_are_the_contracts():
    options = JobOptions()
    assert options.model == "default"
    assert options.registration is TransformKind.RIGID


@pytest.mark.parametrize("state", JobState)
def test_a_state_is_final_or_worked_on(state):
    assert state.is_final == (state in FINAL_STATES)


def test_four_states_are_final():
    assert {state.value for state in FINAL_STATES} == {
        "succeeded",
        "failed",
        "cancelled",
        "expired",
    }


def test_a_report_carries_its_numbers_by_name():
    report = RegistrationReport(
        verdict=MrVerdict.USED, reason="it fits", measures={"rotation_deg": 3.5}
    )
    assert report.model_dump(mode="json")["measures"] == {"rotation_deg": 3.5}


def test_an_input_says_size_and_spacing_in_x_y_z():
    summary = InputSummary(
        role="ct",
        sha256="0" * 64,
        bytes=10,
        format="nifti",
        size=(512, 512, 150),
        spacing_mm=(0.9, 0.9, 2.0),
    )
    assert summary.model_dump(mode="json")["size"] == [512, 512, 150]


def test_progress_begins_at_nothing():
    assert Progress(stage="registering").done == 0.0


def test_a_flag_is_its_code_and_the_number_that_belongs_to_it():
    flag = Flag.of(FlagCode.PIECES_REMOVED, 2.4789)
    assert flag.model_dump(mode="json") == {"code": "pieces_removed", "ml": 2.48}
    assert flag.words == "pieces removed 2.48 ml"
    assert str(flag) == "pieces_removed ml=2.48"


def test_a_flag_without_a_number_is_its_code_alone():
    flag = Flag.of(FlagCode.TRUNCATED_AT_SCAN_EDGE)
    assert flag.model_dump_json() == '{"code":"truncated_at_scan_edge"}'
    assert flag.words == "truncated at scan edge"


def test_a_flag_says_the_limit_that_decided():
    flag = Flag.of(FlagCode.SMALL_VOLUME, 0.012, limit=0.03)
    assert flag.model_dump() == {"code": "small_volume", "ml": 0.012, "limit": 0.03}
    assert flag.words == "small volume 0.012 ml (limit 0.03 ml)"


def test_a_number_is_never_rounded_to_the_limit_it_fails():
    flag = Flag.of(FlagCode.SMALL_VOLUME, 6.4996, limit=6.5)
    assert (flag.ml, flag.limit) == (6.4996, 6.5)
    flag = Flag.of(FlagCode.UNEXPECTED_POSITION, 63.872, limit=25.0437)
    assert (flag.mm, flag.limit) == (63.9, 25.0)


@pytest.mark.parametrize("code", FlagCode)
def test_every_flag_comes_back_from_json_with_its_number(code):
    meaning = MEANINGS[code]
    number = None if meaning.number is None else 0.5
    flag = Flag.of(code, number, limit=1.5 if meaning.limited else None)
    assert Flag.model_validate_json(flag.model_dump_json()) == flag
    assert flag.number == number


@pytest.mark.parametrize(
    ("old", "flag"),
    [
        ("pieces_removed_31_ml", Flag(code=FlagCode.PIECES_REMOVED, ml=31.0)),
        ("pieces_removed_1.2e+03_ml", Flag(code=FlagCode.PIECES_REMOVED, ml=1200.0)),
        ("holes_0.0625_ml", Flag(code=FlagCode.HOLES, ml=0.0625)),
        ("small_volume", Flag(code=FlagCode.SMALL_VOLUME)),
        ("folds_disagree", Flag(code=FlagCode.FOLDS_DISAGREE)),
    ],
)
def test_a_flag_of_version_0_1_is_read(old, flag):
    stored = {"name": "Lips", "label": 23, "status": "low_confidence", "flags": [old]}
    assert OrganResult.model_validate(stored).flags == (flag,)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ({"code": "holes", "mm": 3.0}, "the flag holes has no number 'mm'"),
        ({"code": "holes", "ml": 3.0, "limit": 1.0}, "the flag holes has no limit"),
        ({"code": "blurred"}, "left_right_swapped"),
        ("holes_many_ml", "left_right_swapped"),
        ({"code": "holes", "ml": float("nan")}, "greater than or equal to 0|finite"),
        ({"code": "holes", "ml": -0.5}, "greater than or equal to 0"),
    ],
)
def test_a_flag_that_no_check_raises_is_refused(flag, message):
    with pytest.raises(ValidationError, match=message):
        Flag.model_validate(flag)
