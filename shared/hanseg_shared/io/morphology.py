"""Distances in masks, and cavities of them, in millimetres whatever the voxels.

The image's faces count for nothing: what a mask shows there goes on behind them.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hanseg_shared.grid import Grid
from hanseg_shared.volume import Mask, Voxels


def voxels_near(mask: Mask, distance_mm: float, grid: Grid) -> Mask:
    """Return the voxels within a distance of a mask."""
    return np.asarray(depth_in(~mask, grid) <= distance_mm)


def depth_in(mask: Mask, grid: Grid) -> Voxels:
    """Return how far each voxel of a mask is from the nearest outside it, in mm."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    depth: Voxels = ndimage.distance_transform_edt(mask, sampling=grid.spacing[::-1])
    return depth


def fill_slices(mask: Mask, grid: Grid) -> Mask:
    """Return a mask with the cavities of each slice across the patient filled."""
    axis = axis_across_slices(grid)
    slices = np.moveaxis(mask, axis, 0)
    filled = np.stack([ndimage.binary_fill_holes(each) for each in slices])
    return np.moveaxis(filled, 0, axis)


def axis_across_slices(grid: Grid) -> int:
    """Return the array's axis (z y x) that is nearest to the patient's long axis."""
    return 2 - int(np.abs(np.array(grid.direction)[2]).argmax())
