"""Spans on their way: what they hold, a collector that is gone, none at all."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from hanseg_shared.errors import OptionError
from hanseg_shared.otlp import OtlpTracer, open_tracer, to_opentelemetry
from hanseg_shared.settings import Settings
from hanseg_shared.traces import NO_TRACER, Span, SpanEvent, SpanLink
from tests.traces.collector import attributes_of, running_collector

NAME = "Trillian^Astra"


def span(**changes: Any) -> Span:
    values = {
        "name": "check",
        "trace_id": 0xA,
        "span_id": 0xB,
        "parent_id": 0xC,
        "began": 1_700_000_000.0,
        "ended": 1_700_000_002.5,
    }
    return Span(**{**values, **changes})


def test_a_span_arrives_as_opentelemetry_has_it():
    exporter = InMemorySpanExporter()
    tracer = OtlpTracer(exporter, "hanseg-api")
    event = SpanEvent("verdict", 1_700_000_001.0, {"hanseg.verdict": "used"})
    tracer.take(
        span(
            attributes={"hanseg.role": "ct"},
            events=(event,),
            links=(SpanLink(0xD, 0xE),),
            failed=True,
        )
    )
    tracer.close()
    [found] = exporter.get_finished_spans()
    assert (found.context.trace_id, found.context.span_id) == (0xA, 0xB)
    assert found.parent is not None
    assert found.parent.span_id == 0xC
    assert (found.start_time, found.end_time) == (17 * 10**17, 1700000002500000000)
    assert dict(found.attributes or {}) == {"hanseg.role": "ct"}
    assert dict(found.events[0].attributes or {}) == {"hanseg.verdict": "used"}
    assert found.links[0].context.span_id == 0xE
    assert found.status.status_code is StatusCode.ERROR
    assert found.resource.attributes["service.name"] == "hanseg-api"


def test_only_a_submission_has_no_parent():
    found = to_opentelemetry(span(parent_id=None), Resource({}))
    assert found.parent is None
    assert found.kind is SpanKind.SERVER


def test_attributes_that_nobody_declared_are_left_out():
    found = to_opentelemetry(span(attributes={"case": "Trillian"}), Resource({}))
    assert dict(found.attributes or {}) == {}


def test_what_looks_like_a_name_is_masked_everywhere():
    event = SpanEvent(f"at {NAME}", 0.0, {"hanseg.problem": NAME})
    told = {"hanseg.role": NAME, "http.route": f"/home/{NAME}.nii.gz"}
    spoilt = span(name=f"of {NAME}", attributes=told, events=(event,))
    found = to_opentelemetry(spoilt, Resource({})).to_json()
    assert "Trillian" in repr(spoilt)  # the control: it was there
    assert "Trillian" not in found
    assert found.count("[masked]") >= 4


def test_a_collector_gets_spans_by_http():
    with running_collector() as collector:
        settings = Settings.model_validate({"traces_url": collector.url})
        tracer = open_tracer(settings, "hanseg-segmentation")
        tracer.take(span(attributes={"hanseg.attempt": 2}))
        tracer.close()
        [found] = collector.wait_for("check")
    assert collector.paths == {"/v1/traces"}
    assert found.trace_id == bytes(15) + b"\x0a"
    assert attributes_of(found) == {"hanseg.attempt": 2}
    [resource] = collector.requests[0].resource_spans
    assert attributes_of(resource.resource)["service.name"] == "hanseg-segmentation"


class Stuck(SpanExporter):
    """A collector that never answers."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.asked.set()
        self.let_go.wait(20)
        return SpanExportResult.FAILURE


def test_a_collector_that_hangs_costs_neither_time_nor_memory():
    stuck = Stuck()
    tracer = OtlpTracer(stuck, "hanseg-api", most_waiting=64, every_seconds=0.01)
    tracer.take(span())
    assert stuck.asked.wait(10)
    began = time.perf_counter()
    for number in range(5000):
        tracer.take(span(span_id=number + 1))
    taken = time.perf_counter() - began
    began = time.perf_counter()
    tracer.close()
    closed = time.perf_counter() - began
    waiting = tracer._processor._batch_processor._queue
    stuck.let_go.set()
    assert taken < 5.0  # about 20 us each
    assert closed < 4.0
    assert len(waiting) <= 64


def test_a_collector_that_is_gone_is_told_once_and_again_when_it_is_back(caplog):
    answers = [SpanExportResult.FAILURE] * 3 + [SpanExportResult.SUCCESS] * 2

    class Away(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return answers.pop(0)

    tracer = OtlpTracer(Away(), "hanseg-api", every_seconds=60.0)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            tracer.take(span())
            tracer._processor.force_flush()
    here = threading.get_ident()  # tracers of other tests may have lost theirs too
    said = [each.getMessage() for each in caplog.records if each.thread == here]
    assert said == [
        "the collector of traces does not take spans: they are lost",
        "traces are sent again; 3 spans were lost",
    ]
    tracer.close()


def test_nobody_there_is_a_lost_span_and_a_line_in_the_log(caplog):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    tracer = open_tracer(Settings.model_validate({"traces_url": url}), "hanseg-api")
    began = time.perf_counter()
    tracer.take(span())
    assert time.perf_counter() - began < 0.5
    tracer.close()
    assert {each.name for each in caplog.records} <= {"hanseg_shared.otlp"}


def test_no_collector_is_asked_for_by_default():
    assert Settings().traces_url is None
    assert open_tracer(Settings(), "hanseg-api") is NO_TRACER


@pytest.mark.parametrize("url", ["collector:4318", "file:///etc", "grpc://collector"])
def test_an_address_that_is_none_of_the_web_is_refused(url):
    with pytest.raises(ValueError, match="begins with http"):
        Settings.model_validate({"traces_url": url})


WITHOUT = """
import sys
sys.modules |= dict.fromkeys(["opentelemetry.sdk", "opentelemetry.exporter"])
import hanseg_segmentation.api.server, hanseg_registration.worker
from hanseg_shared.otlp import open_tracer
from hanseg_shared.settings import Settings
assert open_tracer(Settings(), "x").is_on is False
try:
    open_tracer(Settings(traces_url="http://127.0.0.1:1"), "x")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_without_the_extra_nothing_is_missed_until_a_collector_is_named():
    run = [sys.executable, "-c", WITHOUT]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{OptionError.__name__} HANSEG_TRACES_URL is set, and ")
    assert "pip install 'hanseg-shared[traces]'" in said
