"""Where to start: a coarse search for the MR's pose that trusts no origin.

Scanners place their origins wherever they like: CT and MR of one patient lie up to a
metre apart, and only their directions mean something. The search puts points of the
MR's head at every place of the CT's head, in a few rotations, and keeps the poses at
which the two images tell most about each other. It is exhaustive and draws its
points from a fixed seed, so the same images give the same start.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_registration.head import SEARCH_SPACING_MM, Head
from hanseg_registration.motions import Motion, apply, inverse, rotation, translation
from hanseg_registration.similarity import (
    CT_CLASSES,
    Classes,
    ct_classes,
    joint_counts,
    mr_classes,
    normalised_mutual_information,
)
from hanseg_shared.grid import Grid, Points

SEARCH_POINTS = 1500
"""Points of the MR's head that the exhaustive search compares."""

REFINE_POINTS = 4000
"""Points of the MR's head that the refinement compares."""

ROTATIONS_DEG = (-16.0, 0.0, 16.0)
"""Angles tried about each axis; with the refinement they reach beyond 25 degrees."""

SHIFT_STEP_VOXELS = 3
"""Step of the lattice of shifts, in cubes of `SEARCH_SPACING_MM`."""

SIDEWAYS_MM = 60.0
"""How far head centres, found in both images, may disagree in x and y."""

SMALLEST_OVERLAP = 0.3
"""Share of the MR's points that must lie in the CT's head for a pose to count."""

CANDIDATES = 8
"""Poses of the exhaustive search that are refined."""

REFINE_STEPS = ((8.0, 8.0), (4.0, 4.0), (2.0, 2.0), (1.0, 1.0))
"""Steps of the refinement: millimetres, degrees."""

MOVES_PER_STEP = 12
"""The most moves of one step size before the next smaller one."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A pose to start from.

    Attributes:
        mr_from_ct: Maps points of the CT to points of the MR, in mm.
        score: Its similarity, from 0 (none); see `Search.scores`.
    """

    mr_from_ct: Motion
    score: float


def find_starts(ct: Head, mr: Head, *, count: int = 2) -> list[Start]:
    """Return the best poses of the MR's head in the CT's, best first.

    Poses that the refinement brings together count once, so there may be fewer than
    `count`; there is always one.
    """
    coarse = Search.over(ct, mr, points=SEARCH_POINTS)
    fine = Search.over(ct, mr, points=REFINE_POINTS)
    starts = [fine.refine(pose) for pose in coarse.exhaustive()]
    starts.sort(key=lambda start: -start.score)
    return _distinct(starts, mr.points(50))[:count]


def _distinct(starts: list[Start], points: Points) -> list[Start]:
    """Leave out poses that put the MR's head within 10 mm of a better one."""
    kept: list[Start] = []
    for start in starts:
        there = apply(inverse(start.mr_from_ct), points)
        others = [apply(inverse(other.mr_from_ct), points) for other in kept]
        gaps = [np.linalg.norm(there - other, axis=1).mean() for other in others]
        if all(gap > 10.0 for gap in gaps):
            kept.append(start)
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Points of an MR's head, scored in the head of a CT.

    A pose is six numbers: shift x, y, z in mm of the MR head's centre from the CT
    head's, and angles about x, y, z in degrees.

    Attributes:
        classes: The CT's classes on its coarse grid, `CT_CLASSES` outside its head,
            with a border of such cubes.
        grid: The grid of `classes`.
        points: The MR's points relative to the centre of its head, ``(n, 3)``.
        mr: The MR's classes at the points, ``(n,)``.
        ct_centre, mr_centre: Centres of the two heads, in mm.
        shifts: The lattice of shifts, in whole cubes, ``(k, 3)``.
    """

    classes: Classes
    grid: Grid
    points: Points
    mr: Classes
    ct_centre: Points
    mr_centre: Points
    shifts: npt.NDArray[np.int64]

    @classmethod
    def over(cls, ct: Head, mr: Head, *, points: int) -> Search:
        """Prepare the search of an MR's head in a CT's."""
        classes = np.where(ct.mask, ct_classes(ct.coarse.array), CT_CLASSES)
        at = mr.points(points)
        index = np.rint(mr.coarse.grid.world_to_index(at)).astype(int)
        values = mr.coarse.array[index[:, 2], index[:, 1], index[:, 0]]
        low, high = np.percentile(mr.coarse.array[mr.mask], (2.0, 98.0))
        return cls(
            classes=classes.astype(np.uint8),
            grid=ct.coarse.grid,
            points=at - mr.centre,
            mr=mr_classes(values, low=float(low), high=float(high)),
            ct_centre=ct.centre,
            mr_centre=mr.centre,
            shifts=_lattice(ct, mr),
        )

    def exhaustive(self) -> list[npt.NDArray[np.float64]]:
        """Return the best poses of all rotations and shifts, best first."""
        poses, scores = [], []
        for angles in itertools.product(ROTATIONS_DEG, repeat=3):
            poses.append(self._poses(angles))
            scores.append(self.scores(self._poses(angles)))
        best = np.argsort(-np.concatenate(scores), kind="stable")[:CANDIDATES]
        return list(np.concatenate(poses)[best])

    def _poses(self, angles_deg: tuple[float, ...]) -> npt.NDArray[np.float64]:
        shifts_mm = self.shifts * SEARCH_SPACING_MM
        turned = np.broadcast_to(angles_deg, shifts_mm.shape)
        return np.concatenate([shifts_mm, turned], axis=1)

    def scores(self, poses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the similarity at each pose, ``(p, 6)`` -> ``(p,)``.

        It is the gain of normalised mutual information over independence, times
        the root of the share of points that lie in the CT's head: without it a
        small overlap, which agrees by chance, would win.
        """
        ct = self._lookup(poses)
        counts = joint_counts(ct, self.mr)
        share = counts.sum(axis=(-2, -1)) / len(self.points)
        gain = normalised_mutual_information(counts) - 1.0
        return np.where(share >= SMALLEST_OVERLAP, gain * np.sqrt(share), 0.0)

    def _lookup(self, poses: npt.NDArray[np.float64]) -> Classes:
        """Return the CT's class at every point of every pose, ``(p, n)``."""
        found = np.empty((len(poses), len(self.points)), dtype=np.uint8)
        limits = np.array(self.grid.size)
        for row, pose in enumerate(poses):
            index = np.rint(self.grid.world_to_index(self._placed(pose))).astype(int)
            inside = ((index >= 0) & (index < limits)).all(axis=1)
            x, y, z = index[inside].T
            found[row] = CT_CLASSES
            found[row, inside] = self.classes[z, y, x]
        return found

    def _placed(self, pose: npt.NDArray[np.float64]) -> Points:
        turn = rotation(pose[3:], centre=(0, 0, 0))
        return apply(turn, self.points) + self.ct_centre + pose[:3]

    def refine(self, pose: npt.NDArray[np.float64]) -> Start:
        """Climb from a pose in ever smaller steps."""
        score = float(self.scores(pose[None])[0])
        for mm, deg in REFINE_STEPS:
            steps = np.diag([mm] * 3 + [deg] * 3)
            moves = np.concatenate([steps, -steps])
            for _ in range(MOVES_PER_STEP):
                scores = self.scores(pose + moves)
                best = int(scores.argmax())
                if scores[best] <= score:
                    break
                pose, score = pose + moves[best], float(scores[best])
        return Start(self._motion(pose), score)

    def _motion(self, pose: npt.NDArray[np.float64]) -> Motion:
        turn = rotation(pose[3:], centre=(0, 0, 0))
        ct_from_mr = (
            translation(self.ct_centre + pose[:3]) @ turn @ translation(-self.mr_centre)
        )
        return inverse(ct_from_mr)


def _lattice(ct: Head, mr: Head) -> npt.NDArray[np.int64]:
    """Return shifts, in cubes, at which the two heads overlap enough."""
    step = SHIFT_STEP_VOXELS * SEARCH_SPACING_MM
    smaller = np.minimum(ct.high - ct.low, mr.high - mr.low)
    reach = (ct.high - ct.low + mr.high - mr.low) / 2.0 - SMALLEST_OVERLAP * smaller
    reach = np.minimum(reach, (SIDEWAYS_MM, SIDEWAYS_MM, np.inf))
    counts = np.floor(reach / step).astype(int)
    axes = [SHIFT_STEP_VOXELS * np.arange(-n, n + 1) for n in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
