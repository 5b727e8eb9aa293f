"""A prediction compared with its reference, once; everything else is read from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hanseg_shared.grid import Grid, Points
from hanseg_shared.metrics.surface import (
    Start,
    SurfaceDistances,
    crop_to_mask,
    lattice_offset,
    surface_distances,
)
from hanseg_shared.volume import Mask, Volume

Overlap = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was counted and measured on a pair of masks of one organ.

    Attributes:
        reference_voxels: Voxels of the reference.
        prediction_voxels: Voxels of the prediction.
        shared_voxels: Voxels of both.
        voxel_ml: Volume of a voxel.
        centre_distance_mm: Between the centres of mass; infinite if one is empty,
            not a number if both are.
        added_path_mm: Length of the reference's contours that the prediction lacks;
            see `added_path_length`.
        distances: Between the surfaces.
    """

    reference_voxels: int
    prediction_voxels: int
    shared_voxels: int
    voxel_ml: float
    centre_distance_mm: float
    added_path_mm: float
    distances: SurfaceDistances


def compare(reference: Volume, prediction: Volume) -> Comparison:
    """Compare two masks of one organ.

    Args:
        reference: A boolean mask, taken for the truth.
        prediction: A boolean mask on the same lattice.

    Raises:
        GridMismatchError: Their voxels are not in the same places.
    """
    first, second = crop_to_mask(reference), crop_to_mask(prediction)
    start = lattice_offset(first.grid, second.grid)
    ours, theirs = _overlap(first, second, start)
    return Comparison(
        reference_voxels=int(np.count_nonzero(first.array)),
        prediction_voxels=int(np.count_nonzero(second.array)),
        shared_voxels=int(np.count_nonzero(first.array[ours] & second.array[theirs])),
        voxel_ml=first.grid.voxel_ml,
        centre_distance_mm=_distance(_centre(first), _centre(second)),
        added_path_mm=added_path_length(first, second),
        distances=surface_distances(first, second),
    )


def added_path_length(reference: Volume, prediction: Volume) -> float:
    """Return the length in mm of contour that a corrector would have to draw.

    The pixels of the reference's contours, slice by slice, that are no pixels of the
    prediction's contours, times the pixel's edge (Vaassen et al. 2020,
    doi:10.1016/j.phro.2019.12.001, without tolerance). A contour is what has a
    neighbour outside the mask, of four in the plane. Slices are cut across the index
    axis nearest to the patient's long axis. The edge is the geometric mean of the two
    in the plane. It is no symmetric measure.
    """
    axis, edge_mm = _slicing(reference.grid)
    drawn = _contours(reference.array, axis)
    given = _contours(prediction.array, axis)
    start = lattice_offset(reference.grid, prediction.grid)
    ours, theirs = _overlap(reference, prediction, start)
    spared = np.count_nonzero(drawn[ours] & given[theirs])
    return float(np.count_nonzero(drawn) - spared) * edge_mm


def _slicing(grid: Grid) -> tuple[int, float]:
    """Return the array's axis across which slices are cut, and a pixel's edge in mm."""
    index_axis = int(np.abs(np.array(grid.direction)[2]).argmax())
    first, second = (s for n, s in enumerate(grid.spacing) if n != index_axis)
    return 2 - index_axis, math.sqrt(first * second)


def _contours(mask: Mask, axis: int) -> Mask:
    padded = np.pad(mask, 1)
    core: Overlap = (slice(1, -1),) * 3
    enclosed = mask.copy()
    for other in {0, 1, 2} - {axis}:
        for side in (slice(0, -2), slice(2, None)):
            enclosed &= padded[(*core[:other], side, *core[other + 1 :])]
    return mask & ~enclosed


def _overlap(first: Volume, second: Volume, start: Start) -> tuple[Overlap, Overlap]:
    """Return the part that two arrays share, as slices of one and of the other."""
    ours, theirs = [], []
    sizes = zip(start, first.array.shape, second.array.shape, strict=True)
    for offset, size, other_size in sizes:
        low = max(offset, 0)
        high = max(min(offset + other_size, size), low)
        ours.append(slice(low, high))
        theirs.append(slice(low - offset, high - offset))
    return tuple(ours), tuple(theirs)


def _centre(mask: Volume) -> Points | None:
    """Return a mask's centre of mass in mm LPS; None if it is empty."""
    voxels = np.count_nonzero(mask.array)
    if voxels == 0:
        return None
    profiles = (mask.array.sum(axis=others) for others in ((0, 1), (0, 2), (1, 2)))
    return mask.grid.index_to_world(
        [float(profile @ np.arange(profile.size)) / voxels for profile in profiles]
    )


def _distance(first: Points | None, second: Points | None) -> float:
    if first is None and second is None:
        return math.nan
    if first is None or second is None:
        return math.inf
    return float(np.linalg.norm(first - second))
