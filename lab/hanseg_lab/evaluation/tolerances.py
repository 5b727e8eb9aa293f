"""A site's own tolerances of the surface Dice, read from a file."""

from __future__ import annotations

import math
from pathlib import Path

from hanseg_lab.evaluation.csv_file import CsvRow, read_csv
from hanseg_shared.errors import InputError
from hanseg_shared.metrics.tolerances import default_tolerances
from hanseg_shared.organs import organ

COLUMNS = ("organ", "tolerance_mm")


def read_tolerances(path: Path) -> dict[str, float]:
    """Return the tolerances of a site: the defaults, replaced by those of a file.

    Args:
        path: A CSV file with the columns ``organ`` and ``tolerance_mm``.

    Raises:
        InputError: The file is not such a table, or names no organ or one twice, or a
            tolerance is negative or not finite.
    """
    own: dict[str, float] = {}
    for row in read_csv(path, COLUMNS, exact=True):
        try:
            name, value = _tolerance(row)
        except InputError as error:
            raise InputError(f"{path}, line {row.line}: {error}") from error
        if name in own:
            raise InputError(f"{path}, line {row.line}: {name} has two tolerances")
        own[name] = value
    return default_tolerances() | own


def _tolerance(row: CsvRow) -> tuple[str, float]:
    name, value = organ(row["organ"]).name, row.number("tolerance_mm")
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"the tolerance of {name} must be 0 or more, got {value:g} mm")
    return name, value
