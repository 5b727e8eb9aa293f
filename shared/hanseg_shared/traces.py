"""What a job went through, as spans: what began when and ended when, under its id.

A trace has the id of its job, so that every process knows it from the row. So do the
spans that others are part of: their ids are hashes of the job's. Nothing here knows
where spans go; without a tracer they go nowhere, and cost nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

Value = str | int | float | bool

ATTRIBUTES = frozenset(
    {
        "hanseg.job",
        "hanseg.stage",
        "hanseg.attempt",
        "hanseg.attempts",
        "hanseg.outcome",
        "hanseg.role",
        "hanseg.dicom",
        "hanseg.again_later",
        "hanseg.verdict",
        "hanseg.flags",
        "hanseg.problem",
        "hanseg.request",
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "code",
    }
)
"""What a span may say. Each is an id, a number or one of a few words that the service
itself chooses; others are left out, so that nothing of a patient is among them."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class SpanLink:
    """A span of another trace, such as the caller's own."""

    trace_id: int
    span_id: int


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at one moment of a span, in seconds since 1970."""

    name: str
    at: float
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took from one moment to another, in seconds since 1970."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    began: float
    ended: float
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    failed: bool = False


class Tracer(Protocol):
    """Where spans go."""

    @property
    def is_on(self) -> bool:
        """Whether anybody wants them."""

    def take(self, span: Span) -> None:
        """Send a span on its way; never waits, and never raises."""

    def close(self) -> None:
        """Send what is left, if that can be done at once."""


class NoTracer:
    """What is there unless a collector is named: nobody wants spans."""

    is_on = False

    def take(self, span: Span) -> None:
        """Forget it."""

    def close(self) -> None:
        """Do nothing."""


NO_TRACER = NoTracer()


def trace_id_of(job_id: str) -> int:
    """Return the id of a job's trace, which is the job's own: 32 hexadecimal digits."""
    try:
        found = int(job_id, 16) if len(job_id) == 32 else 0
    except ValueError:
        found = 0
    return found or _hash(job_id, 16)


def span_id_of(job_id: str, *parts: str | int) -> int:
    """Return the id of a span that every process can name, such as a stage's."""
    return _hash("\n".join((job_id, *(str(part) for part in parts))), 8)


def _hash(text: str, size: int) -> int:
    digest = hashlib.sha256(text.encode()).digest()[:size]
    return int.from_bytes(digest, "big") or 1


def submission_id(job_id: str) -> int:
    """Return the id of the span that is the root of a job's trace: its submission."""
    return span_id_of(job_id, "submission")


def parse_traceparent(text: str | None) -> SpanLink | None:
    """Return the span that a caller names (W3C Trace Context), None if it names none.

    One that cannot be read is ignored, as the standard asks for.
    """
    found = _TRACEPARENT.fullmatch(text or "")
    if found is None or (text or "").startswith("ff"):
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return SpanLink(trace_id, span_id) if trace_id and span_id else None


@dataclass(frozen=True, slots=True)
class _Place:
    """What a step is part of."""

    tracer: Tracer
    trace_id: int
    span_id: int
    events: list[SpanEvent]


_PLACE: ContextVar[_Place | None] = ContextVar("trace_place", default=None)


@contextmanager
def part_of(tracer: Tracer, trace_id: int, span_id: int) -> Iterator[list[SpanEvent]]:
    """Have the steps of the body be parts of a span; yield the events that it gets."""
    events: list[SpanEvent] = []
    if not tracer.is_on:
        yield events
        return
    token = _PLACE.set(_Place(tracer, trace_id, span_id, events))
    try:
        yield events
    finally:
        _PLACE.reset(token)


@contextmanager
def step(name: str, **attributes: Value) -> Iterator[None]:
    """Have what the body does be a span, if it is part of one.

    Args:
        name: One of few.
        **attributes: Their names without ``hanseg.``.
    """
    place = _PLACE.get()
    if place is None:
        yield
        return
    span_id, began, error = secrets.randbits(64) or 1, time.time(), ""
    try:
        with part_of(place.tracer, place.trace_id, span_id) as events:
            yield
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        told = named(attributes) | ({"error.type": error} if error else {})
        place.tracer.take(
            Span(
                name,
                place.trace_id,
                span_id,
                place.span_id,
                began,
                time.time(),
                told,
                tuple(events),
                failed=bool(error),
            )
        )


def tell(event: str, **attributes: Value) -> None:
    """Note what has happened just now in the span that is going on, if one is."""
    place = _PLACE.get()
    if place is not None:
        place.events.append(SpanEvent(event, time.time(), named(attributes)))


def named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    """Return attributes under their full names."""
    return {f"hanseg.{name}": value for name, value in attributes.items()}
