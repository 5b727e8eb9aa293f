"""Masks to compare: shapes whose distances and volumes one can work out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hanseg_shared.grid import Grid, Matrix, Vector
from hanseg_shared.volume import Volume

OBLIQUE: Matrix = (
    (0.8, -0.6, 0.0),
    (0.6, 0.8, 0.0),
    (0.0, 0.0, 1.0),
)


def mask(array: npt.ArrayLike, spacing: Vector = (1.0, 1.0, 1.0)) -> Volume:
    """Return a mask of an array z, y, x at a spacing x, y, z."""
    values = np.asarray(array, dtype=np.bool_)
    z, y, x = values.shape
    return Volume(values, Grid((x, y, z), spacing))


def box(shape: tuple[int, int, int], *parts: slice) -> npt.NDArray[np.bool_]:
    """Return an array that is true in one box."""
    array = np.zeros(shape, dtype=np.bool_)
    array[parts] = True
    return array


def ball(
    shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float
) -> npt.NDArray[np.bool_]:
    """Return the voxels within a radius of a centre, both in voxels."""
    z, y, x = np.indices(shape)
    apart = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return apart <= radius**2


def random_pair(seed: int) -> tuple[Volume, Volume]:
    """Return two masks: balls, tubes, sheets, single voxels, some at the border."""
    generator = np.random.default_rng(seed)
    depth, height, width = (int(n) for n in generator.integers(6, 22, 3))
    dx, dy, dz = (float(s) for s in np.round(generator.uniform(0.5, 5.0, 3), 3))
    shape, spacing = (depth, height, width), (dx, dy, dz)
    first = _random_shape(generator, shape)
    second = _random_shape(generator, shape)
    if generator.random() < 0.6:  # alike, as a prediction is
        second = np.roll(first, generator.integers(-2, 3, 3), axis=(0, 1, 2))
    return mask(first, spacing), mask(second, spacing)


def _random_shape(
    generator: np.random.Generator, shape: tuple[int, int, int]
) -> npt.NDArray[np.bool_]:
    kind = generator.integers(0, 6)
    centre = generator.uniform(0, 1, 3) * shape  # often cut by the border
    z, y, x = np.indices(shape)
    if kind == 0:
        return ball(shape, tuple(centre), float(generator.uniform(1.5, 8))) | _voxel(
            generator, shape
        )
    if kind == 1:
        return ((y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 9) | _voxel(
            generator, shape
        )
    if kind == 2:
        return np.abs(z + 0.5 * y - centre[0]) < 0.8
    if kind == 3:
        return _voxel(generator, shape)
    if kind == 4:
        return generator.random(shape) < 0.2
    return (z < centre[0]) & (x < centre[2] + 1)


def _voxel(
    generator: np.random.Generator, shape: tuple[int, int, int]
) -> npt.NDArray[np.bool_]:
    array = np.zeros(shape, dtype=np.bool_)
    array[tuple(int(generator.integers(0, n)) for n in shape)] = True
    return array
