"""How far a surface may be off, per organ, to count as right in the surface Dice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from hanseg_lab.evaluation.csv_file import CsvRow, read_csv
from hanseg_shared.errors import InputError
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

COLUMNS = ("organ", "tolerance_mm")


def default_tolerances() -> dict[str, float]:
    """Return the tolerance in mm of each of the 30 organs."""
    own = OBSERVER_TOLERANCES_MM
    return {each.name: own.get(each.name, DEFAULT_TOLERANCE_MM) for each in ORGANS}


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
