"""The challenge's published results as data (Podobnik et al. 2024, CC BY).

doi:10.1016/j.radonc.2024.110410. `paper.csv` has the six methods' DSC in % of each
organ (the paper's Table 2) and the overall figures of DSC and HD95 in mm, on the 14
withheld cases. HD95 per organ (Table 3) is not in it: another table that also has it
can be given instead. Each table is checked by the rule that joins organs and overall
figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from hanseg_lab.evaluation.csv_file import CsvRow, parse_csv, read_text
from hanseg_lab.evaluation.summary import overall_mean, overall_sd
from hanseg_shared.errors import InputError
from hanseg_shared.metrics.metric import DEFINITIONS, Metric
from hanseg_shared.organs import ORGANS

SOURCE = "Podobnik et al. 2024, doi:10.1016/j.radonc.2024.110410, CC BY"
ALL_ORGANS = "all organs"
COLUMNS = ["metric", "organ", "method", "mean", "sd", "median", "iqr"]
UNITS = {Metric.DSC: "%", Metric.HD95: "mm"}

FINAL_RANKS = {
    "eli1": 1,
    "cwlg102": 2,
    "CHB-QuantIF": 3,
    "Mamaa": 3,
    "m.m.gs": 5,
    "TurboMiki": 6,
}
"""The final ranks, from the paper's text: its Table 4 could not be read."""

PRINTED_HALF_DIGIT = 0.05
"""Figures are printed with one digit: the overall one is within half of it."""

OWN_ROUNDING = 0.05
"""By which the organs' rounding can move their mean, or root mean square."""

_NAMES = {organ.name for organ in ORGANS}


@dataclass(frozen=True, slots=True)
class Published:
    """One published line.

    Attributes:
        metric: DSC in %, or HD95 in mm.
        organ: An organ's name, or `ALL_ORGANS`.
        method: The team.
        mean: Mean over the cases (over all organs: of the organs' means).
        sd: Standard deviation; see `summary` for the rule over all organs.
        median: Median, where it is published.
        iqr: Interquartile range, where it is published.
    """

    metric: Metric
    organ: str
    method: str
    mean: float
    sd: float
    median: float | None = None
    iqr: float | None = None


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table of published lines."""

    lines: tuple[Published, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """The teams, in the table's order."""
        return tuple(dict.fromkeys(line.method for line in self.lines))

    def find(self, metric: Metric, organ: str, method: str) -> Published | None:
        """Return a line, or None if it is not in the table."""
        for line in self.lines:
            if (line.metric, line.organ, line.method) == (metric, organ, method):
                return line
        return None

    def of_organs(self, metric: Metric, method: str) -> list[Published]:
        """Return a method's lines, an organ each."""
        return [
            line
            for line in self.lines
            if (line.metric, line.method) == (metric, method)
            and line.organ != ALL_ORGANS
        ]

    def organs(self, metric: Metric) -> list[str]:
        """Return the organs that a metric is given for, in order of the labels."""
        given = {line.organ for line in self.lines if line.metric is metric}
        return [organ.name for organ in ORGANS if organ.name in given]


def read_published() -> PaperTable:
    """Return the table that comes with this package."""
    resource = files("hanseg_lab.evaluation").joinpath("paper.csv")
    return _table(resource.read_text(encoding="utf-8"), "paper.csv")


def read_paper_table(path: Path) -> PaperTable:
    """Return a table of the same columns from a file.

    Raises:
        InputError: The file is no such table, a method lacks an organ that others
            have, or its overall figures are not those that its organs give.
    """
    return _table(read_text(path), str(path))


def wins(table: PaperTable, metric: Metric) -> dict[str, int]:
    """Return how many organs each method has the best mean of; ties count for none."""
    won = dict.fromkeys(table.methods, 0)
    sign = DEFINITIONS[metric].better
    for organ in table.organs(metric):
        found = (table.find(metric, organ, method) for method in table.methods)
        lines = [line for line in found if line is not None]
        best = max(sign * line.mean for line in lines)
        holders = [line.method for line in lines if sign * line.mean == best]
        if len(holders) == 1:
            won[holders[0]] += 1
    return won


def overall_of_organs(lines: Sequence[Published]) -> tuple[float, float]:
    """Return mean and SD over all organs, by the paper's rule, from its organs."""
    return overall_mean(x.mean for x in lines), overall_sd(x.sd for x in lines)


def _table(text: str, name: str) -> PaperTable:
    rows = parse_csv(text, name, COLUMNS)
    if not rows:
        raise InputError(f"{name}: there are no figures in it")
    table = PaperTable(tuple(_line(row, name) for row in rows))
    _require_complete(table, name)
    _require_consistent(table, name)
    return table


def _line(row: CsvRow, name: str) -> Published:
    number = row.line
    try:
        metric = Metric(row["metric"])
        line = Published(
            metric,
            row["organ"],
            row["method"],
            row.number("mean"),
            row.number("sd"),
            row.number("median") if row["median"] else None,
            row.number("iqr") if row["iqr"] else None,
        )
    except (ValueError, InputError) as error:
        raise InputError(f"{name}, line {number}: {error}") from error
    if metric not in UNITS or line.organ not in _NAMES | {ALL_ORGANS}:
        raise InputError(
            f"{name}, line {number}: DSC or HD95 of an organ or of {ALL_ORGANS!r} is "
            f"needed, got {row['metric']!r} of {row['organ']!r}"
        )
    if not (math.isfinite(line.mean) and math.isfinite(line.sd) and line.sd >= 0):
        raise InputError(f"{name}, line {number}: mean and sd must be finite")
    return line


def _require_complete(table: PaperTable, name: str) -> None:
    keys = [(line.metric, line.organ, line.method) for line in table.lines]
    if len(set(keys)) < len(keys):
        raise InputError(f"{name}: a line is there twice")
    for metric in UNITS:
        for organ in table.organs(metric):
            for method in table.methods:
                if table.find(metric, organ, method) is None:
                    raise InputError(f"{name}: {method} has no {metric} of {organ}")


def _require_consistent(table: PaperTable, name: str) -> None:
    """Hold organs and overall figures against each other, where all 30 are there."""
    for metric in UNITS:
        if len(table.organs(metric)) < len(ORGANS):
            continue
        for method in table.methods:
            printed = table.find(metric, ALL_ORGANS, method)
            if printed is None:
                continue
            mean, sd = overall_of_organs(table.of_organs(metric, method))
            limit = PRINTED_HALF_DIGIT + OWN_ROUNDING
            if abs(mean - printed.mean) > limit or abs(sd - printed.sd) > limit:
                raise InputError(
                    f"{name}: the organs' {metric} of {method} give {mean:.2f} ± "
                    f"{sd:.2f}, but {printed.mean} ± {printed.sd} is printed"
                )
