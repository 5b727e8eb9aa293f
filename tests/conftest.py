"""Fixtures every folder of tests may use."""

from __future__ import annotations

import pytest

from hanseg_shared.grid import Grid
from tests.grids import GRIDS


@pytest.fixture(params=list(GRIDS.values()), ids=list(GRIDS))
def grid(request: pytest.FixtureRequest) -> Grid:
    """One of the orientations in which images are stored."""
    found: Grid = request.param
    return found
