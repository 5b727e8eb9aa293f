"""The table of the review: every organ's status, volume and flags."""

from __future__ import annotations

import textwrap

from hanseg_shared.dicom.review.content import STATUS_WORDS
from hanseg_shared.dicom.review.paper import (
    DIM_INK,
    INK,
    LINE,
    MARGIN,
    PAPER,
    WARNING_INK,
    Page,
    colour_of,
)
from hanseg_shared.documents import OrganResult
from hanseg_shared.organs import ORGANS, OrganStatus

COLUMNS = {"organ": 0.7, "status": 2.05, "volume": 3.75, "flags": 3.95}
"""Where the table's columns begin; `volume` is where it ends."""

FLAG_LETTERS = 70
TABLE_BOTTOM = 1.0

Row = tuple[OrganResult, list[str]]


def split_table(organs: tuple[OrganResult, ...]) -> list[list[Row]]:
    """Return the table's rows, with their flags in lines, page by page."""
    room = PAPER[1] - MARGIN - 0.75 - TABLE_BOTTOM
    tables: list[list[Row]] = [[]]
    left = room
    for each in organs:
        words = "; ".join(flag.words for flag in each.flags)
        row = (each, textwrap.wrap(words, FLAG_LETTERS))
        height = _row_height(row)
        if height > left:
            tables.append([])
            left = room
        tables[-1].append(row)
        left -= height
    return tables


def _row_height(row: Row) -> float:
    return 0.13 + LINE * 0.85 * max(1, len(row[1]))


def draw_table(page: Page, rows: list[Row]) -> None:
    """Write rows of the table on a page, from its top down."""
    from matplotlib.lines import Line2D

    page.write("What became of each organ", size=12, weight="bold")
    page.down += 0.35
    page.write("organ", left=COLUMNS["organ"], colour=DIM_INK)
    page.write("status", left=COLUMNS["status"], colour=DIM_INK)
    page.write("volume", left=COLUMNS["volume"], colour=DIM_INK, align="right")
    page.write("flags", left=COLUMNS["flags"], colour=DIM_INK)
    page.down += 0.2
    for row in rows:
        height = 1.0 - (page.down - 0.09) / PAPER[1]
        ends = MARGIN / PAPER[0], 1.0 - MARGIN / PAPER[0]
        line = Line2D(
            ends,
            (height, height),
            transform=page.figure.transFigure,
            color="#c9cdd1",
            linewidth=0.4,
        )
        page.figure.lines.append(line)
        _write_row(page, *row)


def _write_row(page: Page, result: OrganResult, flags: list[str]) -> None:
    organ = ORGANS[result.label - 1]
    doubted = result.status is OrganStatus.LOW_CONFIDENCE
    has_contour = result.volume_ml > 0
    ink = WARNING_INK if doubted else INK if has_contour else DIM_INK
    if has_contour:
        page.write("\u25a0", left=MARGIN, size=10, colour=colour_of(organ))
    page.write(result.name, left=COLUMNS["organ"], colour=ink)
    page.write(
        STATUS_WORDS[result.status],
        left=COLUMNS["status"],
        colour=ink,
        weight="bold" if doubted else "normal",
    )
    if has_contour:
        digits = 1 if result.volume_ml >= 1 else 2
        words = f"{result.volume_ml:.{digits}f} ml"
        page.write(words, left=COLUMNS["volume"], align="right")
    top = page.down
    for line in flags:
        page.write(line, left=COLUMNS["flags"], size=7, colour=ink)
        page.down += LINE * 0.85
    page.down = top + _row_height((result, flags))
