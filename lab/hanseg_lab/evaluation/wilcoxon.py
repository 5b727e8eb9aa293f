"""The Wilcoxon signed-rank test, for many series of paired differences at once.

The normal approximation with correction for ties and without correction for
continuity (Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", 3.1), as
`scipy.stats.wilcoxon(method="asymptotic")` computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Numbers = npt.NDArray[np.float64]

FEWEST_FOR_NORMAL = 10
"""With fewer differences that are not zero, the normal approximation is coarse."""


class Sides(StrEnum):
    """Which deviations from no difference count."""

    TWO = "two"
    """Either way; the significant one then wins whose ranks are the larger."""

    ONE = "one"
    """Only the first being better, tested in both orders of each pair."""


class Zeros(StrEnum):
    """What becomes of pairs without a difference."""

    WILCOX = "wilcox"
    """They are dropped before ranking, as Wilcoxon did and R does."""

    PRATT = "pratt"
    """They are ranked with the others, then their ranks are dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class SignedRank:
    """Outcomes, one a series.

    Attributes:
        p_better: Probability of so much in favour of the first by chance alone.
        p_worse: Probability of so much in favour of the second.
        p_either: Probability of so much in favour of either.
    """

    p_better: Numbers
    p_worse: Numbers
    p_either: Numbers


def signed_rank(differences: Numbers, *, zeros: Zeros = Zeros.WILCOX) -> SignedRank:
    """Test series of differences, first minus second, along the last axis.

    A series whose differences are all zero has probability 1.

    Args:
        differences: Finite, ``(..., n)``.
        zeros: What becomes of zeros.
    """
    sizes = np.abs(differences)
    lowest = stats.rankdata(sizes, method="min", axis=-1)
    highest = stats.rankdata(sizes, method="max", axis=-1)
    without = (sizes == 0).sum(axis=-1)
    counted = differences.shape[-1] - (without if zeros is Zeros.WILCOX else 0)
    shift = without[..., None] if zeros is Zeros.WILCOX else 0
    ranks = (lowest + highest) / 2.0 - shift
    dropped = without * (zeros is Zeros.PRATT)
    ties = (np.square(highest - lowest + 1.0) - 1.0) * (sizes > 0)
    variance = (_cubic(counted) - _cubic(dropped)) / 24.0 - ties.sum(axis=-1) / 48.0
    mean = (counted * (counted + 1.0) - dropped * (dropped + 1.0)) / 4.0
    total = (ranks * (differences > 0)).sum(axis=-1)
    spread = np.sqrt(np.maximum(variance, 0.0))
    known = spread > 0
    z = np.where(known, (total - mean) / np.where(known, spread, 1.0), 0.0)
    better, worse = (np.where(known, special.ndtr(-s * z), 1.0) for s in (1.0, -1.0))
    either = np.where(known, 2.0 * special.ndtr(-np.abs(z)), 1.0)
    return SignedRank(better, worse, either)


def _cubic(n: npt.ArrayLike) -> Numbers:
    count = np.asarray(n, dtype=np.float64)
    return count * (count + 1.0) * (2.0 * count + 1.0)
