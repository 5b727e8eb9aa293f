"""Made-up requests for each operation, from callers with and without a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.openapi import from_asgi
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
from schemathesis.specs.openapi.schemas import OpenApiSchema
from starlette.types import Receive, Scope, Send

from hanseg_shared import access
from hanseg_shared.access import ApiKey
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.services import Services, open_tables
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.settings import Settings
from tests.api.fakes import CT, FakeWorker
from tests.api.requests import ending, new_job, new_webhook, upload
from tests.api.test_openapi import METHODS
from tests.jobs.fakes import FakePublisher

OpenApiOperation = Any
"""One of schemathesis's, whose type has four parameters that nobody names."""

Ask = Callable[[schemathesis.Case[Any]], object]
"""Sends a made-up request and judges the answer."""

ALWAYS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
"""What is true of each answer, whoever asks."""

CHECKS = [
    *ALWAYS,
    unsupported_method,
    allow_header_conformance,
    negative_data_rejection,
    missing_required_header,
]
"""What is true where everything is allowed."""

WITHOUT_KEYS = SchemathesisConfig.from_dict(
    {"generation": {"with-security-parameters": False}}
)
"""No keys are made up: those that are sent are a `Caller`'s."""

RESULT = "masks/Eye_AL.nii.gz"

STUDY = "1.2.826.0.1.3680043.8.498.1"

OPERATIONS = sorted(
    ((path, method) for path, methods in METHODS.items() for method in methods),
    key=lambda each: (each[1] == "delete", each),
)
"""Every path and method; what deletes things comes last."""

REFUSED = {401, 403, 404, 405, 413, 429}
"""What somebody whom a key lets do nothing may be answered, where a key is needed."""


class Caller(Enum):
    """With which key requests are sent, where keys are needed."""

    NONE = "no key"
    RIGHT = "the right key"
    WRONG = "a wrong key"
    SMALL = "a key with too small a scope"


@schemathesis.serializer("multipart/related")
def write_related(_: Any, value: Any) -> bytes:
    """Send whatever was made up as the one part of a transaction of STOW-RS."""
    content = value if isinstance(value, bytes) else str(value).encode()
    head = b"--edge\r\nContent-Type: application/dicom\r\n\r\n"
    return head + content + b"\r\n--edge--\r\n"


@dataclass
class Door:
    """An application that hands requests on to another, which may be exchanged.

    A schema is read once and asks many applications. To schemathesis they are one: it
    starts each application that it meets, and keeps it until the process ends.

    Attributes:
        app: Who gets the requests; it is started and stopped by who made it.
    """

    app: FastAPI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        for said in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{said}.complete"})


def read_schema(app: FastAPI) -> OpenApiSchema:
    """Return what the application's document promises, to be asked through a `Door`."""
    return from_asgi("/openapi.json", Door(app), config=WITHOUT_KEYS)


def takes_input(operation: OpenApiOperation) -> bool:
    """Whether requests of an operation differ, so that some can be amiss."""
    raw = operation.definition.raw
    return bool(raw.get("parameters")) or "requestBody" in raw


def report_workers(services: Services) -> None:
    """Let a worker of each queue be alive now."""
    for queue in QueueName:
        services.tables.workers.report_ready(queue, queue=queue, device="cpu")


def make_things(api: TestClient, worker: FakeWorker) -> dict[str, str]:
    """Return path parameters of things that exist; workers of both queues live."""
    report_workers(worker.services)
    batch = {"cases": [{"name": "a", "ct": upload(api, CT)}]}
    job_id = new_job(api)
    worker.succeed(job_id, {RESULT: b"a mask"})
    return {
        "job_id": job_id,
        "upload_id": upload(api, CT),
        "batch_id": str(api.post("/v1/batches", json=batch).json()["id"]),
        "webhook_id": new_webhook(api),
        "name": RESULT,
        "organ": "Eye_AL",
        "template_name": "default",
        "version": "1",
        "study": STUDY,
        "image": "ct.nii.gz",
        "sheet": "0" * 64,
        "file_name": "commissioning.pdf",
    }


def headers_of(caller: Caller, services: Services) -> dict[str, str]:
    """Return what a caller sends beside a request: a key, unless it has none."""
    keys = services.tables.api_keys
    match caller:
        case Caller.NONE:
            return {}
        case Caller.RIGHT:
            key = keys.create("anna", frozenset(access.Scope))
        case Caller.SMALL:
            key = keys.create("anna", frozenset({access.Scope.REVIEW}))
        case Caller.WRONG:
            key = ApiKey.generate()
    return {"Authorization": f"Bearer {key.text}"}


@dataclass(frozen=True)
class Asking:
    """How requests are made up, and how many.

    Attributes:
        examples: For each operation and mode.
        seed: Where chance begins; None for the same requests each time.
    """

    examples: int
    seed: int | None = None


def open_services(data: Path, **changes: Any) -> Services:
    """Return services on SQLite, without a broker that anybody hears.

    Args:
        data: The data folder.
        **changes: Settings that differ.
    """
    chosen = Settings(
        data=data,
        min_free_bytes=0,
        hosts=("testserver",),
        max_upload_bytes=256 * 1024,
        **changes,
    )
    tables, store = open_tables(chosen), PayloadStore(chosen.store)
    assert store.bind(tables.installation.identity())
    return Services(tables, store, FakePublisher(), chosen)


def ask(
    operation: OpenApiOperation,
    mode: GenerationMode,
    things: Mapping[str, str],
    asking: Asking,
    send: Ask,
) -> None:
    """Send made-up requests; about half of the paths lead to things that exist.

    An operation that takes no input has none that do not fit its schema.
    """
    if mode is GenerationMode.NEGATIVE and not takes_input(operation):
        return

    @settings(
        max_examples=asking.examples,
        deadline=None,
        derandomize=asking.seed is None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), exists=st.booleans())
    def run(case: schemathesis.Case[Any], exists: bool) -> None:
        if exists:
            known: dict[str, Any] = {
                name: things[name] for name in case.path_parameters or {}
            }
            case.path_parameters = known
        send(case)

    door: Door = operation.schema.app
    with ending(door.app, operation.path):
        (run if asking.seed is None else seed(asking.seed)(run))()


def sending_as(
    caller: Caller, headers: Mapping[str, str], operation: OpenApiOperation
) -> Ask:
    """Return what sends a request with a caller's key and judges the answer."""
    is_open = "security" not in operation.definition.raw

    def send(case: schemathesis.Case[Any]) -> None:
        checks = CHECKS if caller is Caller.RIGHT else ALWAYS
        answer = case.call_and_validate(checks=checks, headers=dict(headers))
        refuses = caller is Caller.NONE or caller is Caller.WRONG
        if refuses and not is_open:
            assert answer.status_code in REFUSED, answer.status_code

    return send
