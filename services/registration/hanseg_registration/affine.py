"""A restrained affine step after the rigid one, kept only if it earns its place.

Scanners hold lengths to a per cent or two. An affine motion that changes more, or
that does not raise the similarity at points which elastix did not optimise, has
followed noise: on RIRE's first case a free affine step doubles the error of the rigid
one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hanseg_registration.motions import Motion, stretch
from hanseg_registration.verdict import LARGEST_STRETCH
from hanseg_shared.errors import RegistrationError

SMALLEST_IMPROVEMENT = 0.01
"""Share by which an affine pose must be more similar than the rigid one."""


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """The pose to use after an affine step was tried.

    Attributes:
        pose: The affine pose, or the rigid one it did not better.
        reason: Why.
        similarity: Of the affine pose; None if there was none.
        stretch: Largest change of a length by the affine pose, as a share.
        kept: Whether `pose` is the affine one.
    """

    pose: Motion
    reason: str
    similarity: float | None
    stretch: float | None
    kept: bool

    def measures(self) -> dict[str, float]:
        """Return the numbers by name, as `registration.json` has them."""
        found = {
            "affine_kept": float(self.kept),
            "affine_similarity": self.similarity,
            "affine_stretch_share": self.stretch,
        }
        return {k: round(v, 5) for k, v in found.items() if v is not None}


def refine_affinely(
    similarity: Callable[[Motion], float],
    rigid: Motion,
    optimise: Callable[[Motion], Motion],
) -> Refinement:
    """Try an affine step from a rigid pose.

    Args:
        similarity: Scores a pose at points held out from elastix; see
            `hanseg_registration.verdict.Similarity.at`.
        rigid: The rigid ``mr_from_ct``.
        optimise: Runs elastix with the affine map from a start.
    """
    try:
        pose = optimise(rigid)
    except RegistrationError as error:
        return Refinement(rigid, f"the rigid pose is kept: {error}", None, None, False)
    before, after, size = similarity(rigid), similarity(pose), stretch(pose)
    refusal = _refusal(before, after, size)
    if refusal:
        reason = f"the rigid pose is kept: {refusal}"
        return Refinement(rigid, reason, after, size, False)
    reason = f"the affine step raised the similarity from {before:.3f} to {after:.3f}"
    return Refinement(pose, reason, after, size, True)


def _refusal(before: float, after: float, size: float) -> str | None:
    if size > LARGEST_STRETCH:
        return f"the affine step stretches lengths by {100 * size:.1f} %"
    if after < before * (1.0 + SMALLEST_IMPROVEMENT):
        return (
            "the affine step does not raise the similarity of held-out points "
            f"enough ({before:.4f} to {after:.4f})"
        )
    return None
