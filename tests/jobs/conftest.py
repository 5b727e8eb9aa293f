"""A database on SQLite, and on PostgreSQL where there is one; each test its own."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hanseg_shared.jobs.reconciler import Reconciler
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.sweeper import Sweeper
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.settings import Settings
from tests.jobs.fakes import FakeClock, FakePublisher

RETENTION_SECONDS = 3600.0


@pytest.fixture
def postgres_url() -> str:
    """The address of the tests' server."""
    return address_of_postgres()


def address_of_postgres() -> str:
    """Return the address of the tests' server; skip the test if there is none."""
    url = os.environ.get("HANSEG_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("HANSEG_TEST_POSTGRES_URL names no PostgreSQL server")
    return url


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
)
def database(request, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'jobs.sqlite'}"
        return
    url = address_of_postgres()
    schema = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    yield f"{url}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))
    engine.dispose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tables(database: str, clock: FakeClock) -> Iterator[Tables]:
    """The tables of a database whose time is the fake clock's."""
    opened = Tables.of(
        open_database(database, clock=clock), retention_seconds=RETENTION_SECONDS
    )
    yield opened
    opened.close()


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def services(tables: Tables, publisher: FakePublisher, settings: Settings) -> Services:
    store = PayloadStore(settings.store)
    assert store.bind(tables.installation.identity())
    return Services(tables, store, publisher, settings)


@pytest.fixture
def reconciler(services: Services, clock: FakeClock) -> Reconciler:
    return Reconciler(services, steady=clock.steady, most_step_seconds=math.inf)


@pytest.fixture
def sweeper(services: Services, clock: FakeClock) -> Sweeper:
    return Sweeper(
        services.tables, services.store, services.settings, steady=clock.steady
    )
