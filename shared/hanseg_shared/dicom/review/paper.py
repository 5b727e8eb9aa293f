"""An A4 page that is written from its top down; lengths are in inches."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanseg_shared.dicom.review.content import Review, describe_patient, shorten
from hanseg_shared.organs import Organ

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = (8.27, 11.69)
"""A4, upright."""

MARGIN, GAP = 0.5, 0.15
PANEL_WIDTH = (PAPER[0] - 2 * MARGIN - 2 * GAP) / 3
PANEL_HEIGHT = 2.45
"""Of the field that a plane is fitted into."""

TITLE = 0.2
"""Above each plane."""

DOTS_PER_INCH = 150

LINE = 0.165
LETTERS_PER_INCH = 15.5
"""Of the text's size, `TEXT_SIZE` points."""

TEXT_SIZE, SMALL_SIZE = 8.0, 6.5

MOST_LINES = 55
"""Of a page."""

WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""

INK, DIM_INK, WARNING_INK = "#16191c", "#5b6167", "#a3201a"

WARNING = "Not for clinical use: contours are to be reviewed by a clinician"


@dataclass(slots=True)
class Page:
    """A page that is written from its top down."""

    figure: Figure
    down: float = MARGIN

    def write(
        self,
        text: str,
        *,
        left: float = MARGIN,
        size: float = TEXT_SIZE,
        colour: str = INK,
        weight: str = "normal",
        align: str = "left",
        family: str = "DejaVu Sans",
    ) -> None:
        """Write a line whose middle is at the current height; it does not go down."""
        self.figure.text(
            left / PAPER[0],
            1.0 - self.down / PAPER[1],
            text,
            color=colour,
            fontsize=size,
            weight=weight,
            ha=align,
            va="center",
            family=family,
            parse_math=False,
        )

    def panel(self, column: int, width: float, height: float) -> Axes:
        """Return axes in the middle of one of three fields, its top below the title."""
        left = MARGIN + column * (PANEL_WIDTH + GAP) + (PANEL_WIDTH - width) / 2
        bottom = PAPER[1] - self.down - TITLE - height
        share = (left / PAPER[0], bottom / PAPER[1])
        return self.figure.add_axes((*share, width / PAPER[0], height / PAPER[1]))


def new_page(review: Review, number: str) -> Page:
    """Return a page with its footer: whose, how to read it, and which page it is."""
    from matplotlib.figure import Figure

    page = Page(Figure(figsize=PAPER, dpi=DOTS_PER_INCH, facecolor="white"))
    page.down = PAPER[1] - 0.52
    page.write(WARNING, colour=WARNING_INK, weight="bold")
    page.write(number, left=PAPER[0] - MARGIN, colour=DIM_INK, align="right")
    page.down = PAPER[1] - 0.33
    words = (
        "The patient's right is on the left; CT window "
        f"{WINDOW_HU[0]:.0f} to {WINDOW_HU[1]:.0f} HU"
    )
    page.write(words, size=SMALL_SIZE, colour=DIM_INK)
    if review.case is not None:
        (_, name), (_, patient_id), *_ = describe_patient(review.case)
        words = f"{shorten(name, 20)}, ID {shorten(patient_id, 20)}"
        right = PAPER[0] - MARGIN
        page.write(words, left=right, size=SMALL_SIZE, colour=DIM_INK, align="right")
    page.down = MARGIN
    return page


def write_list(page: Page, caption: str, lines: list[str], most: int) -> None:
    """Write lines one below the other, as many as there may be."""
    if not lines:
        return
    page.write(caption, size=9, weight="bold")
    if len(lines) > most:
        lines = [*lines[: most - 1], "… and more, in the job's record"]
    for line in lines:
        page.down += LINE
        page.write(line)
    page.down += LINE * 1.5


def wrap_all(items: Iterable[str]) -> list[str]:
    """Return items in lines that fit a page's width."""
    width = PAPER[0] - 2 * MARGIN
    return [line for item in items for line in wrap(item, width, MOST_LINES)]


def wrap(words: str, inches: float, most: int) -> list[str]:
    """Return words in lines of a width, at most so many."""
    letters = int(inches * LETTERS_PER_INCH)
    return textwrap.wrap(words, letters, max_lines=most, placeholder=" …")


def colour_of(organ: Organ) -> str:
    """Return an organ's colour as matplotlib takes it."""
    red, green, blue = organ.colour
    return f"#{red:02x}{green:02x}{blue:02x}"
