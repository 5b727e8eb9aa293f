"""Whether a further step really brings the MR nearer: its gain at held-out points.

More freedom nearly always raises a similarity a little, by chance alone. The gain is
therefore measured at points that elastix did not sample, the same ones before and
after, and counts only if its lower confidence bound is above zero. The bound comes from
a block bootstrap (Künsch 1989, doi:10.1214/aos/1176347265): tissue is alike over a
centimetre or two, so neighbouring points are correlated, and whole cubes of the head
are resampled instead of points. Resampled points would make the bound too optimistic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_registration.geometry.sampling import look_up
from hanseg_registration.similarity.mutual_information import (
    CT_CLASSES,
    MR_CLASSES,
    mr_classes,
    normalised_mutual_information,
)
from hanseg_registration.similarity.similarity import Similarity
from hanseg_shared.grid import Points

BLOCK_MM = 25.0
"""Edge of the resampled cubes: longer than tissue stays the same."""

DRAWS = 1000
"""How often a head is put together from resampled cubes."""

CONFIDENCE = 0.975
"""Share of the resampled heads that gain more than the lower bound."""

SEED = 1979
"""Seed of the draws, so that the same images give the same bound."""

FEWEST_BLOCKS = 20
"""From fewer cubes no spread can be estimated; then nothing counts as a gain."""

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gain:
    """What a step did to the similarity at held-out points.

    Attributes:
        before: The similarity without the step.
        after: With it, at the same points.
        at_least: Lower confidence bound of the gain; minus infinity if the images
            overlap in too few cubes.
    """

    before: float
    after: float
    at_least: float

    @property
    def share(self) -> float:
        """The gain as a share of the similarity before."""
        return (self.after - self.before) / max(self.before, 1e-6)


def measure_gain(similarity: Similarity, before: Points, after: Points) -> Gain:
    """Compare two maps of the held-out points into the MR.

    Args:
        similarity: Has the points, and the images that are compared there.
        before: The points in the MR without the step, mm LPS, ``(n, 3)``.
        after: The points in the MR with it.
    """
    seen = [look_up(similarity.mr, points) for points in (before, after)]
    both = seen[0][1] & seen[1][1]
    blocks = _blocks(similarity.points[both])
    counts = [_counts(similarity, values, both, blocks) for values, _ in seen]
    whole = [_above_independence(each.sum(axis=0)) for each in counts]
    return Gain(float(whole[0]), float(whole[1]), _lower_bound(*counts))


def _blocks(points: Points) -> npt.NDArray[np.intp]:
    """Return the number, from 0 without gaps, of the cube that each point lies in."""
    cubes = np.floor(points / BLOCK_MM).astype(np.int64)
    _, number = np.unique(cubes, axis=0, return_inverse=True)
    return np.asarray(number, dtype=np.intp).ravel()


def _counts(
    similarity: Similarity,
    values: npt.NDArray[np.float64],
    chosen: npt.NDArray[np.bool_],
    blocks: npt.NDArray[np.intp],
) -> Counts:
    """Count class pairs in each cube, ``(cubes, CT_CLASSES, MR_CLASSES)``."""
    mr = mr_classes(values[chosen], low=similarity.low, high=similarity.high)
    pair = similarity.ct[chosen].astype(np.intp) * MR_CLASSES + mr
    pairs = CT_CLASSES * MR_CLASSES
    cubes = int(blocks.max()) + 1 if blocks.size else 0
    found = np.bincount(blocks * pairs + pair, minlength=cubes * pairs)
    return found.reshape(cubes, CT_CLASSES, MR_CLASSES).astype(np.float64)


def _above_independence(counts: Counts) -> npt.NDArray[np.float64]:
    return normalised_mutual_information(counts) - 1.0


def _lower_bound(before: Counts, after: Counts) -> float:
    """Return the lower bound of the gain, from cubes drawn with replacement."""
    cubes = len(before)
    if cubes < FEWEST_BLOCKS:
        return float("-inf")
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(cubes, np.full(cubes, 1.0 / cubes), size=DRAWS)
    gains = _resampled_similarity(drawn, after) - _resampled_similarity(drawn, before)
    return float(np.quantile(gains, 1.0 - CONFIDENCE))


def _resampled_similarity(drawn: npt.NDArray[np.int64], counts: Counts) -> Counts:
    """Return the similarity of each resampled head, ``(draws,)``."""
    summed = drawn.astype(np.float64) @ counts.reshape(len(counts), -1)
    return _above_independence(summed.reshape(-1, *counts.shape[1:]))
