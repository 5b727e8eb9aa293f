"""A submission is the root of its job's trace, and its intake a part of it."""

from __future__ import annotations

import dataclasses

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.resources import Resource

from hanseg_segmentation.api.app import create_app
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import Workplace, work_on
from hanseg_shared.otlp import OtlpTracer, open_tracer
from hanseg_shared.settings import Settings
from hanseg_shared.traces import Span, SpanLink, submission_id, trace_id_of
from tests.api.conftest import FAST
from tests.api.fakes import CT, MR, NO_IMAGE, REPORT, FakeChecker, FakeConverter
from tests.api.requests import new_job, submit, upload
from tests.traces.collector import attributes_of, running_collector
from tests.traces.fakes import FakeTracer

CALLERS = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
NAME = "Trillian^Astra"


@pytest.fixture
def tracer() -> FakeTracer:
    return FakeTracer()


@pytest.fixture
def services(services: Services, tracer: FakeTracer) -> Services:
    return dataclasses.replace(services, tracer=tracer)


def test_a_submission_is_the_root_of_its_jobs_trace(api, tracer):
    job_id = new_job(api, mr=MR)
    root = tracer.one("submission")
    assert (root.trace_id, root.span_id) == (trace_id_of(job_id), submission_id(job_id))
    assert root.parent_id is None
    assert root.attributes["http.route"] == "/v1/jobs"
    assert root.attributes["http.response.status_code"] == 202
    assert root.attributes["hanseg.job"] == job_id
    assert not root.failed


def test_what_was_done_with_the_images_hangs_on_it(api, tracer):
    new_job(api)
    names = {span.name: span for span in tracer.spans}
    assert set(names) == {"submission", "prepare", "check", "store", "insert"}
    assert len({span.trace_id for span in tracer.spans}) == 1
    root = names["submission"]
    for name in ("prepare", "store", "insert"):
        assert names[name].parent_id == root.span_id
        assert root.began <= names[name].began <= names[name].ended <= root.ended
    assert names["check"].parent_id == names["prepare"].span_id


def test_the_conversion_of_dicom_is_a_step(api, tracer):
    new_job(api, ct=b"PK\3\4 CT")
    assert tracer.parent_of(tracer.one("convert")).attributes["hanseg.dicom"] is True


def test_the_callers_own_trace_is_linked(api, tracer):
    files = {"ct": ("ct", CT)}
    assert api.post(
        "/v1/jobs", files=files, headers={"traceparent": CALLERS}
    ).is_success
    assert tracer.one("submission").links == (
        SpanLink(0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7),
    )


def test_a_refused_submission_says_why_by_its_problem(api, tracer):
    assert submit(api, ct=NO_IMAGE).status_code == 422
    root = tracer.one("submission")
    assert root.failed
    assert root.attributes["hanseg.problem"] == "urn:hanseg:problem:not-an-image"
    assert tracer.one("check").failed


def test_each_job_of_a_batch_has_a_trace(api, tracer):
    cases = [{"name": name, "ct": upload(api, CT + name.encode())} for name in "ab"]
    assert api.post("/v1/batches", json={"cases": cases}).status_code == 202
    roots = tracer.named("submission")
    assert len({root.trace_id for root in roots}) == 2
    assert {span.trace_id for span in tracer.named("store")} == {
        root.trace_id for root in roots
    }


def test_other_requests_leave_no_trace(api, tracer):
    api.get("/v1/jobs")
    api.get("/livez")
    submit(api, ct=b"", key="x" * 300)
    assert tracer.spans == []


def run_planted_job(api: TestClient, services: Services) -> str:
    answer = api.post(
        "/v1/jobs",
        files={"ct": (f"{NAME}.nii.gz", CT)},
        data={"request": f'{{"case": "{NAME}"}}'},
        headers={"X-Patient": NAME, "traceparent": CALLERS, "tracestate": f"a={NAME}"},
    )
    assert answer.status_code == 202, answer.text
    job_id = str(answer.json()["id"])

    def fail(_: Workplace) -> StageResult:
        raise ValueError(f"{NAME} in /data/{NAME}.nii.gz")

    def register(place: Workplace) -> StageResult:
        place.fetch_input("ct")
        (place.folder / "out").mkdir()
        (place.folder / "out" / f"{NAME}.txt").write_text(NAME)
        return StageResult(
            registration=REPORT, intermediate=place.publish_files(place.folder / "out")
        )

    work_on(Stage.REGISTER, job_id, fail, services)
    work_on(Stage.REGISTER, job_id, register, services)
    return job_id


def test_a_job_is_one_trace_from_its_request_to_its_stages(services, models):
    with running_collector() as collector:
        settings = Settings.model_validate({"traces_url": collector.url})
        api_tracer = open_tracer(settings, "hanseg-api")
        app = create_app(
            dataclasses.replace(services, tracer=api_tracer),
            check_case=FakeChecker(),
            convert_case=FakeConverter(),
            model_folders=[models],
            pace=FAST,
            reconcile=False,
        )
        worker_tracer = open_tracer(settings, "hanseg-registration")
        with TestClient(app) as api:
            worker = dataclasses.replace(services, tracer=worker_tracer)
            job_id = run_planted_job(api, worker)
        api_tracer.close()
        worker_tracer.close()
        spans = collector.wait_for("submission", "registering", "attempt", "queue")

    assert {span.trace_id.hex() for span in spans} == {job_id}
    ids = {span.span_id for span in spans}
    [root] = [span for span in spans if not span.parent_span_id]
    assert root.name == "submission"
    assert root.links[0].trace_id.hex() == CALLERS.split("-")[1]
    assert {span.parent_span_id for span in spans if span is not root} <= ids
    outcomes = [
        attributes_of(span)["hanseg.outcome"]
        for span in spans
        if span.name == "attempt"
    ]
    assert sorted(outcomes) == ["done", "put off"]
    services_named = {
        attributes_of(each.resource)["service.name"]
        for request in collector.requests
        for each in request.resource_spans
    }
    assert services_named == {"hanseg-api", "hanseg-registration"}
    sent = b"".join(collector.bodies)
    assert job_id.encode() in sent  # the control: such a search finds what is there
    assert b"Trillian" not in sent


def test_the_search_would_find_a_name_that_was_sent():
    with running_collector() as collector:
        settings = Settings.model_validate({"traces_url": collector.url})
        tracer = open_tracer(settings, "hanseg-api")
        assert isinstance(tracer, OtlpTracer)
        tracer._resource = Resource({"service.name": NAME})
        tracer.take(Span("check", 1, 2, 3, 0.0, 1.0))
        tracer.close()
        collector.wait_for("check")
    assert b"Trillian" in b"".join(collector.bodies)
