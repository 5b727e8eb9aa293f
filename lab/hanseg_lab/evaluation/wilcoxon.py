"""The Wilcoxon signed-rank test, for many series of paired differences at once.

SciPy's test with the normal approximation, corrected for ties and not for continuity
(Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", 3.1). Two things
are added for the ranking: all three alternatives from one test statistic, and a
probability of 1 where all differences are zero (SciPy gives NaN).
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
    """How pairs without a difference are treated."""

    WILCOX = "wilcox"
    """They are dropped before ranking, as Wilcoxon did and R does."""

    PRATT = "pratt"
    """They are ranked with the others, then their ranks are dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class SignedRank:
    """The p-values of the test, one for each series.

    Attributes:
        p_better: Against the alternative that the first is better.
        p_worse: Against the alternative that the second is better.
        p_either: Two-sided.
    """

    p_better: Numbers
    p_worse: Numbers
    p_either: Numbers


def signed_rank(differences: Numbers, *, zeros: Zeros = Zeros.WILCOX) -> SignedRank:
    """Test series of differences, first minus second, along the last axis.

    A series whose differences are all zero has the p-value 1.

    Args:
        differences: Finite, ``(..., n)``.
        zeros: How zeros are treated.
    """
    with np.errstate(invalid="ignore"):  # 0 / 0 where all differences are zero
        test = stats.wilcoxon(  # type: ignore[call-overload] # no stub of axis=-1
            differences,
            zero_method=zeros.value,
            correction=False,
            alternative="greater",
            method="asymptotic",
            axis=-1,
        )
    z = np.asarray(test.zstatistic)
    p_values = (special.ndtr(-z), special.ndtr(z), 2.0 * special.ndtr(-np.abs(z)))
    return SignedRank(*(np.where(np.isnan(z), 1.0, p) for p in p_values))
