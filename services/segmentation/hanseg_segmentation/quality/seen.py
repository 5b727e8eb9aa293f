"""The part of space a CT shows, and how far points lie beyond it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_shared.grid import Grid, Points
from hanseg_shared.volume import Volume

BLANK_HU = -400.0
"""A slice without any voxel above this shows nothing of the patient."""

STEP = 2
"""Every so many voxels of a slice are looked at."""


CUT_AREA_CM2 = 40.0
"""A face of the scan with less tissue than this at most touches the patient's skin: it
cuts nothing. Half of a slender neck's cross-section."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The CT's box, without blank slices at its upper and lower end.

    Attributes:
        grid: The CT's.
        low: Smallest index (x, y, z) that shows something.
        high: Largest index (x, y, z).
        axis: The index axis nearest to the patient's long axis.
        cuts: Whether each face cuts the patient: row 0 the faces at `low`, row 1 those
            at `high`; shape ``(2, 3)``.
    """

    grid: Grid
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    axis: int
    cuts: npt.NDArray[np.bool_]

    def beyond_mm(self, points: Points) -> npt.NDArray[np.float64]:
        """Return how far points ``(n, 3)`` lie beyond faces that cut the patient.

        Negative inside, and minus infinity if no face cuts.
        """
        index = self.grid.world_to_index(points)
        over = np.stack((self.low - 0.5 - index, index - self.high - 0.5))
        over = np.where(self.cuts[:, None], over * self.grid.spacing, -np.inf)
        distance: npt.NDArray[np.float64] = over.max(axis=(0, 2))
        return distance

    def find_touched_faces(
        self, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
    ) -> tuple[bool, bool]:
        """Return whether an index box reaches the lower end, and any other face.

        Lower means towards the patient's feet.
        """
        first, last = low <= self.low, high >= self.high
        faces = np.stack((first, last))
        upwards = np.array(self.grid.direction)[2, self.axis] > 0
        feet = (0 if upwards else 1, self.axis)
        at_feet = bool(faces[feet])
        faces[feet] = False
        return at_feet, bool(faces.any())


def find_seen_part(ct: Volume) -> Seen:
    """Return what a CT shows."""
    axis = int(np.abs(np.array(ct.grid.direction)[2]).argmax())
    low = np.zeros(3, dtype=np.int64)
    high = np.array(ct.grid.size, dtype=np.int64) - 1
    slices = np.moveaxis(ct.array, 2 - axis, 0)[:, ::STEP, ::STEP]
    shown = np.flatnonzero([bool((each > BLANK_HU).any()) for each in slices])
    if len(shown):
        low[axis], high[axis] = shown[0], shown[-1]
    areas = [[_tissue_cm2(ct, i, int(end[i])) for i in range(3)] for end in (low, high)]
    return Seen(ct.grid, low, high, axis, np.array(areas) >= CUT_AREA_CM2)


def _tissue_cm2(ct: Volume, axis: int, index: int) -> float:
    """Return how much of a slice, across index axis x, y or z, is not air."""
    face = np.take(ct.array, index, axis=2 - axis)
    pixel_mm2 = math.prod(ct.grid.spacing) / ct.grid.spacing[axis]
    return float(np.count_nonzero(face > BLANK_HU)) * pixel_mm2 / 100.0
