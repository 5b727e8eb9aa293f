"""The challenge's statistical ranking of methods.

For each metric every two methods are compared over all organs of all cases by the
Wilcoxon signed-rank test; a method's significance score is how many others it is
significantly better than, and the scores give the metric's ranks, ties included. The
ranks' sums over the metrics give the final rank; where they tie, the means of the
metrics decide, and methods that tie there too share their rank (Podobnik et al. 2024,
doi:10.1016/j.radonc.2024.110410; after Wiesenfarth et al. 2021,
doi:10.1038/s41598-021-82017-6). What the paper leaves open is in `RankingOptions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import stats

from hanseg_lab.evaluation.methods import MetricTable, Worst
from hanseg_lab.evaluation.wilcoxon import Sides, Zeros, signed_rank
from hanseg_shared.errors import InputError, OptionError

Numbers = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]


class Correction(StrEnum):
    """By how many tests the p-values are multiplied (Bonferroni)."""

    NONE = "none"
    """1."""

    RIVALS = "rivals"
    """The others that a method is compared with."""

    PAIRS = "pairs"
    """The pairs of methods: the tests made for one metric."""

    TESTS = "tests"
    """The pairs of methods times the metrics: all tests made."""

    def factor(self, methods: int, metrics: int) -> int:
        """Return the number of tests."""
        pairs = methods * (methods - 1) // 2
        return {
            Correction.NONE: 1,
            Correction.RIVALS: max(methods - 1, 1),
            Correction.PAIRS: max(pairs, 1),
            Correction.TESTS: max(pairs * metrics, 1),
        }[self]


@dataclass(frozen=True, slots=True)
class RankingOptions:
    """What the paper leaves open, with what is taken here.

    Attributes:
        alpha: Level of significance, after the correction.
        sides: Two-sided tests, or one-sided.
        zeros: How pairs without a difference are treated.
        correction: Bonferroni's factor.
        worst: What replaces the distance of a missed organ.

    Raises:
        OptionError: Alpha is not between 0 and 1.
    """

    alpha: float = 0.05
    sides: Sides = Sides.TWO
    zeros: Zeros = Zeros.WILCOX
    correction: Correction = Correction.PAIRS
    worst: Worst = Worst.VALUES

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise OptionError(f"alpha must be between 0 and 1, got {self.alpha}")


@dataclass(frozen=True, slots=True, eq=False)
class MetricRanking:
    """How methods stand in one metric; every array is in the methods' order.

    Attributes:
        table: What was compared.
        p_values: Of "row is better than column", corrected, at most 1,
            ``(methods, methods)``; 1 on the diagonal.
        better: Whether row is significantly better than column.
        scores: How many others each is significantly better than.
        ranks: 1 is best; equal scores share the best of their ranks.
        means: Mean of the organs' means.
    """

    table: MetricTable
    p_values: Numbers
    better: npt.NDArray[np.bool_]
    scores: Ranks
    ranks: Ranks
    means: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """How methods stand, all metrics together.

    Attributes:
        methods: Their names.
        metrics: Their standing in each metric.
        rank_sums: Sum of the metrics' ranks.
        final: The final rank; 1 is best, and equals share the best of their ranks.
    """

    methods: tuple[str, ...]
    metrics: tuple[MetricRanking, ...]
    rank_sums: Ranks
    final: Ranks


def rank_methods(tables: Sequence[MetricTable], options: RankingOptions) -> Ranking:
    """Rank methods by all metrics.

    Raises:
        InputError: There are fewer than two methods, or the tables' methods differ.
    """
    methods = tables[0].methods
    if len(methods) < 2:
        raise InputError("a ranking needs two methods or more, got one")
    if any(table.methods != methods for table in tables):
        raise InputError("all metrics must be of the same methods")
    factor = options.correction.factor(len(methods), len(tables))
    metrics = tuple(rank_metric(table, options, factor=factor) for table in tables)
    sums = np.sum([metric.ranks for metric in metrics], axis=0)
    return Ranking(methods, metrics, sums, _final(sums, metrics))


def rank_metric(
    table: MetricTable, options: RankingOptions, *, factor: int
) -> MetricRanking:
    """Rank methods by one metric; `factor` is Bonferroni's."""
    p_values, better = significance(table.values * table.sign, options, factor=factor)
    scores = better.sum(axis=1).astype(np.int64)
    return MetricRanking(
        table, p_values, better, scores, shared_ranks(-scores), table.means
    )


def significance(
    values: Numbers, options: RankingOptions, *, factor: int
) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Compare every two rows of values, of which more is better.

    Returns:
        The corrected p-values of "row is better than column", and which are
        significant; with two-sided tests, a row whose ranks are not the larger has 1.
    """
    count = len(values)
    first, second = np.triu_indices(count, k=1)
    test = signed_rank(values[first] - values[second], zeros=options.zeros)
    p_values = np.ones((count, count))
    for row, column, p in (
        (first, second, test.p_better),
        (second, first, test.p_worse),
    ):
        if options.sides is Sides.TWO:
            p_values[row, column] = np.where(p < 0.5, test.p_either, 1.0)
        else:
            p_values[row, column] = p
    p_values = np.minimum(p_values * factor, 1.0)
    return p_values, p_values < options.alpha


def shared_ranks(costs: npt.ArrayLike) -> Ranks:
    """Return ranks from 1, least cost first; equals share the best of their ranks."""
    return stats.rankdata(np.asarray(costs), method="min").astype(np.int64)


def _final(sums: Ranks, metrics: Sequence[MetricRanking]) -> Ranks:
    """Return the ranks of the sums, ties broken by the means where these agree."""
    final = shared_ranks(sums)
    for rank in np.unique(final):
        tied = np.flatnonzero(final == rank)
        if tied.size < 2:
            continue
        by_means = [shared_ranks(-m.table.sign * m.means[tied]) for m in metrics]
        final[tied] = rank + shared_ranks(np.sum(by_means, axis=0)) - 1
    return final
