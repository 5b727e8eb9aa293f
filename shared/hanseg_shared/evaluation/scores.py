"""Scores of organs in cases: one number a metric, kept as a tidy table."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.evaluation.metric import Metric
from hanseg_shared.organs import organ

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
            writer.writerow(
                (score.case, score.organ, score.metric.value, repr(score.value))
            )


def read_scores(path: Path) -> list[Score]:
    """Return the scores of a CSV file; its other metrics, if any, are left out.

    Raises:
        InputError: The file is no such table; the first line at fault is named.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise InputError(
                    f"{path}: the columns {', '.join(COLUMNS)} are needed, got "
                    f"{', '.join(reader.fieldnames or ()) or 'none'}"
                )
            scores = list(_scores(reader, path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    _require_unique(scores, path)
    return scores


def _scores(reader: csv.DictReader[str], path: Path) -> Iterator[Score]:
    known = {metric.value: metric for metric in Metric}
    for line, row in enumerate(reader, start=2):
        metric = known.get(row["metric"] or "")
        if metric is None:
            continue
        try:
            name, value = organ(row["organ"]).name, float(row["value"])
        except (OptionError, ValueError, TypeError) as error:
            raise InputError(f"{path}, line {line}: {error}") from error
        if math.isnan(value):
            raise InputError(f"{path}, line {line}: a value must be a number, got nan")
        yield Score(row["case"], name, metric, value)


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
