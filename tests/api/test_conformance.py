"""Schemathesis asks what the OpenAPI document allows, and much that it does not.

Every operation gets a bounded number of made-up requests, the same ones each time.
Paths lead to things that exist about half of the time, so that requests get far.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.openapi import from_asgi
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from hanseg_shared.jobs.messages import QueueName
from tests.api.fakes import CT, FakeWorker
from tests.api.requests import new_job, upload
from tests.api.test_openapi import METHODS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    unsupported_method,
    allow_header_conformance,
    negative_data_rejection,
    missing_required_header,
]

EXAMPLES = 15
"""Requests for each operation and kind (fitting, and not fitting, the schema)."""

RESULT = "masks/Eye_AL.nii.gz"

WITHOUT_INPUT = {"/livez", "/readyz", "/metrics", "/v1/organs", "/v1/models"}

REQUESTS = [
    pytest.param(path, method, mode, id=f"{method}-{path}-{mode.value}")
    for path, methods in METHODS.items()
    for method in sorted(methods)
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or path not in WITHOUT_INPUT
]


@pytest.fixture
def things(api, worker: FakeWorker) -> dict[str, str]:
    """Path parameters of things that exist; workers of both queues live."""
    for queue in QueueName:
        worker.services.tables.workers.report_ready(queue, queue=queue, device="cpu")
    batch = {"cases": [{"name": "a", "ct": upload(api, CT)}]}
    job_id = new_job(api)
    worker.succeed(job_id, {RESULT: b"a mask"})
    return {
        "job_id": job_id,
        "upload_id": upload(api, CT),
        "batch_id": str(api.post("/v1/batches", json=batch).json()["id"]),
        "name": RESULT,
    }


@pytest.fixture
def schema(app: FastAPI, things: dict[str, str]) -> BaseSchema:
    return from_asgi("/openapi.json", app)


@pytest.mark.parametrize(("path", "method", "mode"), REQUESTS)
def test_an_operation_keeps_its_promises(
    schema: BaseSchema,
    things: dict[str, str],
    path: str,
    method: str,
    mode: GenerationMode,
):
    operation = schema[path][method.upper()]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), exists=st.booleans())
    def ask(case: schemathesis.Case[Any], exists: bool) -> None:
        if exists:
            known: dict[str, Any] = {
                name: things[name] for name in case.path_parameters or {}
            }
            case.path_parameters = known
        case.call_and_validate(checks=CHECKS)

    ask()
