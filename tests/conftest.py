"""Fixtures every folder of tests may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from hanseg_shared.grid import Grid
from tests.grids import GRIDS
from tests.migrated import migrations_run, new_databases
from tests.sharing_out import FileScheduling, longest_first

__all__ = ["grid", "migrations_run"]

# two processes test on two cores: threads of each would wait for those of the other,
# and theirs wait spinning. It is read when torch, or a BLAS, is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# many tests start a worker; none of them waits while it compares engines
os.environ.setdefault("HANSEG_ENGINE", "eager")
# nor for a second stage, which tests of the pipeline run
os.environ.setdefault("HANSEG_SECOND_STAGE", "false")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    config.option.loadscopereorder = False  # the longest are first, not the most
    return FileScheduling(config, log)


@pytest.hookimpl(trylast=True)  # after the marks that folders add
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = longest_first(items)


@pytest.fixture(scope="session", autouse=True)
def _databases_are_copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with new_databases(tmp_path_factory.mktemp("database")):
        yield


@pytest.fixture(params=list(GRIDS.values()), ids=list(GRIDS))
def grid(request: pytest.FixtureRequest) -> Grid:
    """One of the orientations in which images are stored."""
    found: Grid = request.param
    return found
