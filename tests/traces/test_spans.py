"""Ids that every process knows, steps within steps, and the caller's own trace."""

from __future__ import annotations

import uuid

import pytest

from hanseg_shared.traces import (
    NO_TRACER,
    SpanLink,
    parse_traceparent,
    part_of,
    span_id_of,
    step,
    submission_id,
    tell,
    trace_id_of,
)
from tests.traces.fakes import FakeTracer

JOB = "0af7651916cd43dd8448eb211c80319c"


def test_a_trace_has_the_id_of_its_job():
    assert f"{trace_id_of(JOB):032x}" == JOB


@pytest.mark.parametrize("job_id", ["", "0" * 32, "no id of ours", "-" * 32])
def test_what_is_no_id_of_ours_has_a_trace_all_the_same(job_id):
    assert 0 < trace_id_of(job_id) < 1 << 128


def test_each_part_of_each_job_has_an_id_of_its_own():
    jobs = [uuid.uuid4().hex for _ in range(50)]
    ids = {submission_id(job) for job in jobs}
    ids |= {span_id_of(job, "attempt", n) for job in jobs for n in range(20)}
    assert len(ids) == 50 * 21
    assert all(0 < each < 1 << 64 for each in ids)
    assert span_id_of(JOB, "attempt", 1) == span_id_of(JOB, "attempt", 1)


def test_a_step_is_part_of_the_step_around_it():
    tracer = FakeTracer()
    with part_of(tracer, 1, 2), step("outer"), step("inner", role="ct"):
        tell("verdict", verdict="used")
    inner, outer = tracer.spans
    assert (inner.name, outer.name) == ("inner", "outer")
    assert (inner.trace_id, outer.trace_id) == (1, 1)
    assert (inner.parent_id, outer.parent_id) == (outer.span_id, 2)
    assert inner.attributes == {"hanseg.role": "ct"}
    assert [each.name for each in inner.events] == ["verdict"]
    assert outer.began <= inner.began <= inner.ended <= outer.ended


def test_a_step_that_fails_says_with_what_and_not_with_which_words():
    tracer = FakeTracer()
    with (
        pytest.raises(ValueError, match="Trillian"),
        part_of(tracer, 1, 2),
        step("check"),
    ):
        raise ValueError("Trillian")
    [span] = tracer.spans
    assert span.failed
    assert span.attributes == {"error.type": "ValueError"}
    assert "Trillian" not in repr(span)


def test_without_a_tracer_a_step_is_nothing():
    with part_of(NO_TRACER, 1, 2) as events, step("outer"):
        tell("verdict")
    assert events == []


def test_the_callers_trace_is_read():
    text = f"00-{JOB}-00f067aa0ba902b7-01"
    assert parse_traceparent(text) == SpanLink(int(JOB, 16), 0x00F067AA0BA902B7)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "Trillian",
        f"00-{JOB}-00f067aa0ba902b7",
        f"ff-{JOB}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{JOB}-{'0' * 16}-01",
        f"00-{JOB.upper()}-00f067aa0ba902b7-01",
        f"00-{JOB}-00f067aa0ba902b7-01-more",
    ],
)
def test_a_callers_trace_that_cannot_be_read_is_ignored(text):
    assert parse_traceparent(text) is None
