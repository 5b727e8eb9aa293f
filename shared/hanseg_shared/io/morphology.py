"""Distances in masks, and cavities of them, in millimetres whatever the voxels.

The image's faces count for nothing: what a mask shows there goes on behind them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from hanseg_shared.grid import Grid
from hanseg_shared.volume import Mask, Voxels

MOST_SHIFTS = 200
"""Of a mask that is moved about, one for each row of a ball. A row takes 2 ms in 4
million voxels, all their distances 800."""


def voxels_near(mask: Mask, distance_mm: float, grid: Grid) -> Mask:
    """Return the voxels within a distance of a mask."""
    near = np.zeros(mask.shape, bool)
    box = _box_around(mask, distance_mm, grid)
    if box is None:
        return near
    part = mask[box]
    rows = _rows_of_ball(distance_mm, grid, part.shape)
    if rows is None:
        near[box] = depth_in(~part, grid) <= distance_mm
    else:
        near[box] = _move_about(part, rows)
    return near


def deeper_than(mask: Mask, distance_mm: float, grid: Grid) -> Mask:
    """Return the voxels of a mask that are further than a distance from its edge."""
    return ~voxels_near(~mask, distance_mm, grid)


def _rows_of_ball(
    radius_mm: float, grid: Grid, shape: Sequence[int]
) -> dict[tuple[int, int], int] | None:
    """Return how many voxels a ball reaches along x, by the offset (z, y) of its row.

    No further than an image of that shape (z, y, x) does. Distances are `depth_in`'s,
    to the bit.

    Returns:
        None where there are more than `MOST_SHIFTS` rows.
    """
    z, y, x = (
        np.square(np.arange(min(edge - 1, math.ceil(radius_mm / mm)) + 1) * mm)
        for edge, mm in zip(shape, grid.spacing[::-1], strict=True)
    )
    across = z[:, None] + y
    quarter = np.argwhere(np.sqrt(across) <= radius_mm)
    if len(quarter) > MOST_SHIFTS:
        return None
    rows: dict[tuple[int, int], int] = {}
    for k, j in quarter.tolist():
        reach = int(np.count_nonzero(np.sqrt(across[k, j] + x) <= radius_mm)) - 1
        rows |= {(a, b): reach for a in (k, -k) for b in (j, -j)}
    return rows if len(rows) <= MOST_SHIFTS else None


def _move_about(mask: Mask, rows: dict[tuple[int, int], int]) -> Mask:
    """Return the union of a mask moved to every voxel of a ball about its place."""
    wider = [mask]
    for reach in range(1, max(rows.values()) + 1):
        wider.append(wider[-1].copy())
        wider[-1][..., reach:] |= mask[..., :-reach]
        wider[-1][..., :-reach] |= mask[..., reach:]
    found = np.zeros_like(mask)
    for (down, back), reach in rows.items():
        to_z, from_z = _moved(down)
        to_y, from_y = _moved(back)
        found[to_z, to_y] |= wider[reach][from_z, from_y]
    return found


def _moved(steps: int) -> tuple[slice, slice]:
    """Return where voxels go, and which do, if they are moved by some steps."""
    if steps >= 0:
        return slice(steps, None), slice(None, -steps or None)
    return slice(None, steps), slice(-steps, None)


def _box_around(mask: Mask, margin_mm: float, grid: Grid) -> tuple[slice, ...] | None:
    """Return the block that holds what is within a margin of a mask; None if empty."""
    box = []
    for axis, spacing in enumerate(grid.spacing[::-1]):
        others = tuple(k for k in range(mask.ndim) if k != axis)
        shown = np.flatnonzero(mask.any(axis=others))
        if not len(shown):
            return None
        margin = math.ceil(margin_mm / spacing)
        box.append(slice(max(0, int(shown[0]) - margin), int(shown[-1]) + margin + 1))
    return tuple(box)


def depth_in(mask: Mask, grid: Grid) -> Voxels:
    """Return how far each voxel of a mask is from the nearest outside it, in mm.

    The distances of `scipy.ndimage.distance_transform_edt`, to the bit, from its
    nearest voxels, with fewer arrays in between.
    """
    if mask.all():
        return np.full(mask.shape, np.inf)
    nearest = ndimage.distance_transform_edt(
        mask, sampling=grid.spacing[::-1], return_distances=False, return_indices=True
    )
    square: Voxels = np.zeros(mask.shape)
    for axis, spacing in enumerate(grid.spacing[::-1]):
        along = [1] * mask.ndim
        along[axis] = -1
        here = np.arange(mask.shape[axis], dtype=nearest.dtype).reshape(along)
        offset = np.multiply(nearest[axis] - here, spacing, dtype=np.float64)
        square += np.multiply(offset, offset, out=offset)
    return np.asarray(np.sqrt(square, out=square))


def fill_slices(mask: Mask, grid: Grid) -> Mask:
    """Return a mask with the cavities of each slice across the patient filled."""
    axis = axis_across_slices(grid)
    slices = np.moveaxis(mask, axis, 0)
    filled = np.stack([ndimage.binary_fill_holes(each) for each in slices])
    return np.moveaxis(filled, 0, axis)


def axis_across_slices(grid: Grid) -> int:
    """Return the array's axis (z y x) that is nearest to the patient's long axis."""
    return 2 - int(np.abs(np.array(grid.direction)[2]).argmax())
