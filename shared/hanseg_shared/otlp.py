"""Spans on their way to a collector: OpenTelemetry's OTLP over HTTP, behind a queue.

The queue is bounded and emptied by a thread of its own: a collector that is slow or
gone costs spans, and never a job's time. OpenTelemetry is imported only here, and only
where a collector is named.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from hanseg_shared.errors import OptionError
from hanseg_shared.log_filter import mask_patient
from hanseg_shared.settings import Settings
from hanseg_shared.traces import ATTRIBUTES, NO_TRACER, Span, Tracer, Value
from hanseg_shared.versions import versions_of

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import AttributeValue

logger = logging.getLogger(__name__)

MOST_WAITING = 2048
"""How many spans wait for the collector; further ones are lost. A job has 15 to 40."""

MOST_AT_ONCE = 256
"""How many go in one request."""

EVERY_SECONDS = 2.0
"""How often what waits is sent."""

SEND_SECONDS = 5.0
"""How long the collector may take for one request, repetitions included."""

CLOSE_SECONDS = 2.0
"""How long a process that ends waits for the collector."""

PATH = "/v1/traces"
"""Where OTLP's traces go if the address has no path."""


def open_tracer(settings: Settings, service: str) -> Tracer:
    """Return what sends the spans of this process where the settings say.

    Args:
        settings: Those of this process.
        service: What the process is called there, such as ``hanseg-api``.

    Raises:
        OptionError: A collector is named, and OpenTelemetry is not installed.
    """
    if settings.traces_url is None:
        return NO_TRACER
    url = settings.traces_url.get_secret_value()
    if urlsplit(url).path in {"", "/"}:
        url = url.rstrip("/") + PATH
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )

        exporter = OTLPSpanExporter(endpoint=url, timeout=SEND_SECONDS)
        return OtlpTracer(exporter, service)
    except ModuleNotFoundError as error:
        raise OptionError(
            f"HANSEG_TRACES_URL is set, and {error.name} is not installed; install it "
            "with: pip install 'hanseg-shared[traces]', or remove the setting"
        ) from error


class OtlpTracer:
    """Sends spans to an exporter of OpenTelemetry.

    Args:
        exporter: Where they go.
        service: What this process is called there.
        most_waiting: How many may wait.
        every_seconds: How often they are sent.
    """

    is_on = True

    def __init__(
        self,
        exporter: SpanExporter,
        service: str,
        *,
        most_waiting: int = MOST_WAITING,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # it would repeat each failure, in words of its own
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        version = versions_of("hanseg-shared")["hanseg-shared"]
        self._resource = Resource({"service.name": service, "service.version": version})
        self._processor = BatchSpanProcessor(
            cast("SpanExporter", Watched(exporter)),
            max_queue_size=most_waiting,
            max_export_batch_size=min(MOST_AT_ONCE, most_waiting),
            schedule_delay_millis=1000.0 * every_seconds,
        )

    def take(self, span: Span) -> None:
        """Put a span into the queue; the oldest goes if it is full."""
        try:
            self._processor.on_end(to_opentelemetry(span, self._resource))
        except Exception:
            logger.exception("a span could not be written")

    def close(self) -> None:
        """Send what waits, for as long as `CLOSE_SECONDS`."""
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class Watched:
    """An exporter that says once that it cannot send, and once that it can again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that cannot be sent are lost."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - whatever it is, the spans are lost
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                logger.warning("traces are sent again; %d spans were lost", self._lost)
            self._lost = 0
            return result
        if not self._lost:
            logger.warning("the collector of traces does not take spans: they are lost")
        self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        """Send nothing more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter holds."""
        return self._exporter.force_flush(timeout_millis)


def to_opentelemetry(span: Span, resource: Resource) -> ReadableSpan:
    """Return a span as OpenTelemetry has it, without what could name a patient."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    is_root = span.parent_id is None
    return ReadableSpan(
        name=mask_patient(span.name),
        context=_context(span.trace_id, span.span_id),
        parent=None if is_root else _context(span.trace_id, span.parent_id or 0),
        resource=resource,
        attributes=_clean(span.attributes),
        events=[
            Event(mask_patient(each.name), _clean(each.attributes), _nano(each.at))
            for each in span.events
        ],
        links=[Link(_context(each.trace_id, each.span_id)) for each in span.links],
        kind=SpanKind.SERVER if is_root else SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
        start_time=_nano(span.began),
        end_time=_nano(span.ended),
        instrumentation_scope=InstrumentationScope("hanseg"),
    )


def _context(trace_id: int, span_id: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=sampled)


def _clean(attributes: Mapping[str, Value]) -> dict[str, AttributeValue]:
    """Return the attributes that a span may have, through the filter of the logs."""
    return {
        name: mask_patient(value) if isinstance(value, str) else value
        for name, value in attributes.items()
        if name in ATTRIBUTES
    }


def _nano(seconds: float) -> int:
    return int(seconds * 1e9)
