"""The coarse search for the MR's pose, which trusts no origin.

Scanners place their origins anywhere: in their headers CT and MR of one patient are up
to a metre apart, and only the directions can be relied on. The search puts points of
the MR's head at every place of the CT's head, in a few rotations, and keeps the poses
with the highest mutual information. It is exhaustive and samples its points with a
fixed seed, so the same images give the same start.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from hanseg_registration.geometry.head import SEARCH_SPACING_MM, Head
from hanseg_registration.geometry.motions import (
    Motion,
    apply,
    inverse,
    rotation,
    translation,
)
from hanseg_registration.similarity.mutual_information import (
    CT_CLASSES,
    Classes,
    ct_classes,
    joint_counts,
    mr_classes,
    normalised_mutual_information,
)
from hanseg_shared.grid import Points

Poses = npt.NDArray[np.float64]
"""Rows of six numbers; see `CoarseSearch`."""

Indices = npt.NDArray[np.int32]

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

CANDIDATES = 24
"""Local maxima of the exhaustive search that are climbed."""

FINALISTS = 5
"""Poses that are refined with many points."""

COARSE_STEPS = ((8.0, 8.0), (4.0, 4.0))
"""Steps of the climb with few points: millimetres, degrees."""

FINE_STEPS = ((4.0, 4.0), (2.0, 2.0), (1.0, 1.0))
"""Steps of the climb with many points: millimetres, degrees."""

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

    Poses that the refinement moves to the same place count once, so there may be fewer
    than `count`; there is always one.
    """
    coarse = CoarseSearch.over(ct, mr, points=SEARCH_POINTS)
    fine = CoarseSearch.over(ct, mr, points=REFINE_POINTS)
    candidates = [coarse.climb(pose, COARSE_STEPS) for pose in coarse.search_lattice()]
    candidates.sort(key=lambda candidate: -candidate[1])
    ends = [fine.climb(pose, FINE_STEPS) for pose, _ in candidates[:FINALISTS]]
    starts = [Start(fine.motion(pose), score) for pose, score in ends]
    starts.sort(key=lambda start: -start.score)
    return _drop_duplicates(starts, mr.points(50))[:count]


def _drop_duplicates(starts: list[Start], points: Points) -> list[Start]:
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
class CoarseSearch:
    """Points of an MR's head, scored in the head of a CT.

    A pose is six numbers: the shift, x y z in mm, of the MR head's centre from the
    CT head's, and the angles about x, y, z in degrees.

    Attributes:
        classes: The CT's classes on its coarse grid with one more cube all around,
            z y x; `CT_CLASSES` in that border and wherever the head is not.
        points: The MR's points relative to the centre of its head, in cubes,
            ``(n, 3)``.
        mr: The MR's classes at the points, ``(n,)``.
        ct_centre: Centre of the CT's head, in cubes, as an index into `classes`.
        ct_centre_mm, mr_centre_mm: Centres of the two heads, in mm.
        shifts: The lattice of shifts along x, y and z, in whole cubes.
    """

    classes: Classes
    points: Points
    mr: Classes
    ct_centre: Points
    ct_centre_mm: Points
    mr_centre_mm: Points
    shifts: tuple[Indices, Indices, Indices]

    @classmethod
    def over(cls, ct: Head, mr: Head, *, points: int) -> CoarseSearch:
        """Prepare the search of an MR's head in a CT's."""
        classes = np.where(ct.mask, ct_classes(ct.coarse.array), CT_CLASSES)
        at = mr.points(points)
        x, y, z = np.rint(mr.coarse.grid.world_to_index(at)).astype(int).T
        low, high = np.percentile(mr.coarse.array[mr.mask], (2.0, 98.0))
        return cls(
            classes=np.pad(classes.astype(np.uint8), 1, constant_values=CT_CLASSES),
            points=(at - mr.centre) / SEARCH_SPACING_MM,
            mr=mr_classes(mr.coarse.array[z, y, x], low=float(low), high=float(high)),
            ct_centre=ct.coarse.grid.world_to_index(ct.centre) + 1.0,
            ct_centre_mm=ct.centre,
            mr_centre_mm=mr.centre,
            shifts=_lattice(ct, mr),
        )

    def search_lattice(self) -> Poses:
        """Return promising poses of all rotations and shifts, best first.

        Each pose returned is the best of its neighbourhood on the lattice, so that many
        poses around a broad wrong maximum cannot crowd out the one near a narrow
        right maximum.
        """
        angles = list(itertools.product(ROTATIONS_DEG, repeat=3))
        scores = np.stack([self._lattice_scores(turn) for turn in angles])
        turn = scores.argmax(axis=0)
        best = scores.max(axis=0)
        peaks = best * (best == ndimage.maximum_filter(best, size=3, mode="nearest"))
        order = np.argsort(-peaks, axis=None, kind="stable")[:CANDIDATES]
        x, y, z = np.unravel_index(order, peaks.shape)
        shifts = [axis[i] for axis, i in zip(self.shifts, (x, y, z), strict=True)]
        shifts_mm = np.stack(shifts, axis=1) * SEARCH_SPACING_MM
        return np.concatenate([shifts_mm, np.array(angles)[turn[x, y, z]]], axis=1)

    def _lattice_scores(self, angles_deg: tuple[float, ...]) -> npt.NDArray[np.float64]:
        """Return the similarity of one rotation at every shift, ``(x, y, z)``.

        Shifts are whole cubes, so the index of a point in the CT is a sum of one
        number for each axis, and is computed once for each shift along an axis. One
        plane of shifts at a time stays in the processor's cache.
        """
        turned = self.points @ rotation(angles_deg, centre=(0, 0, 0))[:3, :3].T
        index = np.rint(turned + self.ct_centre).astype(np.int32)
        sizes = self.classes.shape[::-1]
        strides = (1, sizes[0], sizes[0] * sizes[1])
        x, y, z = (
            stride * np.clip(index[:, axis] + shifts[:, None], 0, sizes[axis] - 1)
            for axis, (stride, shifts) in enumerate(
                zip(strides, self.shifts, strict=True)
            )
        )
        plane, classes = y[:, None] + z, self.classes.ravel()
        return np.stack([self._scores(classes.take(along + plane)) for along in x])

    def scores(self, poses: Poses) -> npt.NDArray[np.float64]:
        """Return the similarity at each pose, ``(p, 6)`` -> ``(p,)``."""
        turns = Rotation.from_euler("xyz", poses[:, 3:], degrees=True).as_matrix()
        placed = self.points @ turns.transpose(0, 2, 1)
        placed += (self.ct_centre + poses[:, :3] / SEARCH_SPACING_MM)[:, None]
        index = np.rint(placed, out=placed).astype(np.int32)
        np.clip(index, 0, np.array(self.classes.shape[::-1]) - 1, out=index)
        return self._scores(self.classes[index[..., 2], index[..., 1], index[..., 0]])

    def _scores(self, ct: Classes) -> npt.NDArray[np.float64]:
        """Return the similarity of CT classes at the MR's points, ``(..., n)``.

        It is the gain of normalised mutual information over independence, times
        the root of the share of points in the CT's head: without it a small overlap,
        which agrees by chance, would win.
        """
        counts = joint_counts(ct, self.mr)
        share = counts.sum(axis=(-2, -1)) / len(self.points)
        gain = normalised_mutual_information(counts) - 1.0
        return np.where(share >= SMALLEST_OVERLAP, gain * np.sqrt(share), 0.0)

    def climb(
        self, pose: npt.NDArray[np.float64], steps: Sequence[tuple[float, float]]
    ) -> tuple[npt.NDArray[np.float64], float]:
        """Return the pose and score reached in ever smaller steps of mm and degrees."""
        score = float(self.scores(pose[None])[0])
        for mm, deg in steps:
            ahead = np.diag([mm] * 3 + [deg] * 3)
            moves = np.concatenate([ahead, -ahead])
            for _ in range(MOVES_PER_STEP):
                scores = self.scores(pose + moves)
                best = int(scores.argmax())
                if scores[best] <= score:
                    break
                pose, score = pose + moves[best], float(scores[best])
        return pose, score

    def motion(self, pose: npt.NDArray[np.float64]) -> Motion:
        """Return the ``mr_from_ct``, in mm, of a pose."""
        turn = rotation(pose[3:], centre=(0, 0, 0))
        ct_from_head = translation(self.ct_centre_mm + pose[:3])
        return inverse(ct_from_head @ turn @ translation(-self.mr_centre_mm))


def _lattice(ct: Head, mr: Head) -> tuple[Indices, Indices, Indices]:
    """Return the shifts along each axis, in cubes, at which the heads overlap."""
    step = SHIFT_STEP_VOXELS * SEARCH_SPACING_MM
    smaller = np.minimum(ct.high - ct.low, mr.high - mr.low)
    reach = (ct.high - ct.low + mr.high - mr.low) / 2.0 - SMALLEST_OVERLAP * smaller
    reach = np.minimum(reach, (SIDEWAYS_MM, SIDEWAYS_MM, np.inf))
    x, y, z = (
        SHIFT_STEP_VOXELS * np.arange(-n, n + 1, dtype=np.int32)
        for n in np.floor(reach / step).astype(int)
    )
    return x, y, z
