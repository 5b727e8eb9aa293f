"""What a model has learnt of the case that it was trained on: contours and sides."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanseg_lab.evaluation.case_folders import match_cases
from hanseg_lab.evaluation.case_masks import read_pair
from hanseg_lab.evaluation.scores import read_scores
from hanseg_lab.training.log import Row, read_logs
from hanseg_shared.metrics.comparison import compare
from hanseg_shared.metrics.measures import dice
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.organs import counterpart, organ
from hanseg_shared.volume import Volume

BY_HEART_DSC = 0.85
"""Mean Dice over the organs of a case from which on it is learnt by heart."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a model makes of the case that it was trained on.

    Attributes:
        organs: Dice of each organ of the case; 0 where it was missed.
        exchanged: Organs that are contoured where their counterpart is.
    """

    organs: Mapping[str, float]
    exchanged: tuple[str, ...]

    @property
    def dsc(self) -> float:
        """The mean over the organs."""
        return statistics.fmean(self.organs.values())

    @property
    def worst_organ(self) -> str:
        """The organ with the lowest Dice, the first of several."""
        return min(self.organs, key=lambda name: self.organs[name])

    @property
    def is_by_heart(self) -> bool:
        """Whether the case is learnt by heart, every organ on its side."""
        return self.dsc >= BY_HEART_DSC and not self.exchanged


def read_learnt(scores: Path, predictions: Path, references: Path) -> Learnt:
    """Return what a model made of the cases that it was trained on.

    Args:
        scores: The `results.csv` of `hanseg evaluate`; missed organs have Dice 0.
        predictions: The results of `hanseg batch`.
        references: The cases.

    Raises:
        InputError: A file is missing or damaged, or cases do not match.
    """
    values: dict[str, list[float]] = {}
    for score in read_scores(scores):
        if score.metric is Metric.DSC:
            values.setdefault(score.organ, []).append(score.value)
    exchanged: dict[str, None] = {}
    for pair in match_cases(predictions, references):
        found, wanted = read_pair(pair.prediction, pair.reference)
        exchanged |= dict.fromkeys(exchanged_sides(found.masks, wanted.masks))
    organs = {name: statistics.fmean(each) for name, each in values.items()}
    return Learnt(organs, tuple(exchanged))


def exchanged_sides(
    found: Mapping[str, Volume], wanted: Mapping[str, Volume]
) -> tuple[str, ...]:
    """Return the organs that overlap more with their counterpart's reference.

    Args:
        found: The contours of a case, by organ.
        wanted: Its references.
    """
    return tuple(
        name
        for name, mask in found.items()
        if (other := counterpart(organ(name))) is not None
        and other.name in wanted
        and _dice(wanted[other.name], mask) > _dice(wanted.get(name), mask)
    )


def _dice(reference: Volume | None, mask: Volume) -> float:
    return 0.0 if reference is None else dice(compare(reference, mask))


def mean_curve(folder: Path) -> list[Row]:
    """Return the rows of a training's logs, each the mean over its folds.

    Args:
        folder: What `hanseg train` wrote to.
    """
    return [_mean_row(rows) for rows in zip(*read_logs(folder), strict=True)]


def _mean_row(rows: Sequence[Row]) -> Row:
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: statistics.fmean(row[name] for row in rows) for name in shared}
