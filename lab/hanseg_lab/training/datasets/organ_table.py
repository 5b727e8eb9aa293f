"""HaN-Seg's table of organs: which masks of which case are whole.

`OAR_data.csv` is separated by semicolons; a row is a case, a column an organ, and a
mask counts if its value is 1. A file without such a 1 is contoured in part.
The columns of the eyes are `Eye_L`, `Eye_R`, `Lens_L` and `Lens_R`. Which half of an
eye each stands for is not said, and a published mapping (Eye_A = Eye, Eye_P = Lens)
is odd, since the lens is in front. So half an eye counts only if both columns of
its side are 1, which is right whatever they mean.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hanseg_shared.errors import InputError
from hanseg_shared.organs import ORGANS

TABLE = "OAR_data.csv"
"""The table's name, in the folder of the cases' folders."""

WHOLE = 1.0
"""The value of a mask that is whole."""

EYE_COLUMNS = {
    f"Eye_{half}{side}": (f"Eye_{side}", f"Lens_{side}")
    for half in "AP"
    for side in "LR"
}
"""The columns that must all be whole for half an eye to count."""


@dataclass(frozen=True, slots=True)
class OrganTable:
    """The table's content.

    Attributes:
        path: Where it was read.
        columns: Names of the columns.
        rows: Each case's values by column.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, float]]

    def is_whole(self, case: str, organ: str) -> bool | None:
        """Whether an organ of a case is contoured whole; None if it is not stated.

        Of half an eye it says so only if both columns of its side agree.
        """
        row = self.rows.get(case)
        if row is None:
            return None
        names = self._columns_of(organ)
        values = {row[name] == WHOLE for name in names}
        return values.pop() if len(values) == 1 else None

    @property
    def unknown(self) -> tuple[str, ...]:
        """Columns that stand for no organ."""
        known = {column for each in ORGANS for column in self._columns_of(each.name)}
        return tuple(name for name in self.columns if name not in known)

    def _columns_of(self, organ: str) -> tuple[str, ...]:
        names = (organ,) if organ in self.columns else EYE_COLUMNS.get(organ, ())
        return names if set(names) <= set(self.columns) else ()


def read_organ_table(path: Path) -> OrganTable:
    """Read a table.

    Raises:
        InputError: It cannot be read, is not separated by semicolons, names a case
            twice or holds something that is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = [row for row in csv.reader(file, delimiter=";") if row]
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from None
    columns = tuple(name.strip() for name in header[1:])
    if not columns:
        raise InputError(f"{path}: columns must be separated by semicolons")
    rows: dict[str, dict[str, float]] = {}
    for line in lines:
        name = line[0].strip()
        if name in rows:
            raise InputError(f"{path}: the case {name} has two rows")
        rows[name] = _values(path, name, dict(zip(columns, line[1:], strict=False)))
    return OrganTable(
        path, columns, {n: _whole_row(r, columns) for n, r in rows.items()}
    )


def _values(path: Path, case: str, cells: Mapping[str, str]) -> dict[str, float]:
    values = {}
    for column, text in cells.items():
        try:
            values[column] = float(text.replace(",", ".")) if text.strip() else 0.0
        except ValueError:
            raise InputError(
                f"{path}: {case}, {column} must be a number, got {text!r}"
            ) from None
    return values


def _whole_row(row: Mapping[str, float], columns: tuple[str, ...]) -> dict[str, float]:
    return {column: row.get(column, 0.0) for column in columns}
