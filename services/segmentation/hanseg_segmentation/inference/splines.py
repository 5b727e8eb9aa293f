"""Cubic splines along one axis as a fixed matrix, of which only a part is made.

SciPy's ``zoom(order=3, mode="nearest", grid_mode=True)`` is linear in the voxels, and
its weights fall off fast: a part of an axis needs a narrow part of the matrix.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

SPLINE_MARGIN = 12
"""Voxels by which the edge is continued before the spline is fitted; SciPy's."""

NEGLIGIBLE_WEIGHT = 1e-8
"""Weights of a spline below this are left out: its influence falls to a quarter from
voxel to voxel, so that a block of a matrix is narrow."""

ROWS_AT_ONCE = 96
"""Voxels along an axis that are resampled together."""


@dataclass(frozen=True, slots=True, eq=False)
class AxisOperator:
    """What resamples a part of an axis: blocks of a matrix, which is narrow.

    Attributes:
        source: The voxels that it takes.
        blocks: Rows and columns, counted from the first of each part, and the matrix.
    """

    source: slice
    blocks: tuple[tuple[slice, slice, npt.NDArray[np.float32]], ...]


@functools.lru_cache(maxsize=16)
def cubic_operator(size: int, count: int, first: int, last: int) -> AxisOperator:
    """Return what resamples an axis of `size` voxels to `count`, by cubic splines.

    The faces of the outermost voxels meet, and the edge is continued, as in SciPy's
    ``zoom(order=3, mode="nearest", grid_mode=True)``.

    Args:
        size: Voxels there are.
        count: Voxels wanted.
        first: The first one of the part.
        last: One after its last one.
    """
    matrix = _cubic_matrix(size, count)[first:last]
    parts = []
    for begin in range(0, len(matrix), ROWS_AT_ONCE):
        rows = slice(begin, min(begin + ROWS_AT_ONCE, len(matrix)))
        used = np.flatnonzero((np.abs(matrix[rows]) > NEGLIGIBLE_WEIGHT).any(axis=0))
        parts.append((rows, int(used[0]), int(used[-1]) + 1))
    low, high = min(part[1] for part in parts), max(part[2] for part in parts)
    return AxisOperator(
        slice(low, high),
        tuple(
            (rows, slice(a - low, b - low), np.ascontiguousarray(matrix[rows, a:b]))
            for rows, a, b in parts
        ),
    )


def nearest_index(size: int, count: int) -> npt.NDArray[np.intp]:
    """Return which of `size` slices each of `count` is, as nnU-Net's ``order_z=0``."""
    scale = float(size) / count
    at = scale * (np.arange(count) + 0.5) - 0.5
    return np.clip(np.floor(at + 0.5), 0, size - 1).astype(np.intp)


def resample_plane(
    plane: npt.NDArray[np.float32], along: AxisOperator, across: AxisOperator
) -> npt.NDArray[np.float32]:
    """Return a plane resampled along both of its axes."""
    wide = resample_last_axis(plane, across)
    result = np.empty((along.blocks[-1][0].stop, wide.shape[1]), dtype=np.float32)
    for rows, used, matrix in along.blocks:
        np.matmul(matrix, wide[used], out=result[rows])
    return result


def resample_last_axis(
    values: npt.NDArray[np.float32], operator: AxisOperator
) -> npt.NDArray[np.float32]:
    """Return an array resampled along its last axis."""
    count = operator.blocks[-1][0].stop
    result = np.empty((*values.shape[:-1], count), dtype=np.float32)
    for rows, used, matrix in operator.blocks:
        np.matmul(values[..., used], matrix.T, out=result[..., rows])
    return result


@functools.lru_cache(maxsize=6)
def _cubic_matrix(size: int, count: int) -> npt.NDArray[np.float32]:
    """Return the whole matrix ``(count, size)`` of `cubic_operator`."""
    if size == count:
        return np.eye(size, dtype=np.float32)
    unit = np.pad(np.eye(size), ((SPLINE_MARGIN, SPLINE_MARGIN), (0, 0)), mode="edge")
    knots = ndimage.spline_filter1d(unit, order=3, axis=0, mode="nearest")
    at = (np.arange(count) + 0.5) * (size / count) - 0.5 + SPLINE_MARGIN
    first = np.floor(at).astype(np.intp) - 1
    matrix = np.zeros((count, size))
    for step in range(4):
        matrix += _cubic_weight(at - (first + step))[:, None] * knots[first + step]
    return matrix.astype(np.float32)


def _cubic_weight(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the cubic B-spline at some distance from its knot."""
    away = np.abs(distance)
    near = 2 / 3 - away**2 + away**3 / 2
    return np.where(away < 1, near, np.maximum(2 - away, 0) ** 3 / 6)
