"""Evenly spaced planes for slices that may be uneven, along their normal in mm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EVEN_SHARE = 0.1
"""Slices are even if each lies within this share of their distance from its place on
an even grid: as far as two grids may differ that are taken for the same."""

ROUNDING_MM = 0.1
"""So much is taken for rounding (a quarter of thin slices at most): some scanners
write one decimal."""

NEAR_MM = 0.25
"""An uneven slice lies as near to its plane: half of the thinnest slices in use."""

MOST_STEPS = 4096
"""More planes are not tried: a volume may not have so many."""

Positions = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Planes:
    """Planes at ``k * spacing_mm`` from the first slice, and the slices among them.

    Attributes:
        count: Number of planes.
        spacing_mm: Distance between them.
        indices: The plane of each slice, ascending, no two the same.
        even: Whether slices and planes are the same.
        farthest_mm: How far from its plane a slice lies at most.
    """

    count: int
    spacing_mm: float
    indices: tuple[int, ...]
    even: bool
    farthest_mm: float


def fit_planes(positions_mm: Sequence[float]) -> Planes:
    """Return planes for slices at ascending positions, at least two.

    The first and the last slice lie on planes. Those of uneven slices are as far apart
    as possible so that every slice lies within `NEAR_MM` of a plane of its own. Twice
    `NEAR_MM` apart always does, or half the smallest gap where that is less.
    """
    positions = np.asarray(positions_mm, dtype=np.float64)
    positions = positions - positions[0]
    whole_mm, fewest = float(positions[-1]), len(positions) - 1
    distance_mm = whole_mm / fewest
    even = _place(positions, fewest)
    rounding_mm = max(EVEN_SHARE * distance_mm, min(ROUNDING_MM, distance_mm / 4))
    if even is not None and even.farthest_mm <= rounding_mm:
        return even
    finest_mm = min(2 * NEAR_MM, float(np.diff(positions).min()) / 2)
    most = max(math.ceil(whole_mm / finest_mm), fewest + 1)
    for steps in range(fewest + 1, min(most, MOST_STEPS)):
        fit = _place(positions, steps)
        if fit is not None and fit.farthest_mm <= NEAR_MM:
            return fit
    finest = _place(positions, most)
    assert finest is not None  # half the smallest gap keeps all apart
    return finest


def usual_gap_mm(positions_mm: Sequence[float]) -> float:
    """Return the distance that most neighbouring slices have: the (lower) median."""
    gaps = np.sort(np.diff(positions_mm))
    return float(gaps[(len(gaps) - 1) // 2])


def _place(positions: Positions, steps: int) -> Planes | None:
    """Return `steps` + 1 planes; None if two slices would share one."""
    spacing_mm = float(positions[-1]) / steps
    nearest = np.floor(positions / spacing_mm + 0.5).astype(int)
    if (np.diff(nearest) < 1).any():
        return None
    return Planes(
        count=steps + 1,
        spacing_mm=spacing_mm,
        indices=tuple(int(index) for index in nearest),
        even=steps == len(positions) - 1,
        farthest_mm=float(np.abs(positions - nearest * spacing_mm).max()),
    )
