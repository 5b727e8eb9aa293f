"""How far a surface may be off, per organ, to count as right in the surface Dice."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.organs import ORGANS, organ

DEFAULT_TOLERANCE_MM = 2.0
"""Of organs without one of their own; the challenge's organisers use 2 mm for all
(gasperpodobnik/surface-distance)."""

OBSERVER_TOLERANCES_MM: Mapping[str, float] = {
    "Bone_Mandible": 1.01,
    "Brainstem": 2.50,
    "OpticNrv_L": 2.50,
    "OpticNrv_R": 2.50,
    "Parotid_L": 2.85,
    "Parotid_R": 2.85,
}
"""95th percentile of the distances between observers (Nikolov et al. 2021,
doi:10.2196/26151), for the organs whose outlines agree with HaN-Seg's."""

COLUMNS = ["organ", "tolerance_mm"]


def default_tolerances() -> dict[str, float]:
    """Return the tolerance in mm of each of the 30 organs."""
    own = OBSERVER_TOLERANCES_MM
    return {each.name: own.get(each.name, DEFAULT_TOLERANCE_MM) for each in ORGANS}


def read_tolerances(path: Path) -> dict[str, float]:
    """Return the tolerances of a site: the defaults, replaced by those of a file.

    Args:
        path: A CSV file with the columns ``organ`` and ``tolerance_mm``.

    Raises:
        InputError: The file is not such a table, or names no organ, or a tolerance
            is negative or not finite.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error
    if not rows or list(rows[0]) != COLUMNS:
        raise InputError(f"{path.name}: a table with columns {COLUMNS} is needed")
    return default_tolerances() | dict(_tolerance(row, path) for row in rows)


def _tolerance(row: dict[str, str], path: Path) -> tuple[str, float]:
    try:
        name, value = organ(row["organ"]).name, float(row["tolerance_mm"])
    except (OptionError, ValueError, TypeError) as error:
        raise InputError(f"{path.name}: {row}: {error}") from error
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{path.name}: the tolerance of {name} must be 0 or more")
    return name, value
