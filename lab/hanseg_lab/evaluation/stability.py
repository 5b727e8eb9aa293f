"""How much a ranking depends on the cases it was made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_lab.evaluation.methods import MetricTable
from hanseg_lab.evaluation.ranking import RankingOptions, rank_methods

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """Ranks over sets of cases drawn with replacement.

    Attributes:
        samples: How many sets were drawn.
        shares: Share of the sets in which each method (row) had each final rank
            (column, from 1), ``(methods, methods)``.
        unchanged: Share of the sets in which all had the rank of the full set.
    """

    samples: int
    shares: Numbers
    unchanged: float

    def interval(self, method: int, *, level: float = 0.95) -> tuple[int, int]:
        """Return the ranks that hold a method in `level` of the sets, both included."""
        reached = np.cumsum(self.shares[method])
        tail = (1.0 - level) / 2.0
        low = int(np.searchsorted(reached, tail, side="right"))
        high = int(np.searchsorted(reached, 1.0 - tail - 1e-12))
        return low + 1, min(high, reached.size - 1) + 1


def bootstrap(
    tables: Sequence[MetricTable],
    options: RankingOptions,
    *,
    samples: int,
    seed: int,
) -> Stability:
    """Rank again with sets of as many cases, drawn with replacement.

    Whole cases are drawn, with all their organs, since the organs of a patient are no
    independent findings. Distances that were replaced stay what they were.

    Args:
        tables: The metrics.
        options: As for the ranking itself.
        samples: How many sets are drawn.
        seed: Of the random numbers.
    """
    generator = np.random.default_rng(seed)
    methods = len(tables[0].methods)
    full = rank_methods(tables, options).final
    counts = np.zeros((methods, methods))
    unchanged = 0
    cases = list(dict.fromkeys(case for t in tables for case, _ in t.items))
    for _ in range(samples):
        drawn = generator.choice(len(cases), len(cases))
        chosen = [cases[n] for n in drawn]
        final = rank_methods([_of_cases(t, chosen) for t in tables], options).final
        counts[np.arange(methods), final - 1] += 1
        unchanged += int((final == full).all())
    return Stability(samples, counts / samples, unchanged / samples)


def _of_cases(table: MetricTable, cases: Sequence[str]) -> MetricTable:
    columns: dict[str, list[int]] = {}
    for n, (case, _) in enumerate(table.items):
        columns.setdefault(case, []).append(n)
    chosen = [n for case in cases for n in columns.get(case, ())]
    return MetricTable(
        table.metric,
        table.methods,
        tuple(table.items[n] for n in chosen),
        table.values[:, chosen],
        table.replaced,
        table.dropped,
    )
