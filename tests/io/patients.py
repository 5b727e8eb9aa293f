"""Small patients whose values are like a real CT's and MR's."""

from __future__ import annotations

import numpy as np

from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume

SMALL = Grid((24, 20, 12), (2.0, 2.0, 3.0), (-23.0, -19.0, 40.0))


def distance_from_centre(grid: Grid) -> np.ndarray:
    """Return 0 in the middle and 1 at the faces, shape (z, y, x)."""
    axes = [np.abs(np.linspace(-1, 1, n)) for n in grid.shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2)


def ct(grid: Grid = SMALL) -> Volume:
    """A round head: bone within soft tissue within fat, in air."""
    radius = distance_from_centre(grid)
    hu = np.full(grid.shape, -1000.0)
    hu[radius < 0.9] = -100
    hu[radius < 0.75] = 40
    hu[radius < 0.4] = 700
    noise = np.random.default_rng(1).normal(0, 10, grid.shape)
    return Volume((hu + noise).astype(np.int16), grid)


def mr(grid: Grid = SMALL) -> Volume:
    """The same head as a T1 MR sees it."""
    radius = distance_from_centre(grid)
    signal = np.full(grid.shape, 20.0)
    signal[radius < 0.9] = 900
    signal[radius < 0.75] = 400
    signal[radius < 0.4] = 60
    noise = np.random.default_rng(2).normal(0, 10, grid.shape)
    return Volume(np.abs(signal + noise).astype(np.float32), grid)


def labels(grid: Grid = SMALL) -> Volume:
    """A label map with 0, 3 and 30."""
    radius = distance_from_centre(grid)
    return Volume(
        np.where(radius < 0.3, 30, np.where(radius < 0.6, 3, 0)).astype("u1"), grid
    )
