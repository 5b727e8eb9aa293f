"""Attempts as spans: a wait, an attempt, its steps, and the stage once it is over."""

from __future__ import annotations

import dataclasses

import pytest

from hanseg_shared.documents import MrVerdict, OrganResult, RegistrationReport
from hanseg_shared.errors import ImageContentError, ProcessLostError
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import Workplace, work_on
from hanseg_shared.organs import ORGANS, OrganStatus
from hanseg_shared.traces import submission_id, trace_id_of
from tests.jobs.fakes import PROBLEM, claim, new_job, watch
from tests.traces.fakes import FakeTracer


@pytest.fixture
def tracer() -> FakeTracer:
    return FakeTracer()


@pytest.fixture
def traced(services: Services, tracer: FakeTracer) -> Services:
    return dataclasses.replace(services, tracer=tracer)


def do_nothing(_: Workplace) -> StageResult:
    return StageResult()


def raising(error: Exception):
    def body(_: Workplace) -> StageResult:
        raise error

    return body


def test_three_stages_are_one_trace(traced, tables, tracer):
    job = new_job(tables)
    for stage in Stage:
        work_on(stage, job.id, do_nothing, traced)

    assert {span.trace_id for span in tracer.spans} == {trace_id_of(job.id)}
    for stage in Stage:
        over = tracer.one(stage.state.value)
        assert over.parent_id == submission_id(job.id)
        assert not over.failed
        assert over.attributes["hanseg.outcome"] == "done"
    attempts = tracer.named("attempt")
    assert [tracer.parent_of(each).name for each in attempts] == [
        stage.state.value for stage in Stage
    ]
    assert len({span.span_id for span in tracer.spans}) == len(tracer.spans)
    assert {tracer.parent_of(each).name for each in tracer.named("publish")} == {
        "attempt"
    }


def test_the_wait_in_the_queue_is_a_span(traced, tables, tracer, clock):
    job = new_job(tables)
    clock.advance(42.0)
    work_on(Stage.REGISTER, job.id, do_nothing, traced)
    clock.advance(7.0)
    work_on(Stage.SEGMENT, job.id, do_nothing, traced)
    first, second = tracer.named("queue")
    assert (first.began, first.ended - first.began) == (job.created_at, 42.0)
    assert second.ended - second.began == pytest.approx(7.0)


def test_an_attempt_that_is_put_off_leaves_the_stage_open(traced, tables, tracer):
    job = new_job(tables)
    body = raising(ProcessLostError("the child was killed"))
    work_on(Stage.REGISTER, job.id, body, traced)
    attempt = tracer.one("attempt")
    assert attempt.failed
    assert attempt.attributes["hanseg.outcome"] == "put off"
    assert tracer.one("body").attributes["error.type"] == "ProcessLostError"
    assert tracer.named("registering") == []

    work_on(Stage.REGISTER, job.id, do_nothing, traced)
    first, second = tracer.named("attempt")
    assert (
        first.attributes["hanseg.attempt"],
        second.attributes["hanseg.attempt"],
    ) == (1, 2)
    over = tracer.one("registering")
    assert (first.parent_id, second.parent_id) == (over.span_id, over.span_id)
    assert over.attributes["hanseg.attempts"] == 2


def test_a_failure_is_told_by_its_problem_and_not_in_its_words(traced, tables, tracer):
    job = new_job(tables, case_name="Trillian")
    body = raising(ImageContentError("Trillian's CT shows nothing"))
    work_on(Stage.SEGMENT, job.id, body, traced)
    work_on(Stage.REGISTER, job.id, body, traced)
    over = tracer.one("registering")
    assert over.failed
    assert over.attributes["hanseg.outcome"] == "failed"
    [told] = tracer.one("attempt").events
    assert told.attributes["hanseg.problem"] == "urn:hanseg:problem:bad-image-content"
    assert "Trillian" not in repr(tracer.spans)


def test_verdict_and_flags_are_events(traced, tables, tracer):
    job = new_job(tables)
    report = RegistrationReport(verdict=MrVerdict.REJECTED, reason="it does not match")
    flag = Flag(code=FlagCode.SMALL_VOLUME, ml=1.0, limit=2.0)
    organs = tuple(
        OrganResult(
            name=each.name,
            label=each.label,
            status=OrganStatus.CONTOURED,
            volume_ml=1.0,
            flags=(flag,) if each.label < 3 else (),
        )
        for each in ORGANS
    )
    result = StageResult(registration=report, organs=organs)
    work_on(Stage.REGISTER, job.id, lambda _: result, traced)
    verdict, flags, _ = tracer.one("attempt").events
    assert (verdict.name, verdict.attributes) == (
        "verdict",
        {"hanseg.verdict": "rejected"},
    )
    assert (flags.name, flags.attributes) == (
        f"flag {FlagCode.SMALL_VOLUME.value}",
        {"hanseg.flags": 2},
    )


def test_a_worker_that_died_is_written_down_by_the_reconciler(
    traced, tables, tracer, reconciler, clock
):
    reconciler.services = traced
    job = claim(tables, new_job(tables))
    watch(reconciler, clock, 60.0)
    lost = tracer.one("lease lost")
    assert lost.trace_id == trace_id_of(job.id)
    assert lost.attributes["hanseg.outcome"] == "due again"
    assert [event.name for event in lost.events] == ["lease lost"]


def test_a_lease_that_was_lost_meanwhile_is_an_outcome(traced, tables, tracer):
    job = new_job(tables)

    def lose(place: Workplace) -> StageResult:
        holds = tables.claims.list_holds()
        tables.claims.release_lost(holds, attempts=3, problem=PROBLEM)
        return StageResult()

    work_on(Stage.REGISTER, job.id, lose, traced)
    assert tracer.one("attempt").attributes["hanseg.outcome"] == "lease lost"
    assert tracer.named("registering") == []


def test_nobody_who_wants_no_spans_gets_any(services, tables):
    tracer = FakeTracer(is_on=False)
    quiet = dataclasses.replace(services, tracer=tracer)
    work_on(Stage.REGISTER, new_job(tables).id, do_nothing, quiet)
    assert tracer.spans == []
