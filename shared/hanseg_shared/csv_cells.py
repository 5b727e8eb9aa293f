"""Cells of a CSV that a spreadsheet shows and does not run.

A cell that begins with one of `FORMULA_STARTS` is a formula to Excel and LibreOffice,
also in quotes; a case may be called so by whoever sent it. An apostrophe before it
makes it text (OWASP, "CSV injection").
"""

from __future__ import annotations

from collections.abc import Iterable

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def safe_row(cells: Iterable[object]) -> list[object]:
    """Return a row whose texts are no formulas; numbers stay as they are."""
    return [safe_cell(each) if isinstance(each, str) else each for each in cells]


def safe_cell(text: str) -> str:
    """Return a text as a cell that is no formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def read_cell(cell: str) -> str:
    """Return the text that `safe_cell` made a cell of."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA_STARTS) else cell
