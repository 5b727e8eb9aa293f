"""Fixtures every folder of tests may use."""

from __future__ import annotations

import os

import pytest

from hanseg_shared.grid import Grid
from tests.grids import GRIDS

# many tests start a worker; none of them waits while it compares engines
os.environ.setdefault("HANSEG_ENGINE", "eager")
# nor for a second stage, which tests of the pipeline run
os.environ.setdefault("HANSEG_SECOND_STAGE", "false")


@pytest.fixture(params=list(GRIDS.values()), ids=list(GRIDS))
def grid(request: pytest.FixtureRequest) -> Grid:
    """One of the orientations in which images are stored."""
    found: Grid = request.param
    return found
