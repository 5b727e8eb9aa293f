"""Scores summed up as the challenge's paper does: per organ, and over all organs.

The paper's "overall mean ± SD" is the mean of the organs' means and the root mean
square of the organs' standard deviations: worked out from its own Table 2, where this
rule gives the printed figure of all six methods (and neither the SD of the organs'
means nor the mean of their SDs does).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hanseg_lab.evaluation.scores import Score
from hanseg_lab.evaluation.structures import in_label_order
from hanseg_shared.metrics.metric import Metric

SD_RULE = "sample standard deviation (n - 1); none of a single value"
OVERALL_RULE = (
    "mean of the organs' means; root mean square of the organs' standard deviations; "
    "median and quartiles over all values of all organs"
)
INFINITE_RULE = (
    "infinite distances (of missed organs) are counted, and left out of every other "
    "figure; the ranking puts the worst finite value of all methods in their place"
)


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of a set of values.

    Attributes:
        count: How many values are finite; all figures are over these.
        infinite: How many are not.
        mean: Their mean; None without values.
        sd: Their standard deviation; None if it is not defined.
        median: Their median.
        lower_quartile: A quarter of the values is below it (linear interpolation).
        upper_quartile: A quarter is above it.
    """

    count: int
    infinite: int
    mean: float | None
    sd: float | None
    median: float | None
    lower_quartile: float | None
    upper_quartile: float | None

    @property
    def iqr(self) -> float | None:
        """Distance between the quartiles."""
        if self.upper_quartile is None or self.lower_quartile is None:
            return None
        return self.upper_quartile - self.lower_quartile


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One metric of one method: every organ that was scored, and all together."""

    metric: Metric
    organs: dict[str, Statistics]
    overall: Statistics


def summarise(scores: Iterable[Score], metric: Metric) -> MetricSummary:
    """Return the statistics of a metric, by organ in order of the labels."""
    values: dict[str, list[float]] = {}
    for score in scores:
        if score.metric is metric:
            values.setdefault(score.organ, []).append(score.value)
    organs = {name: statistics(values[name]) for name in in_label_order(values)}
    pooled = statistics([value for each in values.values() for value in each])
    return MetricSummary(metric, organs, _overall(organs, pooled))


def statistics(values: Sequence[float]) -> Statistics:
    """Return the statistics of values, some of which may be infinite."""
    all_values = np.asarray(values, dtype=np.float64)
    finite = all_values[np.isfinite(all_values)]
    infinite = int(all_values.size - finite.size)
    if finite.size == 0:
        return Statistics(0, infinite, None, None, None, None, None)
    lower, median, upper = (float(q) for q in np.quantile(finite, (0.25, 0.5, 0.75)))
    sd = float(finite.std(ddof=1)) if finite.size > 1 else None
    mean = float(finite.mean())
    return Statistics(finite.size, infinite, mean, sd, median, lower, upper)


def overall_mean(means: Iterable[float]) -> float:
    """Return the mean of the organs' means.

    Raises:
        ValueError: There is none.
    """
    found = list(means)
    if not found:
        raise ValueError("a mean needs one organ at least")
    return sum(found) / len(found)


def overall_sd(sds: Iterable[float]) -> float:
    """Return the root mean square of the organs' standard deviations.

    Raises:
        ValueError: There is none.
    """
    return math.sqrt(overall_mean(sd * sd for sd in sds))


def _overall(organs: dict[str, Statistics], pooled: Statistics) -> Statistics:
    means = [each.mean for each in organs.values() if each.mean is not None]
    sds = [each.sd for each in organs.values() if each.sd is not None]
    return Statistics(
        count=pooled.count,
        infinite=pooled.infinite,
        mean=overall_mean(means) if means else None,
        sd=overall_sd(sds) if sds else None,
        median=pooled.median,
        lower_quartile=pooled.lower_quartile,
        upper_quartile=pooled.upper_quartile,
    )
