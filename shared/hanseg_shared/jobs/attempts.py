"""A worker's attempt at a stage as spans of the job's trace: its wait, its end, why.

A stage's span is written by the attempt that ends it; one that was killed writes
nothing, and the reconciler that finds it says so (`tell_lease_lost`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.traces import (
    Span,
    SpanEvent,
    Tracer,
    Value,
    named,
    part_of,
    span_id_of,
    submission_id,
    tell,
    trace_id_of,
)

OVER = frozenset({"done", "failed", "cancelled"})
"""Outcomes that end a stage; after the others it is tried again."""

_OUTCOME = "hanseg.outcome"


@contextmanager
def trace_attempt(tracer: Tracer, job: Job, stage: Stage) -> Iterator[None]:
    """Have what the body does be an attempt at a stage of a job that was claimed."""
    if not tracer.is_on:
        yield
        return
    trace_id, stage_id = trace_id_of(job.id), _stage_id(job.id, stage)
    attempt_id = span_id_of(job.id, "attempt", job.total_attempts)
    tracer.take(_wait_of(job, stage, trace_id, stage_id))
    began = job.updated_at  # the claim, on the database's clock as all of a row
    offset = began - time.time()
    error, events = "", list[SpanEvent]()
    try:
        with part_of(tracer, trace_id, attempt_id) as events:
            yield
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        outcome = _outcome_of(events, error)
        told = _told(job, stage, outcome) | ({"error.type": error} if error else {})
        failed, ended = outcome != "done", max(began, time.time() + offset)
        attempt = Span(
            "attempt",
            trace_id,
            attempt_id,
            stage_id,
            began,
            ended,
            told,
            tuple(events),
            failed=failed,
        )
        tracer.take(attempt)
        if outcome in OVER:
            tracer.take(_stage_of(job, stage, attempt, failed=failed))


def tell_outcome(outcome: str, **attributes: Value) -> None:
    """Note how the attempt that is going on has ended."""
    tell(outcome, outcome=outcome, **attributes)


def tell_findings(result: StageResult) -> None:
    """Note the verdict and how often each flag was raised, as codes."""
    if result.registration is not None:
        tell("verdict", verdict=result.registration.verdict.value)
    counts = Counter(
        flag.code.value for organ in result.organs or () for flag in organ.flags
    )
    for code, count in sorted(counts.items()):
        tell(f"flag {code}", flags=count)


def tell_lease_lost(tracer: Tracer, job: Job, *, failed: bool) -> None:
    """Write down that a worker lost a job, which it cannot do itself."""
    if not tracer.is_on:
        return
    now = job.updated_at
    attributes = named({"job": job.id, "attempt": job.total_attempts})
    tracer.take(
        Span(
            "lease lost",
            trace_id_of(job.id),
            span_id_of(job.id, "lease lost", job.total_attempts),
            span_id_of(job.id, "attempt", job.total_attempts),
            now,
            now,
            attributes | {_OUTCOME: "failed" if failed else "due again"},
            (SpanEvent("lease lost", now),),
            failed=True,
        )
    )


def _stage_id(job_id: str, stage: Stage) -> int:
    return span_id_of(job_id, "stage", stage.state.value)


def _wait_of(job: Job, stage: Stage, trace_id: int, stage_id: int) -> Span:
    """Return the time that the job waited in a queue, as far as its row tells it."""
    is_first = stage is Stage.REGISTER and job.total_attempts == 1
    claimed = job.updated_at
    since = job.created_at if is_first else job.published_at
    return Span(
        "queue",
        trace_id,
        span_id_of(job.id, "queue", job.total_attempts),
        submission_id(job.id) if job.attempts == 1 else stage_id,
        min(since or claimed, claimed),
        claimed,
        named({"stage": stage.state.value, "attempt": job.attempts}),
    )


def _stage_of(job: Job, stage: Stage, attempt: Span, *, failed: bool) -> Span:
    began = job.stage_started_at or attempt.began
    return Span(
        stage.state.value,
        attempt.trace_id,
        _stage_id(job.id, stage),
        submission_id(job.id),
        min(began, attempt.began),
        attempt.ended,
        {**attempt.attributes, "hanseg.attempts": job.attempts},
        failed=failed,
    )


def _told(job: Job, stage: Stage, outcome: str) -> dict[str, Value]:
    return named(
        {
            "job": job.id,
            "stage": stage.state.value,
            "attempt": job.total_attempts,
            "outcome": outcome,
        }
    )


def _outcome_of(events: list[SpanEvent], error: str) -> str:
    """Return how the attempt ended: what was noted last."""
    for event in reversed(events):
        if _OUTCOME in event.attributes:
            return str(event.attributes[_OUTCOME])
    return "given back" if error else "unknown"
