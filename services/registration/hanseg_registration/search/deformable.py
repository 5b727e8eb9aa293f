"""A smooth deformation before the rigid pose, kept only if it is credible.

No rigid motion follows a neck that is bent differently or a jaw that is open. A
deformation can follow them, but also noise and another person's anatomy. The verdict
therefore still judges the rigid pose (only the agreement of two runs and the drift are
measured after the deformation), and the deformation must pass the following tests, or
the rigid pose is kept and the report says why:

- two runs, from two rigid ends with two seeds, agree where the MR has data;
- it folds no tissue: no small volume nearly vanishes or grows many times as large;
- it moves no point further than a patient can bend;
- at points held out from elastix the similarity rises, and not by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.motions import Motion, apply, inverse
from hanseg_registration.geometry.sampling import look_up
from hanseg_registration.limits import LARGEST_DISAGREEMENT_MM
from hanseg_registration.search.parallel import run_side_by_side
from hanseg_registration.search.rigid import SECOND_SEED
from hanseg_registration.similarity.gain import Gain, measure_gain
from hanseg_registration.similarity.similarity import Similarity
from hanseg_shared.errors import RegistrationError
from hanseg_shared.grid import Points
from hanseg_shared.volume import Volume

SECONDS_NEEDED = 60.0
"""With less time left no deformation is tried.

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
is not bent, it rose by 0.17, significantly and in both runs, while the error over the
brain grew from 0.5 to 2.6 mm: so large a gain can be bias alone, and is refused.
"""

FEWEST_POINTS = 500
"""With fewer held-out points in the MR's data no deformation is tried."""

Deform = Callable[[Motion, int | None], Deformation]
"""Returns the deformation that a library finds before a pose, with a seed or None."""


@dataclass(frozen=True, slots=True, eq=False)
class DeformableRefinement:
    """The outcome of a deformable step.

    Attributes:
        deformation: What happens to points of the CT before the rigid pose; None if
            the rigid pose is kept.
        reason: Why.
        agreement_mm: Distance between the two runs' deformations, mean over what the
            MR shows; None if there were no runs.
        numbers: The other numbers, by their names in `registration.json`.
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


def keep_rigid(reason: str) -> DeformableRefinement:
    """Return the outcome without a deformation."""
    return DeformableRefinement(None, f"the rigid pose is kept: {reason}", None, {})


def refine_deformably(
    similarity: Similarity,
    rigid: Motion,
    *,
    region: Volume,
    ends: Sequence[Motion],
    deform: Deform,
    seconds_left: float,
) -> DeformableRefinement:
    """Try to deform the CT's points before a rigid pose.

    Args:
        similarity: Compares the images at points held out from elastix.
        rigid: The rigid ``mr_from_ct``.
        region: 1 where the MR shows the CT's head at that pose.
        ends: Two rigid poses near it, one for each run.
        deform: Runs elastix from a pose.
        seconds_left: Until the deadline.
    """
    if seconds_left < SECONDS_NEEDED:
        return keep_rigid(
            f"a deformation may take {SECONDS_NEEDED:.0f} s, and "
            f"{seconds_left:.0f} s are left"
        )
    points = _points_in(region, similarity.points)
    if len(points) < FEWEST_POINTS:
        return keep_rigid("the MR shows too little of the head to judge a deformation")
    try:
        runs = run_side_by_side(
            lambda: deform(ends[0], None), lambda: deform(ends[1], SECOND_SEED)
        )
    except RegistrationError as error:
        return keep_rigid(error.message)
    before_rigid = [
        run.append_motion(inverse(rigid) @ end)
        for run, end in zip(runs, ends, strict=True)
    ]
    return _judge_runs(similarity, rigid, points, before_rigid)


def _points_in(region: Volume, points: Points) -> Points:
    values, inside = look_up(region, points)
    return points[(values > 0.5) & inside]


def _judge_runs(
    similarity: Similarity, rigid: Motion, points: Points, runs: Sequence[Deformation]
) -> DeformableRefinement:
    """Judge the mean of two deformations that come before the same pose."""
    one, other = (run.displacement_mm(points) for run in runs)
    agreement = float(np.linalg.norm(one - other, axis=1).mean())
    lengths = np.linalg.norm((one + other) / 2.0, axis=1)
    middle = np.mean([run.coefficients_mm for run in runs], axis=0)
    deformation = Deformation.fading(middle, runs[0].lattice)
    volumes = deformation.determinants(LATTICE_MM)
    deformed = similarity.deform(deformation.displacement_mm)
    gain = measure_gain(
        similarity, apply(rigid, similarity.points), apply(rigid, deformed.points)
    )
    numbers = {
        "deformation_mean_mm": float(lengths.mean()),
        "deformation_max_mm": float(lengths.max()),
        "smallest_jacobian": float(volumes.min()),
        "largest_jacobian": float(volumes.max()),
        "deformable_similarity": gain.after,
        "deformable_gain": gain.after - gain.before,
        "deformable_gain_at_least": gain.at_least,
    }
    refusal = (
        _why_unsteady(agreement) or _why_implausible(numbers) or _why_needless(gain)
    )
    if refusal:
        reason = f"the rigid pose is kept: {refusal}"
        return DeformableRefinement(None, reason, agreement, numbers)
    reason = (
        f"it is deformed by {numbers['deformation_mean_mm']:.1f} mm in the mean, which "
        "raised the similarity of held-out points from "
        f"{gain.before:.3f} to {gain.after:.3f}"
    )
    return DeformableRefinement(deformation, reason, agreement, numbers)


def _why_unsteady(agreement_mm: float) -> str | None:
    """Return how far two runs disagree; None if they agree."""
    if agreement_mm > LARGEST_DISAGREEMENT_MM:
        return (
            f"two deformations end {agreement_mm:.1f} mm apart; up to "
            f"{LARGEST_DISAGREEMENT_MM:.1f} mm are accepted"
        )
    return None


def _why_implausible(numbers: dict[str, float]) -> str | None:
    """Return why no patient is deformed like this; None if one may be."""
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


def _why_needless(gain: Gain) -> str | None:
    """Return why the gain is too small or may be chance; None if it is neither."""
    if gain.share < SMALLEST_IMPROVEMENT or gain.at_least <= 0.0:
        return (
            "the deformation does not surely raise the similarity of held-out points "
            f"by {100 * SMALLEST_IMPROVEMENT:.0f} % ({gain.before:.4f} to "
            f"{gain.after:.4f}, gained at least {gain.at_least:+.4f})"
        )
    return None
