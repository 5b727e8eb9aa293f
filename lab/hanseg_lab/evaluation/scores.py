"""Scores of organs in cases: one number a metric, kept as a tidy table."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hanseg_lab.evaluation.csv_file import CsvRow, read_csv
from hanseg_lab.evaluation.structures import organs_in, structure
from hanseg_shared.csv_cells import safe_row
from hanseg_shared.errors import InputError
from hanseg_shared.io.names import normalise
from hanseg_shared.metrics.metric import Metric

COLUMNS = ("case", "organ", "metric", "value")
"""Of `results.csv`; values are in the metric's own unit, `inf` where undefined."""


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one organ in one case."""

    case: str
    organ: str
    metric: Metric
    value: float


def write_scores(scores: Iterable[Score], path: Path) -> None:
    """Write scores as CSV, with every digit."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for score in scores:
            named = safe_row((score.case, score.organ, score.metric.value))
            writer.writerow((*named, repr(score.value)))


def read_scores(path: Path) -> list[Score]:
    """Return the scores of a CSV file; its other metrics, if any, are left out.

    Raises:
        InputError: The file is no such table; the first line at fault is named.
    """
    scores = list(_scores(read_csv(path, COLUMNS), path))
    _require_unique(scores, path)
    return scores


def _scores(rows: Iterable[CsvRow], path: Path) -> Iterator[Score]:
    known = {metric.value: metric for metric in Metric}
    for row in rows:
        metric = known.get(row["metric"])
        if metric is None:
            continue
        try:
            name = structure(organs_in(row["organ"]))
            value = _not_nan(row.number("value"))
        except InputError as error:
            raise InputError(f"{path}, line {row.line}: {error}") from error
        yield Score(normalise(row["case"]), name, metric, value)


def _not_nan(value: float) -> float:
    if math.isnan(value):
        raise InputError("a value must be a number, got nan")
    return value


def _require_unique(scores: list[Score], path: Path) -> None:
    if not scores:
        raise InputError(f"{path}: there are no scores in it")
    seen: set[tuple[str, str, Metric]] = set()
    for score in scores:
        key = (score.case, score.organ, score.metric)
        if key in seen:
            raise InputError(
                f"{path}: {score.metric} of {score.organ} in {score.case} is there "
                "twice"
            )
        seen.add(key)
