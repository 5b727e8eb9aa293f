"""A smooth deformation after the rigid pose, kept only if it can be believed.

A neck that is bent otherwise, a jaw that is open: no rigid motion follows them. A
deformation can follow them, and can follow noise and another person's anatomy as well.
So the verdict still asks most of its questions of the rigid pose (only how well two
runs agree, and whether a climb leads away, are asked of what is handed on), and the
deformation must pass tests of its own, or the rigid pose is kept and the report says
why:

- two runs, from two rigid ends with two seeds, agree where the MR has data;
- it folds nothing: no small volume becomes nearly nothing, or many times as large;
- it moves no point further than a patient bends;
- at points held out from elastix the similarity rises, and not by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.motions import Motion, apply, inverse
from hanseg_registration.geometry.sampling import look_up
from hanseg_registration.search.beside import side_by_side
from hanseg_registration.similarity.held_out import Gain, gain
from hanseg_registration.verdict import LARGEST_DISAGREEMENT_MM, Similarity
from hanseg_shared.errors import RegistrationError
from hanseg_shared.grid import Points
from hanseg_shared.volume import Volume

SECONDS_NEEDED = 60.0
"""With less time left no deformation is begun.

Measured: two runs side by side take 13 to 17 s of each of two processors.
"""

LATTICE_MM = 5.0
"""Distance of the points at which small volumes are measured; control points are 30 mm
apart."""

SMALLEST_JACOBIAN = 0.3
LARGEST_JACOBIAN = 3.0
"""What a small volume may become, as a factor; at 0 tissue is folded.

Measured: 0.55 to 1.5 for 19 patients bent by 6 mm in the mean.
"""

LARGEST_DISPLACEMENT_MM = 30.0
"""The most a point that the MR shows may move after the rigid pose.

19 patients bent by 6 mm in the mean moved by 6 to 17 mm at the most.
"""

SMALLEST_IMPROVEMENT = 0.22
"""Share by which the similarity at points held out must rise.

Measured: 0.28 to 0.90 for patients bent by 6 mm in the mean. On RIRE 001, a head that
is not bent, it rose by 0.17, surely and in both runs, while the error over the brain
grew from 0.5 to 2.6 mm: so much can bias alone do, and what gains no more is refused.
"""

FEWEST_POINTS = 500
"""With fewer held-out points shown by the MR a deformation is not judged."""

Bend = Callable[[Motion, int], Deformation]
"""Returns what a library does to points of the CT before a pose, for a run's number."""


@dataclass(frozen=True, slots=True, eq=False)
class Bending:
    """What came of a deformable step.

    Attributes:
        deformation: What happens to points of the CT before the rigid pose; None if
            the rigid pose is kept.
        reason: Why.
        agreement_mm: Distance of two runs' ends, mean over what the MR shows; None if
            there are none.
        numbers: The others, by their names in `registration.json`.
    """

    deformation: Deformation | None
    reason: str
    agreement_mm: float | None
    numbers: dict[str, float]

    @property
    def kept(self) -> bool:
        """Whether the MR is deformed."""
        return self.deformation is not None

    def measures(self) -> dict[str, float]:
        """Return the numbers by name, as `registration.json` has them."""
        found = {"deformable_kept": float(self.kept), **self.numbers}
        if self.agreement_mm is not None:
            found["deformable_agreement_mm"] = self.agreement_mm
        return {name: round(value, 5) for name, value in found.items()}


def deformed(similarity: Similarity, deformation: Deformation | None) -> Similarity:
    """Return the comparison of images after points of the CT were deformed."""
    if deformation is None:
        return similarity
    points = similarity.points
    return replace(similarity, points=points + deformation.displacement_mm(points))


def rigid_kept(reason: str) -> Bending:
    """Return that no deformation was found."""
    return Bending(None, f"the rigid pose is kept: {reason}", None, {})


def refine_deformably(
    similarity: Similarity,
    rigid: Motion,
    *,
    region: Volume,
    ends: Sequence[Motion],
    bend: Bend,
    seconds_left: float,
) -> Bending:
    """Try to deform the CT's points before a rigid pose.

    Args:
        similarity: Compares the images at points held out from elastix.
        rigid: The rigid ``mr_from_ct``.
        region: 1 where the MR shows the CT's head at that pose.
        ends: Two rigid poses near it, for a run each.
        bend: Runs elastix from a pose.
        seconds_left: Until the deadline.
    """
    if seconds_left < SECONDS_NEEDED:
        return rigid_kept(
            f"a deformation may take {SECONDS_NEEDED:.0f} s, and "
            f"{seconds_left:.0f} s are left"
        )
    points = _shown(similarity.points, region)
    if len(points) < FEWEST_POINTS:
        return rigid_kept("the MR shows too little of the head to judge a deformation")
    try:
        runs = side_by_side(lambda: bend(ends[0], 0), lambda: bend(ends[1], 1))
    except RegistrationError as error:
        return rigid_kept(error.message)
    alike = [
        run.before(inverse(rigid) @ end) for run, end in zip(runs, ends, strict=True)
    ]
    return _judged(similarity, rigid, points, alike)


def _shown(points: Points, region: Volume) -> Points:
    values, inside = look_up(region, points)
    return points[(values > 0.5) & inside]


def _judged(
    similarity: Similarity, rigid: Motion, points: Points, runs: Sequence[Deformation]
) -> Bending:
    """Judge the middle of two deformations that come before the same pose."""
    one, other = (run.displacement_mm(points) for run in runs)
    agreement = float(np.linalg.norm(one - other, axis=1).mean())
    lengths = np.linalg.norm((one + other) / 2.0, axis=1)
    middle = np.mean([run.coefficients_mm for run in runs], axis=0)
    deformation = Deformation.fading(middle, runs[0].lattice)
    volumes = deformation.determinants(LATTICE_MM)
    after = deformed(similarity, deformation)
    found = gain(
        similarity, apply(rigid, similarity.points), apply(rigid, after.points)
    )
    numbers = {
        "deformation_mean_mm": float(lengths.mean()),
        "deformation_max_mm": float(lengths.max()),
        "smallest_jacobian": float(volumes.min()),
        "largest_jacobian": float(volumes.max()),
        "deformable_similarity": found.after,
        "deformable_gain": found.after - found.before,
        "deformable_gain_at_least": found.at_least,
    }
    refusal = _unsteady(agreement) or _impossible(numbers) or _needless(found)
    if refusal:
        reason = f"the rigid pose is kept: {refusal}"
        return Bending(None, reason, agreement, numbers)
    reason = (
        f"it is deformed by {numbers['deformation_mean_mm']:.1f} mm in the mean, which "
        "raised the similarity of held-out points from "
        f"{found.before:.3f} to {found.after:.3f}"
    )
    return Bending(deformation, reason, agreement, numbers)


def _unsteady(agreement_mm: float) -> str | None:
    if agreement_mm > LARGEST_DISAGREEMENT_MM:
        return (
            f"two deformations end {agreement_mm:.1f} mm apart; up to "
            f"{LARGEST_DISAGREEMENT_MM:.1f} mm are accepted"
        )
    return None


def _impossible(numbers: dict[str, float]) -> str | None:
    """Return why no patient is deformed like this."""
    furthest = numbers["deformation_max_mm"]
    if furthest > LARGEST_DISPLACEMENT_MM:
        return (
            f"the deformation moves points by up to {furthest:.0f} mm; up to "
            f"{LARGEST_DISPLACEMENT_MM:.0f} mm are accepted"
        )
    smallest, largest = numbers["smallest_jacobian"], numbers["largest_jacobian"]
    if smallest < SMALLEST_JACOBIAN or largest > LARGEST_JACOBIAN:
        return (
            f"the deformation changes volumes by factors of {smallest:.2f} to "
            f"{largest:.2f}; {SMALLEST_JACOBIAN} to {LARGEST_JACOBIAN} are accepted"
        )
    return None


def _needless(found: Gain) -> str | None:
    """Return why what a deformation gains may be chance, or is not worth it."""
    if found.share < SMALLEST_IMPROVEMENT or found.at_least <= 0.0:
        return (
            "the deformation does not surely raise the similarity of held-out points "
            f"by {100 * SMALLEST_IMPROVEMENT:.0f} % ({found.before:.4f} to "
            f"{found.after:.4f}, gained at least {found.at_least:+.4f})"
        )
    return None
