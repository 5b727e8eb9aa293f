"""Simulated challenges: methods of known quality on 14 cases of 30 organs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hanseg_lab.evaluation.scores import Score
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.organs import ORGANS

CASES = tuple(f"case_{n:02d}" for n in range(1, 15))


def challenge(
    quality: Mapping[str, float],
    *,
    seed: int = 7,
    missed: Sequence[tuple[str, str, str]] = (),
) -> dict[str, list[Score]]:
    """Return the scores of methods whose Dice differs by their quality.

    Args:
        quality: By method, what is added to the Dice; HD95 falls by twenty times it.
        seed: Of the noise.
        missed: (method, case, organ) that a method did not find.
    """
    generator = np.random.default_rng(seed)
    difficulty = generator.normal(0.75, 0.1, (len(CASES), len(ORGANS)))
    table: dict[str, list[Score]] = {}
    for method, better in quality.items():
        noise = generator.normal(0.0, 0.02, difficulty.shape)
        dice = np.clip(difficulty + better + noise, 0.01, 0.99)
        hd95 = 1.0 + 12.0 * (1.0 - difficulty) - 20.0 * better
        hd95 = np.maximum(hd95 + 10.0 * noise, 0.1)
        table[method] = []
        for (row, column), value in np.ndenumerate(dice):
            case, organ = CASES[row], ORGANS[column].name
            found = (method, case, organ) not in missed
            table[method] += [
                Score(case, organ, Metric.DSC, float(value) if found else 0.0),
                Score(
                    case,
                    organ,
                    Metric.HD95,
                    float(hd95[row, column]) if found else math.inf,
                ),
            ]
    return table
