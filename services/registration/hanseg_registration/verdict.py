"""The numbers that an MR is judged by, and their limits.

A wrongly placed MR is worse than none, so every registration is asked questions that
a wrong one fails (`hanseg_registration.judge` asks them):

- Is the similarity at the pose above what displaced poses reach by chance?
- Does another start, with other random samples, end at the same place?
- Is the pose a summit of the similarity, or does a climb leave it?
- Does the MR's skin lie on the CT's?
- Does the MR cover enough of the head?
- Does the MR fit better than its own mirror image? No two heads are asymmetric in the
  same way, so another patient's MR fits as well either way round, and one whose left
  and right were swapped fits worse.
- Is the motion a believable one (finite, turned by less than the headers allow)?
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hanseg_registration.geometry.head import Head
from hanseg_registration.geometry.motions import (
    Motion,
    apply,
    rotation,
    rotation_deg,
    scale,
    shear,
    stretch,
    translation,
)
from hanseg_registration.geometry.sampling import look_up
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
"""Poses that show how similar the two images are where they do not belong."""

DISPLACED_MM = (20.0, 45.0)
"""How far those are shifted."""

DISPLACED_DEG = 20.0
"""The most they are turned about each axis."""

SMALLEST_EXCESS = 2.5
"""Required similarity gain over the mean displaced pose, as a multiple of it.

Measured: 3.8 on RIRE 001 and 6 to 17 on simulated MR; 1.2 to 3.3 for other people's
heads, heads turned upside down, and cylinders.
"""

SMALLEST_Z_SCORE = 8.4
"""Required similarity above displaced poses, in their standard deviations.

Measured: 9.8 and more for 210 right poses (RIRE 001 9.8, simulated MR 10 to 45), 8.8
for bent patients; 6.1 to 8.0 for whole heads and long slabs whose header stretched the
slices by a quarter.
"""

SMALLEST_GAIN = 0.05
"""Required normalised mutual information above independence.

Measured: 0.23 on RIRE 001 and 0.24 to 0.38 on simulated MR; below 0.003 for noise.
"""

LARGEST_DISAGREEMENT_MM = 1.0
"""How far two starts may end apart, on average over the head.

Measured: up to 0.8 for right poses, 0.5 to 17 for wrong ones. Of nine slabs cut from
RIRE 001's MR, those that stayed below lie within 2.0 mm of the markers where they have
data, those above 1.9 to 7 mm; networks are trained with MR up to 2 mm out of place.
"""

LARGEST_DRIFT_MM = 4.0
"""How far a climb may leave the pose, on average over the head.

It tells how wrong a pose is: for poses displaced on purpose by 2 to 30 mm it was within
1 mm of that. Measured: up to 1.1 mm on nine simulated MRs and 2.5 mm on RIRE 001 for
right poses; 6.6 to 8.8 mm for the same poses 8 mm off.
"""

SMALLEST_SKIN_SHARE = 0.55
"""Share of the CT's skin that must have the MR's within 3 mm.

Measured: 0.72 to 0.98 for right poses (RIRE 001 and nine simulated MRs); 0.31 to 0.45
for other people's heads. Of poses 8 mm off (0.34 to 0.75) it finds out few: drift does.
"""

LARGEST_SKIN_DISTANCE_MM = 2.5
"""Median distance of the MR's skin from the CT's.

Measured: at most 2.0 mm for 210 right poses; 3 to 5 mm where a header stretched the
slices by a quarter and nothing else told, a 60 mm slab above all.
"""

LARGEST_BENT_SKIN_DISTANCE_MM = 3.5
"""The same at the rigid pose of an MR that is deformed, if it is kept within
`LARGEST_SKIN_DISTANCE_MM` after that: a bent neck is what the deformation is for.

Measured: 1 to 3 mm for 18 bent patients whose deformed MR was right, 4 mm for one that
was and one that was not.
"""

SMALLEST_COVERAGE = 0.05
"""Share of the CT's head that the MR's data must cover."""

LARGEST_ROTATION_DEG = 40.0
"""Headers' directions are trusted to 25 degrees; a larger turn than this is wrong."""

LARGEST_STRETCH = 0.08
"""The most an affine motion may change a length: scanners are better than that."""

LARGEST_MIRROR_SHARE = 0.96
"""Similarity the mirror image may reach, as a share of the MR's own.

Measured: 0.89 on RIRE 001 and 0.47 to 0.78 on simulated MR; 0.97 to 1.02 for other
people's heads, and 1.12 to 1.6 where left and right were swapped.
"""

SWAPPED_MIRROR_SHARE = 1.04
"""From this share on the mirror image is the better MR."""


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

    def thinned(self, count: int) -> Similarity:
        """Return the comparison at the first of the points, which are in no order."""
        return replace(self, points=self.points[:count], ct=self.ct[:count])

    def at(self, mr_from_ct: Motion) -> float:
        """Return the normalised mutual information above independence at a pose.

        0 means that the CT tells nothing about the MR, or that they do not meet.
        """
        values, inside = look_up(self.mr, apply(mr_from_ct, self.points))
        if inside.mean() < SMALLEST_COVERAGE:
            return 0.0
        classes = mr_classes(values[inside], low=self.low, high=self.high)
        counts = joint_counts(self.ct[inside], classes)
        return float(normalised_mutual_information(counts)) - 1.0

    def displaced(self, mr_from_ct: Motion) -> npt.NDArray[np.float64]:
        """Return the similarity at poses that are wrong by construction."""
        rng = np.random.default_rng(SAMPLE_SEED)
        centre = self.points.mean(axis=0)
        found = []
        for _ in range(DISPLACED_POSES):
            way = rng.normal(size=3)
            shift = way / np.linalg.norm(way) * rng.uniform(*DISPLACED_MM)
            turn = rotation(rng.uniform(-1, 1, 3) * DISPLACED_DEG, centre=centre)
            found.append(self.at(mr_from_ct @ translation(shift) @ turn))
        return np.array(found)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The numbers that a verdict is made of.

    Attributes:
        similarity_before: Where the headers alone put the MR.
        similarity_after: At the pose found.
        similarity_displaced: Mean over displaced poses.
        similarity_displaced_max: The best of them.
        similarity_displaced_sd: Their standard deviation.
        similarity_mirrored: Of the MR's mirror image where it fits best; None if that
            was not tried.
        agreement_mean_mm: Distance between two starts' ends, mean over the head;
            None if there was one start only.
        field_of_view_share: Share of the CT's head that the MR's data cover.
        rotation_deg: Angle between the headers' directions and the pose.
        translation_mm: Shift of the head's centre against the headers' origins.
        stretch_share: Largest change of a length, 0 for a rigid motion.
        scale_share: Change of volume, as a share of a length; 0 for a rigid motion.
        shear: largest change of a right angle, in radians; 0 for a rigid motion.
        finite: Whether the transform is finite and can be inverted.
        drift_mm: How far a climb of the similarity leaves the pose, mean over the
            head; see `hanseg_registration.similarity.drift`.
        skin_distance_mm, skin_near_share: See
            `similarity.edges.EdgeAgreement`; None where the MR shows too few.
        skin_distance_deformed_mm: The former after a deformation; None without one.
        bone_darker_share: Likewise, and for review alone: marrow is bone to a CT and
            bright in an MR, so that it was 0.27 to 0.78 at right poses.
    """

    similarity_before: float
    similarity_after: float
    similarity_displaced: float
    similarity_displaced_max: float
    field_of_view_share: float
    rotation_deg: float
    translation_mm: float
    stretch_share: float
    finite: bool
    scale_share: float = 0.0
    shear: float = 0.0
    similarity_displaced_sd: float = 0.0
    agreement_mean_mm: float | None = None
    drift_mm: float | None = None
    similarity_mirrored: float | None = None
    skin_distance_mm: float | None = None
    skin_near_share: float | None = None
    skin_distance_deformed_mm: float | None = None
    bone_darker_share: float | None = None

    @classmethod
    def of_no_motion(cls) -> Evidence:
        """Return what is known of a transform that is not finite and invertible."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, finite=False)

    @property
    def z_score(self) -> float:
        """Similarity above displaced poses, in their standard deviations."""
        gained = self.similarity_after - self.similarity_displaced
        return gained / max(self.similarity_displaced_sd, 1e-6)

    @property
    def excess(self) -> float:
        """Similarity gained over displaced poses, as a multiple of theirs."""
        return self.similarity_after / max(self.similarity_displaced, 1e-6) - 1.0

    def measures(self) -> dict[str, float]:
        """Return the numbers by name and unit, as `registration.json` has them."""
        return {
            name: round(value, 5)
            for name, value in self._known().items()
            if np.isfinite(value)
        }

    def not_numbers(self) -> list[str]:
        """Return the names of those that came out as NaN or infinite."""
        return [name for name, value in self._known().items() if not np.isfinite(value)]

    def _known(self) -> dict[str, float]:
        """Return the numbers by name, without those that were not asked for."""
        found: dict[str, float | None] = {
            "similarity_before": self.similarity_before,
            "similarity_after": self.similarity_after,
            "similarity_displaced_mean": self.similarity_displaced,
            "similarity_displaced_max": self.similarity_displaced_max,
            "similarity_excess": self.excess,
            "similarity_z_score": self.z_score,
            "similarity_mirrored": self.similarity_mirrored,
            "agreement_mean_mm": self.agreement_mean_mm,
            "drift_mm": self.drift_mm,
            "skin_distance_mm": self.skin_distance_mm,
            "skin_near_share": self.skin_near_share,
            "skin_distance_deformed_mm": self.skin_distance_deformed_mm,
            "bone_darker_share": self.bone_darker_share,
            "field_of_view_share": self.field_of_view_share,
            "rotation_deg": self.rotation_deg,
            "translation_mm": self.translation_mm,
            "stretch_share": self.stretch_share,
            "scale_share": self.scale_share,
            "shear": self.shear,
            "transform_is_finite": float(self.finite),
        }
        return {name: value for name, value in found.items() if value is not None}


def motion_numbers(mr_from_ct: Motion, centre: Points) -> dict[str, float]:
    """Return rotation, shift of a centre, stretch, scale and shear of a pose."""
    return {
        "rotation_deg": rotation_deg(mr_from_ct),
        "translation_mm": float(np.linalg.norm(apply(mr_from_ct, centre) - centre)),
        "stretch_share": stretch(mr_from_ct),
        "scale_share": scale(mr_from_ct),
        "shear": shear(mr_from_ct),
    }
