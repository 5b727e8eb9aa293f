"""The application on SQLite, with a fake broker, a fake checker and fake workers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_segmentation.api.context import Pace
from hanseg_segmentation.api.server import Server, configure, listen
from hanseg_segmentation.packages.package import ModelPackage, NetworkSpec
from hanseg_shared.jobs.services import Services, open_tables
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.organs import Evidence
from hanseg_shared.review.hand_on import write_signed
from hanseg_shared.review.sandbox import compare_files
from hanseg_shared.settings import Settings
from tests.api.fakes import FakeChecker, FakeConverter, FakeWorker
from tests.api.running import Running
from tests.jobs.fakes import FakePublisher

FAST = Pace(poll=0.005, keep_alive=0.02, longest_wait=2)


def settings_of(data: Path) -> Settings:
    return Settings(
        data=data,
        min_free_bytes=0,
        hosts=("testserver",),
        max_upload_bytes=256 * 1024,
        max_unfinished_jobs=5,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "data")


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@contextmanager
def opened(settings: Settings, publisher: FakePublisher) -> Iterator[Services]:
    tables = open_tables(settings)
    store = PayloadStore(settings.store)
    assert store.bind(tables.installation.identity())
    yield Services(tables, store, publisher, settings)
    tables.close()


@pytest.fixture
def services(settings: Settings, publisher: FakePublisher) -> Iterator[Services]:
    with opened(settings, publisher) as found:
        yield found


def write_models(folder: Path) -> Path:
    """Write a folder with one model package, whose weights no network takes."""
    weights = b"weights for tests"
    package = ModelPackage(
        name="default",
        version="1.0",
        licence="MIT",
        description="A model for tests.",
        spacing_mm=(3.0, 3.0, 3.0),
        patch=(64, 64, 64),
        labels={"Brainstem": 1},
        evidence={"Brainstem": Evidence.PHANTOM},
        network=NetworkSpec(kind="none"),
        sha256=hashlib.sha256(weights).hexdigest(),
    )
    (folder / "default").mkdir(parents=True)
    (folder / "default" / package.weights).write_bytes(weights)
    (folder / "default" / "model.json").write_text(package.model_dump_json())
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models")


@pytest.fixture
def checker() -> FakeChecker:
    return FakeChecker()


@pytest.fixture
def converter() -> FakeConverter:
    return FakeConverter()


def make_app(
    services: Services, models: Path, checker: FakeChecker, converter: FakeConverter
) -> FastAPI:
    made = create_app(
        services,
        check_case=checker,
        convert_case=converter,
        compare=compare_files,
        write_signed=write_signed,
        model_folders=[models],
        pace=FAST,
        reconcile=False,
    )
    made.state.metrics.cache_seconds = 0.0
    return made


@pytest.fixture
def app(
    services: Services, models: Path, checker: FakeChecker, converter: FakeConverter
) -> FastAPI:
    return make_app(services, models, checker, converter)


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.fixture
def worker(services: Services) -> FakeWorker:
    return FakeWorker(services)


@pytest.fixture
def running(app: FastAPI, settings: Settings) -> Iterator[Running]:
    listener = listen(settings.model_copy(update={"port": 0}))
    config = configure(app, grace_seconds=5)
    server = Server(config, stopping=app.state.context.stopping)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    found = Running(listener.getsockname()[1], server, thread)
    yield found
    found.stop()
    listener.close()
