"""The compiled loops' plain twins: the same answers by NumPy and SciPy, more slowly.

Each takes the arguments of the loop it stands for, whose docstring says what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.compute.half_precision import Stored

TOUCHING = np.ones((3, 3, 3))
"""Voxels of a piece share a face, an edge or a corner."""

Floats = npt.NDArray[np.float32]
Coordinates = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def add_tile(
    sums: Stored,
    weights: Stored,
    tile: Floats,
    new: Floats,
    low: Indices,
    shape: Indices,
    base: int,
    steps: Indices,
    as_means: bool,
    first: int,
    last: int,
) -> int:
    """Do as `sums._add_tile`."""
    k, j, i = np.ogrid[first:last, : shape[1], : shape[2]]
    rows = base + k * steps[0] + j * steps[1] + i * steps[2]
    part = tuple(
        slice(start + a, start + b)
        for start, a, b in zip(low, (first, 0, 0), (last, *shape[1:]), strict=True)
    )
    logits, weight = tile[part], new[part]
    total = _floats(weights[rows]) + weight
    weights[rows] = _as(weights.dtype, total)
    before = _floats(sums[rows])
    if as_means:
        after = before + (weight / total)[..., None] * (logits - before)
    else:
        after = before + logits * weight[..., None]
    sums[rows] = _as(sums.dtype, after)
    return int(not np.isfinite(logits).all())


def find_winners(
    sums: Stored,
    weights: Floats,
    winners: npt.NDArray[np.uint8],
    counts: Indices,
    chances: Coordinates,
    first: int,
    last: int,
) -> None:
    """Do as `winners._find_winners`."""
    for k in range(first, last):
        run = weights[k] > 0
        logits = _floats(sums[k][run])
        with np.errstate(over="ignore", invalid="ignore"):
            means = _floats(_as(sums.dtype, logits / weights[k][run][:, None]))
            background = (logits <= logits[:, :1]).all(axis=1)
        best = means.argmax(axis=1)
        best[background] = 0
        top = np.take_along_axis(means, best[:, None], axis=1)
        top[background] = logits[background, :1]
        finite = np.isfinite(top[:, 0])
        if not finite.all():
            chances[k, 0] = np.nan
        best[~finite] = 0
        winners[k] = 0
        winners[k][run] = best
        won = best > 0
        totals = np.exp(means[won] - top[won]).sum(axis=1)
        np.add.at(counts[k], best[won], 1)
        np.add.at(chances[k], best[won], 1.0 / totals)


def label_voxels(
    before: Stored,
    weights_before: Floats,
    logits: Stored,
    weights: Floats,
    held: Indices,
    winners: npt.NDArray[np.uint8],
    shown: Indices,  # noqa: ARG001 - what it saves, this twin computes
    low: Indices,
    size: Indices,
    labels: npt.NDArray[np.uint8],
    matrix: Coordinates,
    offset: Coordinates,
    reach: float,
    nearest: int,
    result: npt.NDArray[np.uint8],
    first: int,
    last: int,
) -> None:
    """Do as `labels._label_voxels`."""
    axis = int(held.argmax())
    means = _mean_logits(before, weights_before), _mean_logits(logits, weights)
    box = np.concatenate(means, axis=axis) if held.any() else means[1]
    edges = np.array(winners.shape[::-1])
    for k in range(first, last):
        points, inside = _points(matrix, offset, k, result.shape[1:], size, reach)
        if nearest >= 0:
            points[..., nearest] = np.floor(points[..., nearest] + 0.5)
        points = np.clip(points, 0.0, size - 1.0)
        lower = points.astype(np.int64)
        upper = np.minimum(lower + 1, size - 1)
        fraction = points - lower
        inside &= ((lower >= low) & (upper < low + edges)).all(axis=-1)
        lower, upper = lower[inside] - low, upper[inside] - low
        best = _interpolated(box, lower, upper, fraction[inside]).argmax(axis=1)
        result[k][inside] = labels[best]


def _points(
    matrix: Coordinates,
    offset: Coordinates,
    k: int,
    plane: tuple[int, ...],
    size: Indices,
    reach: float,
) -> tuple[Coordinates, npt.NDArray[np.bool_]]:
    """Return where a slice's voxels are, index (x, y, z), and which are in the grid."""
    j, i = np.ogrid[: plane[0], : plane[1]]
    points = np.stack(
        [
            matrix[axis, 1] * j
            + matrix[axis, 2] * k
            + offset[axis]
            + matrix[axis, 0] * i
            for axis in range(3)
        ],
        axis=-1,
    )
    inside = np.all((points >= -reach) & (points <= size - 1 + reach), axis=-1)
    return points, np.asarray(inside)


def _mean_logits(sums: Stored, weights: Floats) -> Coordinates:
    """Return mean logits ``(z, y, x, K)``; background where no tile was run."""
    run = weights > 0
    means = np.zeros(sums.shape)
    means[..., 0] = 1.0
    means[run] = _floats(_as(sums.dtype, _floats(sums[run]) / weights[run][:, None]))
    return means


def _interpolated(
    box: Coordinates, lower: Indices, upper: Indices, fraction: Coordinates
) -> Coordinates:
    """Return the logits of points, ``(n, K)``, linear between the voxels around."""
    found = np.zeros((len(lower), box.shape[-1]))
    for corner in range(8):
        chosen = np.array([bool(corner & 1 << axis) for axis in range(3)])
        x, y, z = np.where(chosen, upper, lower).T
        share = np.where(chosen, fraction, 1.0 - fraction)
        found += (share[:, 2] * share[:, 1] * share[:, 0])[:, None] * box[z, y, x]
    return found


def number_pieces(
    labels: npt.NDArray[np.uint8],
    numbers: npt.NDArray[np.int32],
    parents: npt.NDArray[np.int32],
) -> int:
    """Do as `pieces._number_pieces`; every number is a root here."""
    from scipy import ndimage

    numbers[:] = 0
    highest = 0
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        found, count = ndimage.label(labels[box] == label, structure=TOUCHING)
        inside = found > 0
        numbers[box][inside] = found[inside] + highest
        highest += int(count)
    parents[: highest + 1] = np.arange(highest + 1)
    return highest


def bound_pieces(
    index: npt.NDArray[np.int32],
    number: npt.NDArray[np.int32],
    low: Indices,
    high: Indices,
) -> None:
    """Do as `pieces._bound_pieces`."""
    for axis in range(3):
        np.minimum.at(low[:, 2 - axis], number, index[axis])
        np.maximum.at(high[:, 2 - axis], number, index[axis])


def _floats(stored: Stored) -> Floats:
    """Return float32 of what an array holds: float32, or the bits of float16."""
    if stored.dtype == np.int16:
        return stored.view(np.float16).astype(np.float32)
    return stored.astype(np.float32, copy=False)


def _as(kind: np.dtype[Any], values: Floats) -> Stored:
    """Return float32 as an array of this kind holds it, rounded to the nearest."""
    if kind == np.int16:
        with np.errstate(over="ignore"):
            return values.astype(np.float16).view(np.int16)
    return values.astype(np.float32, copy=False)
