"""Several methods scored on the same organs of the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from hanseg_lab.evaluation.scores import Score
from hanseg_lab.evaluation.structures import label_order
from hanseg_shared.errors import InputError
from hanseg_shared.io.names import natural
from hanseg_shared.metrics.metric import DEFINITIONS, Metric

Numbers = npt.NDArray[np.float64]
Item = tuple[str, str]

NAMED = 20
"""Most missing scores that a message names."""


class Worst(StrEnum):
    """What an infinite distance of a missed organ is replaced with.

    The paper says "the maximum HD95 over all methods for that organ", not whether of
    their values or of their means.
    """

    VALUES = "values"
    """The largest finite value of all methods in all cases, for that organ."""

    MEANS = "means"
    """The largest of the methods' means of finite values, for that organ."""


@dataclass(frozen=True, slots=True, eq=False)
class MetricTable:
    """One metric of several methods.

    Attributes:
        metric: Which.
        methods: Their names.
        items: (case, organ), in the order of the values.
        values: Finite, ``(methods, items)``.
        replaced: How many of each method's values were infinite.
        dropped: Organs that no method found in any case: nothing can replace them.
    """

    metric: Metric
    methods: tuple[str, ...]
    items: tuple[Item, ...]
    values: Numbers
    replaced: dict[str, int]
    dropped: tuple[str, ...] = ()

    @property
    def sign(self) -> int:
        """1 if more is better, -1 if less is."""
        return DEFINITIONS[self.metric].better

    @property
    def means(self) -> Numbers:
        """Each method's mean of the organs' means, ``(methods,)``."""
        names, organs = np.unique([n for _, n in self.items], return_inverse=True)
        belongs = organs[:, None] == np.arange(len(names))
        return (self.values @ (belongs / belongs.sum(axis=0))).mean(axis=1)

    def by_organ(self, method: int) -> dict[str, list[float]]:
        """Return a method's values by organ, in order of the labels."""
        found: dict[str, list[float]] = {}
        for (_, name), value in zip(self.items, self.values[method], strict=True):
            found.setdefault(name, []).append(float(value))
        return dict(sorted(found.items(), key=lambda item: label_order(item[0])))


def metric_table(
    scores: Mapping[str, Sequence[Score]], metric: Metric, worst: Worst = Worst.VALUES
) -> MetricTable:
    """Return one metric's values, infinite ones replaced.

    Args:
        scores: By method.
        metric: One where more, or less, is better.
        worst: What replaces infinite values.

    Raises:
        InputError: A method lacks a score that another has; each is named.
    """
    values = {
        method: {(s.case, s.organ): s.value for s in each if s.metric is metric}
        for method, each in scores.items()
    }
    items = sorted(
        {item for each in values.values() for item in each},
        key=lambda item: (natural(item[0]), label_order(item[1])),
    )
    _require_complete(values, items, metric)
    raw = np.array([[each[item] for item in items] for each in values.values()])
    filled, dropped = _replace_infinite(raw, items, worst)
    kept = [n for n, (_, name) in enumerate(items) if name not in dropped]
    missed = (~np.isfinite(raw)).sum(axis=1)
    return MetricTable(
        metric=metric,
        methods=tuple(values),
        items=tuple(items[n] for n in kept),
        values=filled[:, kept],
        replaced=dict(zip(values, map(int, missed), strict=True)),
        dropped=dropped,
    )


def _require_complete(
    values: Mapping[str, Mapping[Item, float]], items: Sequence[Item], metric: Metric
) -> None:
    if not items:
        raise InputError(f"no method has a {metric.value}")
    missing = [
        f"{method}: no {metric.value} of {name} in {case}"
        for method, each in values.items()
        for case, name in items
        if (case, name) not in each
    ]
    if missing:
        more = len(missing) - NAMED
        shown = missing[:NAMED] + ([f"and {more} more"] if more > 0 else [])
        raise InputError(
            "methods can only be compared on the same organs of the same cases; "
            "missed organs must be in the table (hanseg evaluate --empty challenge):"
            "\n  " + "\n  ".join(shown)
        )


def _replace_infinite(
    raw: Numbers, items: Sequence[Item], worst: Worst
) -> tuple[Numbers, tuple[str, ...]]:
    filled = raw.copy()
    dropped = []
    for name in dict.fromkeys(name for _, name in items):
        columns = [n for n, (_, other) in enumerate(items) if other == name]
        part = raw[:, columns]
        finite = np.isfinite(part)
        if not finite.any():
            dropped.append(name)
        elif not finite.all():
            filled[:, columns] = np.where(finite, part, _worst(part, finite, worst))
    return filled, tuple(dropped)


def _worst(part: Numbers, finite: npt.NDArray[np.bool_], worst: Worst) -> float:
    if worst is Worst.VALUES:
        return float(part[finite].max())
    means = [
        row[known].mean()
        for row, known in zip(part, finite, strict=True)
        if known.any()
    ]
    return float(max(means))
