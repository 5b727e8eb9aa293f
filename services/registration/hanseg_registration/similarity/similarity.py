"""How similar an MR is to a CT at a pose, at points that no optimiser saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hanseg_registration.geometry.head import Head
from hanseg_registration.geometry.motions import (
    Motion,
    apply,
    rotation,
    translation,
)
from hanseg_registration.geometry.sampling import look_up
from hanseg_registration.limits import SMALLEST_COVERAGE
from hanseg_registration.similarity.mutual_information import (
    ct_classes,
    joint_counts,
    mr_classes,
    normalised_mutual_information,
)
from hanseg_shared.grid import Points
from hanseg_shared.volume import Volume

SAMPLES = 20_000
"""Points of the CT's head at which similarity is measured; elastix never saw them."""

SAMPLE_SEED = 4711
"""Seed of those points, and of the displaced poses."""

DISPLACED_POSES = 60
"""Poses that show how similar the two images are where they do not match."""

DISPLACED_MM = (20.0, 45.0)
"""How far those are shifted."""

DISPLACED_DEG = 20.0
"""The most they are turned about each axis."""


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """Compares an MR with a CT's head at points that no optimiser saw.

    Attributes:
        points: Positions in the CT's head, mm LPS, ``(n, 3)``.
        ct: The CT's classes there, ``(n,)``.
        mr: The MR.
        low, high: The MR's dark and bright end, for its classes.
    """

    points: Points
    ct: npt.NDArray[np.uint8]
    mr: Volume
    low: float
    high: float

    @classmethod
    def between(
        cls, ct: Volume, mr: Volume, *, head: Head, mr_head: Head
    ) -> Similarity:
        """Draw the points and look the CT up there.

        Args:
            ct: The CT in HU, at full or reduced resolution.
            mr: The MR, likewise.
            head: The CT's head.
            mr_head: The MR's head, whose values span the brightness classes.
        """
        rng = np.random.default_rng(SAMPLE_SEED)
        index = np.argwhere(head.mask)[:, ::-1]
        index = index[rng.integers(0, len(index), SAMPLES)]
        jitter = rng.uniform(-0.5, 0.5, index.shape)
        points = head.coarse.grid.index_to_world(index + jitter)
        low, high = np.percentile(mr_head.coarse.array[mr_head.mask], (2.0, 98.0))
        values, inside = look_up(ct, points)
        classes = ct_classes(values)[inside]
        return cls(points[inside], classes, mr, float(low), float(high))

    def thin(self, count: int) -> Similarity:
        """Return the comparison at the first points; they are in random order."""
        return replace(self, points=self.points[:count], ct=self.ct[:count])

    def at(self, mr_from_ct: Motion) -> float:
        """Return the normalised mutual information above independence at a pose.

        0 means that the CT says nothing about the MR, or that they do not overlap.
        """
        values, inside = look_up(self.mr, apply(mr_from_ct, self.points))
        if inside.mean() < SMALLEST_COVERAGE:
            return 0.0
        classes = mr_classes(values[inside], low=self.low, high=self.high)
        counts = joint_counts(self.ct[inside], classes)
        return float(normalised_mutual_information(counts)) - 1.0

    def deform(self, displacement_mm: Callable[[Points], Points]) -> Similarity:
        """Return the comparison after points of the CT were moved by a deformation.

        Args:
            displacement_mm: How far each of some points moves, ``(n, 3)``.
        """
        return replace(self, points=self.points + displacement_mm(self.points))

    def at_displaced(self, mr_from_ct: Motion) -> npt.NDArray[np.float64]:
        """Return the similarity at poses displaced at random from one, ``(n,)``."""
        rng = np.random.default_rng(SAMPLE_SEED)
        centre = self.points.mean(axis=0)
        found = []
        for _ in range(DISPLACED_POSES):
            way = rng.normal(size=3)
            shift = way / np.linalg.norm(way) * rng.uniform(*DISPLACED_MM)
            turn = rotation(rng.uniform(-1, 1, 3) * DISPLACED_DEG, centre=centre)
            found.append(self.at(mr_from_ct @ translation(shift) @ turn))
        return np.array(found)
