"""What is read from a comparison: overlaps, distances and volumes, with their rules.

Where masks are empty, the values are those of google-deepmind/surface-distance: with
both empty, overlaps are not a number and distances are infinite; with one empty,
overlaps are 0 and distances infinite. What becomes of them is for `empty` to say.
"""

from __future__ import annotations

import math

import numpy as np

from hanseg_shared.metrics.comparison import Comparison
from hanseg_shared.metrics.surface import Directed, SurfaceDistances

ROUNDING = 1e-9
"""Shares and mm this close to a limit are taken to be at it.

Without it the last bit of a sum decides whether a distance "at 95 %", or "within
2 mm", counts, and a mirrored image may be scored otherwise.
"""


def dice(comparison: Comparison) -> float:
    """Return the Dice coefficient, 0..1; not a number if both masks are empty."""
    total = comparison.reference_voxels + comparison.prediction_voxels
    return 2.0 * comparison.shared_voxels / total if total else math.nan


def hausdorff(distances: SurfaceDistances, percent: float) -> float:
    """Return the robust Hausdorff distance in mm.

    For each direction, the distance that `percent` of the surface's area does not
    exceed; the larger of the two (surface-distance's `compute_robust_hausdorff`).
    100 gives the Hausdorff distance. Infinite if a mask is empty.
    """
    return max(
        _percentile(distances.from_reference, percent),
        _percentile(distances.from_prediction, percent),
    )


def surface_dice(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Return the share of both surfaces' area that is within a tolerance, 0..1.

    Nikolov et al., doi:10.2196/26151. Not a number if both masks are empty.
    """
    both = (distances.from_reference, distances.from_prediction)
    total = sum(directed.area_mm2 for directed in both)
    within = sum(_area_within(directed, tolerance_mm) for directed in both)
    return within / total if total else math.nan


def average_symmetric_distance(distances: SurfaceDistances) -> float:
    """Return the mean distance in mm over the area of both surfaces together (ASSD).

    Area-weighted and pooled, as Heimann et al. 2009 (doi:10.1109/TMI.2009.2013851)
    define it; surface-distance itself only gives the two directions' means. Infinite
    if a mask is empty.
    """
    both = (distances.from_reference, distances.from_prediction)
    if any(directed.is_empty for directed in both):
        return math.inf
    moment = sum(float(d.distances_mm @ d.areas_mm2) for d in both)
    return moment / sum(directed.area_mm2 for directed in both)


def volume_ml(comparison: Comparison) -> float:
    """Return the prediction's volume in ml."""
    return comparison.prediction_voxels * comparison.voxel_ml


def reference_volume_ml(comparison: Comparison) -> float:
    """Return the reference's volume in ml."""
    return comparison.reference_voxels * comparison.voxel_ml


def volume_difference_ml(comparison: Comparison) -> float:
    """Return by how many ml the prediction is larger than the reference."""
    return volume_ml(comparison) - reference_volume_ml(comparison)


def _percentile(directed: Directed, percent: float) -> float:
    if directed.is_empty:
        return math.inf
    shares = np.cumsum(directed.areas_mm2) / directed.area_mm2
    reached = int(np.searchsorted(shares, percent / 100.0 - ROUNDING))
    return float(directed.distances_mm[min(reached, shares.size - 1)])


def _area_within(directed: Directed, tolerance_mm: float) -> float:
    near = directed.distances_mm <= tolerance_mm + ROUNDING
    return float(directed.areas_mm2[near].sum())
