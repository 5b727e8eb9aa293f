"""Where long organs run beside the spinal cord, as simulated patients show it.

A box about the brain stem says little of a neck, which bends: a carotid's would be
90 mm wide. Beside the cord of the same slice it lies within a few millimetres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from hanseg_lab.training.organ_places import AXES_MM, STEP_MM, simulated_labels
from hanseg_shared.grid import Points
from hanseg_shared.organs import organ

LONG_ORGANS = ("A_Carotid_L", "A_Carotid_R")
"""Organs that have a course."""

AXIS_ORGANS = ("Brainstem", "SpinalCord")
"""What it runs beside."""

REACH_MM = 14.0
"""How far from its middle, along x and along y, it can be in a patient."""

USUAL_SHARE = 0.5
"""Where it begins and ends: there as many simulated patients show it, of which the
coarse points that are looked at miss some."""

ABOVE_MM, BELOW_MM = 10.0, 20.0
"""How much higher, and lower, real patients may have it."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """The way of a long organ through the neck.

    Attributes:
        heights: Levels along z in mm from the brain stem's centroid, ascending.
        middle: Its middle there, in mm LPS from the cord's, ``(levels, 2)``: x, y.
        area_mm2: Usual area of its cross-section: the geometric mean of where it is
            narrowest and widest.
    """

    heights: Points
    middle: Points
    area_mm2: float

    @property
    def corridor_mm2(self) -> float:
        """Area of a slice in which it can lie."""
        return (2 * REACH_MM) ** 2

    @property
    def share(self) -> float:
        """Share of the corridor that it fills."""
        return self.area_mm2 / self.corridor_mm2

    def can_lie(self, height: float) -> bool:
        """Whether a patient can have it at a height."""
        low, high = self.heights[0] - BELOW_MM, self.heights[-1] + ABOVE_MM
        return bool(low <= height <= high)

    def middle_at(self, height: float) -> tuple[float, float]:
        """Return its middle, x and y in mm from the cord's, at a height."""
        x, y = (np.interp(height, self.heights, axis) for axis in self.middle.T)
        return float(x), float(y)


@cache
def courses_of_organs() -> dict[int, Course]:
    """Return the course of each long organ, by label; both sides are mirror images."""
    left, right = (_mean_course(organ(name).label) for name in LONG_ORGANS)
    heights = np.intersect1d(left.heights, right.heights)
    ways = [
        each.middle[np.isin(each.heights, heights)] * (sign, 1.0)
        for each, sign in ((left, 1.0), (right, -1.0))
    ]
    middle, area = (ways[0] + ways[1]) / 2, (left.area_mm2 + right.area_mm2) / 2
    return {
        organ(name).label: Course(heights, middle * (sign, 1.0), area)
        for name, sign in zip(LONG_ORGANS, (1.0, -1.0), strict=True)
    }


def _mean_course(label: int) -> Course:
    """Return the mean course of a label in simulated patients."""
    x, y, z = AXES_MM
    axis_labels = [organ(name).label for name in AXIS_ORGANS]
    patients = simulated_labels()
    shown = np.zeros(len(z))
    middle, area = np.zeros((len(z), 2)), np.zeros(len(z))
    for labels in patients:
        cord = np.isin(labels, axis_labels)
        for level in np.flatnonzero((labels == label).any(axis=(1, 2))):
            if cord[level].any():
                (at, about) = (
                    np.array([x[columns].mean(), y[rows].mean()])
                    for rows, columns in (
                        np.nonzero(labels[level] == label),
                        np.nonzero(cord[level]),
                    )
                )
                shown[level] += 1
                middle[level] += at - about
                area[level] += np.count_nonzero(labels[level] == label) * STEP_MM**2
    usual = shown >= USUAL_SHARE * len(patients)
    areas = area[usual] / len(patients)
    return Course(
        z[usual].astype(np.float64),
        middle[usual] / shown[usual, None],
        math.sqrt(float(areas.min() * areas.max())),
    )
