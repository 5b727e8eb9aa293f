"""A restrained affine step after the rigid one, kept only if it improves the match.

Scanners reproduce lengths to a per cent or two. An affine motion that changes more, or
that does not raise the similarity at held-out points by more than chance, has followed
noise: on RIRE's first case an unrestrained affine step doubles the error of the rigid
one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hanseg_registration.geometry.motions import Motion, shear, stretch
from hanseg_registration.similarity.gain import Gain
from hanseg_shared.errors import RegistrationError

SMALLEST_IMPROVEMENT = 0.04
"""Share by which an affine pose must be more similar than the rigid one.

Measured: -0.4 to 1.4 % where the truth is rigid, and 12 to 17 % where one axis of the
MR was off by 2.5 %. The former is a bias of the measure, not chance, so that the lower
bound alone would not refuse it.
"""

LARGEST_SCALE_CHANGE = 0.05
"""The most an affine pose may change a length in any direction, as a share of it.

Scanners are accredited to 2 mm of 190 (ACR MRI phantom test, geometric accuracy), 1 %;
gradients whose curvature nobody corrected reach a few per cent at the edge of a head.
A scanner's error is not larger.
"""

LARGEST_SHEAR = 0.05
"""The most it may change a right angle between the patient's axes, in radians.

Gradient coils are perpendicular to each other within much less. But a length that is
off by 5 % along one axis of a scanner turned by 25 degrees, the largest turn that
headers are trusted to, is a shear of 0.04 along the patient's.
"""


@dataclass(frozen=True, slots=True, eq=False)
class AffineRefinement:
    """The pose to use after an affine step was tried.

    Attributes:
        pose: The affine pose, or the rigid one if that is kept.
        reason: Why.
        kept: Whether `pose` is the affine one.
        tried: The affine pose, kept or not; None if there was none.
        gain: What it does to the similarity; None likewise.
    """

    pose: Motion
    reason: str
    kept: bool
    tried: Motion | None = None
    gain: Gain | None = None

    def measures(self) -> dict[str, float]:
        """Return the numbers by name, as `registration.json` has them."""
        found = {"affine_kept": float(self.kept)}
        if self.tried is not None:
            found["affine_stretch_share"] = stretch(self.tried)
            found["affine_shear"] = shear(self.tried)
        if self.gain is not None:
            found["affine_similarity"] = self.gain.after
            found["affine_gain"] = self.gain.after - self.gain.before
            found["affine_gain_at_least"] = self.gain.at_least
        return {k: round(v, 5) for k, v in found.items()}


def refine_affinely(
    compare: Callable[[Motion, Motion], Gain],
    rigid: Motion,
    optimise: Callable[[Motion], Motion],
) -> AffineRefinement:
    """Try an affine step from a rigid pose.

    Args:
        compare: Returns the gain of the second of two poses over the first at
            held-out points; see `similarity.gain.measure_gain`.
        rigid: The rigid ``mr_from_ct``.
        optimise: Runs elastix with the affine map from a start.
    """
    try:
        tried = optimise(rigid)
    except RegistrationError as error:
        return AffineRefinement(rigid, f"the rigid pose is kept: {error}", kept=False)
    found = compare(rigid, tried)
    refusal = _why_implausible(tried) or _why_needless(found)
    if refusal:
        reason = f"the rigid pose is kept: {refusal}"
        return AffineRefinement(rigid, reason, kept=False, tried=tried, gain=found)
    reason = (
        "the affine step raised the similarity of held-out points from "
        f"{found.before:.3f} to {found.after:.3f}"
    )
    return AffineRefinement(tried, reason, kept=True, tried=tried, gain=found)


def _why_implausible(tried: Motion) -> str | None:
    """Return why no scanner distorts like this; None if one may."""
    size, skew = stretch(tried), shear(tried)
    if size > LARGEST_SCALE_CHANGE:
        return (
            f"the affine step stretches lengths by {100 * size:.1f} %; up to "
            f"{100 * LARGEST_SCALE_CHANGE:.0f} % are accepted"
        )
    if skew > LARGEST_SHEAR:
        return (
            f"the affine step shears by {skew:.3f} radians; up to {LARGEST_SHEAR} are "
            "accepted"
        )
    return None


def _why_needless(found: Gain) -> str | None:
    """Return why the gain is too small or may be chance; None if it is neither."""
    if found.share < SMALLEST_IMPROVEMENT:
        return (
            "the affine step does not raise the similarity of held-out points "
            f"enough ({found.before:.4f} to {found.after:.4f})"
        )
    if found.at_least <= 0.0:
        return (
            "the affine step may have raised the similarity of held-out points by "
            f"chance ({found.before:.4f} to {found.after:.4f}, at least "
            f"{found.at_least:+.4f})"
        )
    return None
