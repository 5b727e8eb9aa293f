"""The flagged organs on a preview: a plane through each, and what the checks found.

Lengths on the sheet are in inches, in the patient mm LPS.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hanseg_shared.documents import OrganResult
from hanseg_shared.flags import DOUBTS, FlagCode
from hanseg_shared.grid import Points, Vector
from hanseg_shared.organs import OrganStatus
from hanseg_shared.pictures.planes import Direction, Plane
from hanseg_shared.pictures.sheet import (
    BORDER_COLOUR,
    DIM_COLOUR,
    FOOTER,
    GAP,
    TEXT_COLOUR,
    TITLE,
    Layout,
    write_line,
)
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = 2.35
"""Width of a cell, at least; it is as high, and its words are below."""

HEADLINE, LINE = 0.6, 0.18
"""Height of the headline and of a line of words."""

LETTERS_PER_INCH = 13.5
"""Of the words."""

AROUND_MM = 35.0
"""How much is shown around an organ ..."""

LEAST_MM = 100.0
"""... in a plane at least this wide."""

ELSEWHERE = {FlagCode.UNEXPECTED_POSITION, FlagCode.LEFT_RIGHT_SWAPPED}
"""Findings that only the whole head lets one judge."""

STATUS_WORDS = {
    OrganStatus.CONTOURED: "contoured",
    OrganStatus.LOW_CONFIDENCE: "low confidence",
    OrganStatus.EMPTY: "not found",
    OrganStatus.OUTSIDE_FIELD_OF_VIEW: "outside the scan",
    OrganStatus.NOT_IN_MODEL: "not in model",
}
"""What a picture calls each status."""


@dataclass(frozen=True, slots=True)
class View:
    """A plane through a flagged organ.

    Attributes:
        organ: The organ.
        plane: Where it is cut.
        low: Lowest corner of a region around it.
        high: Highest corner.
        cropped: Whether that region is enough to judge what was found.
    """

    organ: OrganResult
    plane: Plane
    low: Vector
    high: Vector
    cropped: bool


@dataclass(frozen=True, slots=True)
class Flagged:
    """What is shown of the flagged organs, doubtful ones first.

    Attributes:
        views: A plane through each that has a mask.
        words: Below each of those planes, lines that fit.
        absent: Lines about those without a mask.
        across: Planes in a row.
        cell: Width of a plane.
    """

    views: tuple[View, ...]
    words: tuple[tuple[str, ...], ...]
    absent: tuple[str, ...]
    across: int
    cell: float

    @classmethod
    def of(
        cls, labels: Volume, organs: tuple[OrganResult, ...], layout: Layout
    ) -> Flagged:
        """Choose the planes and the words for a sheet of a layout's width."""
        width = layout.size[0] - GAP
        across = max(1, int(width / (CELL + GAP)))
        cell = width / across - GAP
        flagged = sorted(
            (organ for organ in organs if organ.flags),
            key=lambda organ: not organ.codes & DOUBTS,
        )
        views, absent = [], []
        boxes = dict(enumerate(ndimage.find_objects(labels.array), start=1))
        for organ in flagged:
            view = _view(labels, organ, boxes.get(organ.label))
            if view is None:
                absent.extend(_absent_lines(organ, width))
            else:
                views.append(view)
        words = tuple(_lines(view.organ, cell) for view in views)
        return cls(tuple(views), words, tuple(absent), across, cell)

    @property
    def height(self) -> float:
        """How high it is; 0 if no organ is flagged."""
        if not self.views and not self.absent:
            return 0.0
        rows = sum(self._row_height(row) for row in range(self._rows))
        return HEADLINE + rows + LINE * len(self.absent) + GAP

    @property
    def _rows(self) -> int:
        return -(-len(self.views) // self.across)

    def _row_height(self, row: int) -> float:
        words = self.words[row * self.across : (row + 1) * self.across]
        return TITLE + self.cell + LINE * (1.6 + max(map(len, words))) + GAP

    def place(self, number: int) -> tuple[float, float]:
        """Return the left and the lower edge of a plane, from the section's top."""
        row, column = divmod(number, self.across)
        above = sum(self._row_height(each) for each in range(row))
        left = GAP + column * (self.cell + GAP)
        return left, -(HEADLINE + above + TITLE + self.cell)


def _view(
    labels: Volume, organ: OrganResult, box: tuple[slice, ...] | None
) -> View | None:
    """Return the plane that shows most of an organ; None without a mask.

    Args:
        labels: The label map.
        organ: The organ.
        box: Where the label map has it, z, y, x.
    """
    if box is None:
        return None
    index = np.array(np.nonzero(labels.array[box] == organ.label))
    index += np.array([[span.start] for span in box])
    points = labels.grid.index_to_world(index[::-1].T)
    cut = FlagCode.TRUNCATED_AT_SCAN_EDGE in organ.codes
    direction = Direction.CORONAL if cut else Direction.AXIAL
    places = np.round(points[:, direction.value], 3)
    values, counts = np.unique(places, return_counts=True)
    plane = Plane(direction, float(values[counts.argmax()]))
    shown = points[places == values[counts.argmax()]]
    middle = (shown.min(axis=0) + shown.max(axis=0)) / 2
    across = [direction.across, direction.down]
    size = np.ptp(shown, axis=0)[across].max() + 2 * AROUND_MM
    half = max(size, LEAST_MM) / 2
    corners = _vector(middle - half), _vector(middle + half)
    return View(organ, plane, *corners, cropped=not organ.codes & ELSEWHERE)


def _lines(organ: OrganResult, width: float) -> tuple[str, ...]:
    """Return an organ's findings, each wrapped, doubts first."""
    letters = int(width * LETTERS_PER_INCH)
    flags = sorted(organ.flags, key=lambda flag: flag.code not in DOUBTS)
    return tuple(
        line
        for flag in flags
        for line in textwrap.wrap(flag.words, letters, subsequent_indent="  ")
    )


def _absent_lines(organ: OrganResult, width: float) -> list[str]:
    found = ", ".join(flag.words for flag in organ.flags)
    words = f"{organ.name}: {STATUS_WORDS[organ.status]}, nothing to show; {found}"
    return textwrap.wrap(words, int(width * LETTERS_PER_INCH), subsequent_indent="  ")


def write_words(figure: Figure, layout: Layout, flagged: Flagged) -> None:
    """Write the headline, what was found below each plane, and what has no plane."""
    top = FOOTER + flagged.height
    write_line(
        figure,
        layout,
        "Flagged organs: look at these first",
        inches=top - 0.35,
        colour=BORDER_COLOUR,
        size=13,
        weight="bold",
    )
    for number, (view, lines) in enumerate(
        zip(flagged.views, flagged.words, strict=True)
    ):
        left, bottom = flagged.place(number)
        doubted = view.organ.status is OrganStatus.LOW_CONFIDENCE
        colour = BORDER_COLOUR if doubted else TEXT_COLOUR
        heading = f"{view.organ.name}: {STATUS_WORDS[view.organ.status]}"
        _write(figure, layout, (left, top + bottom - LINE), heading, colour, bold=True)
        for row, line in enumerate(lines, start=2):
            at = left, top + bottom - LINE * row
            _write(figure, layout, at, line, TEXT_COLOUR)
    for row, line in enumerate(reversed(flagged.absent)):
        _write(figure, layout, (GAP, FOOTER + LINE * (row + 0.5)), line, DIM_COLOUR)


def _write(
    figure: Figure,
    layout: Layout,
    at: tuple[float, float],
    text: str,
    colour: str,
    *,
    bold: bool = False,
) -> None:
    left, bottom, _, _ = layout.share(*at, 0, 0)
    weight = "bold" if bold else "normal"
    figure.text(
        left, bottom, text, color=colour, fontsize=10, weight=weight, va="center"
    )


def _vector(values: Points) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
