"""The rigid pose: two searches from two starts, which must end at the same place.

Ends that agree differ by the random samples that each run drew. Their middle is nearer
to the truth than either; two more runs from there go the last tenths of a millimetre.
Of two ends that do not agree the one with the greater similarity is polished, and the
verdict refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hanseg_registration.engines.interface import Step
from hanseg_registration.geometry.head import Head
from hanseg_registration.geometry.motions import (
    Motion,
    distances_mm,
    mean_motion,
    rotation,
    translation,
)
from hanseg_registration.limits import LARGEST_DISAGREEMENT_MM
from hanseg_registration.search.parallel import run_side_by_side
from hanseg_registration.similarity.similarity import Similarity

SECOND_SEED = 8191
"""Seed of the second run of a step, which draws other samples than the first."""

SECOND_START_MM = (5.0, -5.0, 5.0)
SECOND_START_DEG = (4.0, -4.0, 4.0)
"""How the second run's start differs from the first's: about the coarse search's
uncertainty, so that agreement means that the run, not the start, found the place."""

CONVERGED_MM = 0.35
"""Ends of two starts that are nearer to each other, on average over the head, have
converged; others are searched from for longer. Simulated MR mostly end 0.06 to 0.3
apart, RIRE 001 seldom."""

HEAD_POINTS = 2000
"""Points of the CT's head over which distances are averaged."""

Poses = tuple[Motion, Motion]


class FindPose(Protocol):
    """Runs a step of an engine from a start; see `engines.interface.Engine.find`."""

    def __call__(self, step: Step, start: Motion, *, seed: int | None = None) -> Motion:
        """Return the pose that is reached."""


@dataclass(frozen=True, slots=True, eq=False)
class RigidEnds:
    """Where the searches from two starts ended.

    Attributes:
        poses: The two rigid ``mr_from_ct``.
        apart_mm: How far apart they put the CT's head, on average.
    """

    poses: Poses
    apart_mm: float

    @classmethod
    def of(cls, poses: Poses, head: Head) -> RigidEnds:
        """Measure how far apart two poses put the CT's head."""
        points = head.points(HEAD_POINTS)
        return cls(poses, float(distances_mm(*poses, points).mean()))

    @property
    def agree(self) -> bool:
        """Whether both ended at the same place."""
        return self.apart_mm <= LARGEST_DISAGREEMENT_MM


def find_rigid_ends(find: FindPose, start: Motion, head: Head) -> RigidEnds:
    """Search from a start and from one beside it.

    Ends that do not agree are discarded, and both starts searched from thoroughly.

    Args:
        find: Runs the engine.
        start: A rigid ``mr_from_ct``, from the coarse search.
        head: The CT's head.
    """
    starts = start, shift_start(start, head)
    ends = _find_converged(find, Step.RIGID, starts, head)
    return ends if ends.agree else _find_converged(find, Step.THOROUGH, starts, head)


def polish(
    find: FindPose, ends: RigidEnds, similarity: Similarity, head: Head
) -> Motion:
    """Return the rigid pose that two more searches reach from two ends.

    Args:
        find: Runs the engine.
        ends: Where the first searches ended.
        similarity: Chooses between ends that do not agree.
        head: The CT's head.
    """
    start = mean_motion(ends.poses, centre=head.centre)
    if not ends.agree:
        start = max(ends.poses, key=similarity.at)
    return mean_motion(
        _find_twice(find, Step.POLISH, (start, start)), centre=head.centre
    )


def shift_start(start: Motion, head: Head) -> Motion:
    """Return a start a little away from another."""
    turn = rotation(SECOND_START_DEG, centre=head.centre)
    return start @ translation(SECOND_START_MM) @ turn


def _find_converged(find: FindPose, step: Step, starts: Poses, head: Head) -> RigidEnds:
    """Search from two starts, and on from the ends if those have not converged."""
    ends = RigidEnds.of(_find_twice(find, step, starts), head)
    if ends.apart_mm <= CONVERGED_MM:
        return ends
    return RigidEnds.of(_find_twice(find, Step.AGAIN, ends.poses), head)


def _find_twice(find: FindPose, step: Step, starts: Poses) -> Poses:
    """Search from two poses at once, with other samples from the second."""
    one, other = starts
    return run_side_by_side(
        lambda: find(step, one),
        lambda: find(step, other, seed=SECOND_SEED),
    )
