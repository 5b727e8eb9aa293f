"""CSV tables as people save them: the rows by their columns, or why there are none.

A table is UTF-8, with or without a byte-order mark (Excel's "CSV UTF-8" writes one),
separated by commas. Other encodings and separators are refused by name: a semicolon
goes with decimal commas, and guessing would turn 2,5 into 2 and 5.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanseg_shared.csv_cells import read_cell
from hanseg_shared.errors import InputError

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS = {";": "semicolons", "\t": "tabs"}
_REMEDY = "save it as 'CSV UTF-8', separated by commas"


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row of a table.

    Attributes:
        line: Where it ends in the file, from 1.
        cells: By column, without blanks around them.
    """

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def number(self, column: str) -> float:
        """Return a cell as a number, which may be infinite or NaN.

        Raises:
            InputError: It is none: of ASCII characters, with a decimal point.
        """
        text = self.cells[column]
        try:  # float() also takes other scripts' digits, and 1_0 for 10
            return float(text if text.isascii() and "_" not in text else "")
        except ValueError:
            raise InputError(f"{column} must be a number, got {text!r}") from None


def read_csv(
    path: Path, columns: Sequence[str], *, exact: bool = False
) -> list[CsvRow]:
    """Return the rows of a table; blank ones are left out.

    Args:
        path: The file.
        columns: Those it must have, in any order.
        exact: Whether it must have no others.

    Raises:
        InputError: The file is missing, of another encoding or separator, lacks a
            column or has one twice, or a row has more or fewer cells than columns.
    """
    return list(_rows(read_text(path), path, columns, exact=exact))


def parse_csv(text: str, name: str, columns: Sequence[str]) -> list[CsvRow]:
    """Return the rows of a table that is at hand as text; see `read_csv`.

    Args:
        text: The table.
        name: What it is called in messages.
        columns: Those it must have.

    Raises:
        InputError: It is not such a table.
    """
    return list(_rows(text, Path(name), columns, exact=True))


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text, without a byte-order mark.

    Raises:
        InputError: The file cannot be read, or has another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if content.startswith(_UTF16_MARKS) or b"\0" in content:
        raise InputError(f"{path} is encoded as UTF-16, not as UTF-8; {_REMEDY}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: it is not UTF-8; {_REMEDY}") from error


def _rows(
    text: str, path: Path, columns: Sequence[str], *, exact: bool
) -> Iterator[CsvRow]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip() for name in next(reader, [])]
        _require_columns(header, path, columns, exact=exact)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise InputError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells for "
                    f"{len(header)} columns"
                )
            stripped = (read_cell(cell.strip()) for cell in cells)
            yield CsvRow(reader.line_num, dict(zip(header, stripped, strict=True)))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from error


def _require_columns(
    header: list[str], path: Path, columns: Sequence[str], *, exact: bool
) -> None:
    for separator, called in _SEPARATORS.items():
        split = {name.strip() for name in separator.join(header).split(separator)}
        if len(header) < len(columns) and set(columns) <= split:
            raise InputError(f"{path} is separated by {called}; {_REMEDY}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the column {twice[0]!r} is there twice")
    if not set(columns) <= set(header) or (exact and len(header) > len(columns)):
        raise InputError(
            f"{path}: the columns {', '.join(columns)} are needed, got "
            f"{', '.join(map(repr, header)) or 'none'}"
        )
