"""Schemathesis asks what the OpenAPI document allows, and much that it does not.

Every operation gets a bounded number of made-up requests, the same ones each time.
Paths lead to things that exist about half of the time, so that requests get far.
`make fuzz` goes on for minutes with others.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from schemathesis import GenerationMode, serializer
from schemathesis.specs.openapi.schemas import OpenApiSchema

from hanseg_segmentation.api.app import create_app
from hanseg_shared.access import Scope
from hanseg_shared.jobs.services import Services
from hanseg_shared.settings import Settings
from tests.api.conformance import (
    CHECKS,
    OPERATIONS,
    Asking,
    Caller,
    ask,
    headers_of,
    make_things,
    read_schema,
    report_workers,
    sending_as,
)
from tests.api.conftest import make_app, opened, settings_of, write_models
from tests.api.fakes import FakeChecker, FakeConverter, FakeWorker
from tests.jobs.fakes import FakePublisher

serializer.alias("application/gzip", "application/octet-stream")  # bytes are bytes

EXAMPLES = 10
"""Requests for each operation and kind (fitting, and not fitting, the schema)."""

EXAMPLES_A_CALLER = 2
"""The same, for each kind of key."""

REQUESTS = [
    pytest.param(path, method, mode, id=f"{method}-{path}-{mode.value}")
    for path, method in OPERATIONS
    for mode in GenerationMode
]


@dataclass(frozen=True)
class Furnished:
    """A data folder in which there is one thing of each kind, and what it promises."""

    data: Path
    things: dict[str, str]
    schema: OpenApiSchema


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    """Made once; each test works on a copy, and asks its own application."""
    folder = tmp_path_factory.mktemp("furnished")
    with opened(settings_of(folder / "data"), FakePublisher()) as services:
        models = write_models(folder / "models")
        app = make_app(services, models, FakeChecker(), FakeConverter())
        with TestClient(app) as api:
            things = make_things(api, FakeWorker(services))
        schema = read_schema(app)
    return Furnished(folder / "data", things, schema)


@pytest.fixture
def settings(settings: Settings, furnished: Furnished) -> Settings:
    shutil.copytree(furnished.data, settings.data)
    return settings


@pytest.fixture
def things(furnished: Furnished, worker: FakeWorker) -> dict[str, str]:
    report_workers(worker.services)
    return furnished.things


@pytest.fixture
def schema(furnished: Furnished, app: FastAPI, api: TestClient) -> OpenApiSchema:
    return asking(furnished.schema, app)


def asking(schema: OpenApiSchema, app: FastAPI) -> OpenApiSchema:
    """Let the schema ask this application."""
    schema.app.app = app
    return schema


@pytest.mark.parametrize(("path", "method", "mode"), REQUESTS)
def test_an_operation_keeps_its_promises(
    schema: OpenApiSchema,
    things: dict[str, str],
    path: str,
    method: str,
    mode: GenerationMode,
):
    ask(
        schema[path][method.upper()],
        mode,
        things,
        Asking(EXAMPLES),
        lambda case: case.call_and_validate(checks=CHECKS),
    )


def locked_app(services: Services, models: Path) -> FastAPI:
    """Return the application where everybody needs a key."""
    locked = services.settings.model_copy(
        update={"access": "keys", "key_requests_per_second": 1e6}
    )
    return create_app(
        replace(services, settings=locked),
        check_case=FakeChecker(),
        model_folders=[models],
        reconcile=False,
    )


@pytest.mark.parametrize("caller", Caller, ids=lambda each: each.value)
def test_where_keys_are_needed_every_operation_keeps_its_promises(
    furnished: Furnished,
    services: Services,
    models: Path,
    worker: FakeWorker,
    caller: Caller,
):
    app = locked_app(services, models)
    owners = services.tables.api_keys.create("anna", frozenset(Scope)).text
    with TestClient(app, headers={"Authorization": f"Bearer {owners}"}) as api:
        things = make_things(api, worker)
        headers = headers_of(caller, services)
        faults = list(faults_of(asking(furnished.schema, app), caller, headers, things))
    assert not faults, "\n\n".join(faults)


def faults_of(
    schema: OpenApiSchema,
    caller: Caller,
    headers: dict[str, str],
    things: dict[str, str],
) -> Iterator[str]:
    """Yield the promises that are not kept, of all operations."""
    for path, method in OPERATIONS:
        operation = schema[path][method.upper()]
        send = sending_as(caller, headers, operation)
        for mode in GenerationMode:
            try:
                ask(operation, mode, things, Asking(EXAMPLES_A_CALLER), send)
            except Exception as error:  # noqa: BLE001 - all are to be seen at once
                yield f"{method} {path} {mode.value}: {error}"


def test_keys_change_no_promise(furnished: Furnished, services: Services, models: Path):
    assert locked_app(services, models).openapi() == furnished.schema.raw_schema


def test_a_wrong_key_that_opened_something_would_be_noticed(
    furnished: Furnished, services: Services, models: Path
):
    app = locked_app(services, models)
    headers = headers_of(Caller.RIGHT, services)
    operation = asking(furnished.schema, app)["/v1/jobs"]["GET"]
    send = sending_as(Caller.WRONG, headers, operation)
    with TestClient(app), pytest.raises(AssertionError, match="200"):
        ask(operation, GenerationMode.POSITIVE, {}, Asking(5), send)
