"""Volumes changed as headers and scanners change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hanseg_registration.geometry.motions import Motion, apply
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.itk import matrix_rows
from hanseg_shared.volume import Volume


def with_origin(volume: Volume, origin: Vector) -> Volume:
    return Volume(volume.array, replace(volume.grid, origin=origin))


def moved(volume: Volume, motion: Motion) -> Volume:
    """Return the volume with a header that a rigid motion has moved."""
    grid = volume.grid
    x, y, z = apply(motion, grid.origin).tolist()
    u, _, vt = np.linalg.svd(motion[:3, :3] @ np.array(grid.direction))
    rows = matrix_rows(tuple((u @ vt).ravel().tolist()))
    return Volume(volume.array, Grid(grid.size, grid.spacing, (x, y, z), rows))


def box(
    size: tuple[int, int, int], spacing: Vector = (1.0, 1.0, 1.0), value: float = 0.0
) -> Volume:
    x, y, z = size
    array = np.full((z, y, x), value, dtype=np.float32)
    return Volume(array, Grid(size, spacing))
