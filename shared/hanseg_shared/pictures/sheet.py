"""A sheet of planes: where each is drawn, with its letters, scale bar and outlines.

What the pictures of the registration and of the organs have in common, so that a
reader who knows one can read the other. Lengths on the sheet are in inches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hanseg_shared.grid import Grid, Vector
from hanseg_shared.pictures.planes import Direction, Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patheffects import AbstractPathEffect

SCALE_BARS_MM = (50.0, 20.0, 10.0)
"""Lengths of the scale bar; the first that fits is drawn, ..."""

SCALE_BAR_SHARE = 0.42
"""... beside the letter in the middle: with less than this share of the width."""

DOTS_PER_INCH = 100
COMPRESSION_LEVEL = 3
"""Of the PNG file; the highest takes longer than all the drawing."""

TALLEST_PANEL = 4.4
"""Height of a row of planes, unless it would become too wide ..."""

WIDEST_ROW = 13.0
"""... which is this."""

SMALLEST_PANEL_MM = 20.0
"""A scan of fewer millimetres is drawn in a plane of that size."""

GAP, HEADER, FOOTER, TITLE = 0.18, 0.95, 0.75, 0.28
"""Between planes, above and below all, and above each plane."""

BACKGROUND_COLOUR = "#101214"
TEXT_COLOUR = "#e8e8e8"
DIM_COLOUR = "#8a8f94"
BORDER_COLOUR = "#ffd84a"
"""The border of the MR's field of view."""


Rows = tuple[tuple[Direction, ...], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a sheet are, in inches from its lower left corner.

    Attributes:
        size: The sheet's width and height.
        rows: Width and height of each plane, row by row; all to one scale.
        header: Height of what is above the planes.
    """

    size: tuple[float, float]
    rows: tuple[tuple[tuple[float, float], ...], ...]
    header: float = HEADER

    @classmethod
    def of(
        cls,
        low: Vector,
        high: Vector,
        rows: Rows,
        *,
        beside: float = 0.0,
        smallest: tuple[float, float] = (0.0, 0.0),
    ) -> Layout:
        """Return the layout for rows of planes.

        Args:
            low: The lowest corner of the box that is shown, mm LPS.
            high: Its highest corner.
            rows: Which way the planes of each row are cut.
            beside: Width that is kept free to the right of the planes.
            smallest: Least width and height of the sheet.
        """
        lengths = np.maximum(np.subtract(high, low), SMALLEST_PANEL_MM)
        panels = [[(lengths[d.across], lengths[d.down]) for d in row] for row in rows]
        across = max(sum(width for width, _ in row) for row in panels)
        along = [max(height for _, height in row) for row in panels]
        scale = min(TALLEST_PANEL / max(along), WIDEST_ROW / across)
        height = HEADER + FOOTER + sum(n * scale + TITLE + GAP for n in along) - GAP
        width = across * scale + (max(map(len, rows)) + 1) * GAP + beside
        return cls(
            (max(float(width), smallest[0]), max(float(height), smallest[1])),
            tuple(
                tuple((float(w) * scale, float(h) * scale) for w, h in row)
                for row in panels
            ),
        )

    def panel(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return a plane's left, bottom, width and height as shares of the sheet."""
        width, height = self.rows[row][column]
        left = GAP + sum(width + GAP for width, _ in self.rows[row][:column])
        above = sum(max(h for _, h in r) + TITLE + GAP for r in self.rows[:row])
        top = self.size[1] - self.header - TITLE - above
        return self.share(left, top - height, width, height)

    def with_header(self, header: float) -> Layout:
        """Return the layout with more or less room above the planes."""
        width, height = self.size
        return replace(self, size=(width, height + header - self.header), header=header)

    def with_room_below(self, height: float) -> Layout:
        """Return the layout with so much more room below the planes."""
        return replace(self, size=(self.size[0], self.size[1] + height))

    def share(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """Return a rectangle in inches as shares of the sheet."""
        across, along = self.size
        return left / across, bottom / along, width / across, height / along


def empty_sheet(layout: Layout) -> Figure:
    """Return an empty dark figure of a layout's size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=layout.size, dpi=DOTS_PER_INCH, facecolor=BACKGROUND_COLOUR)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file that says nothing of who, where or when."""
    figure.savefig(
        path,
        format="png",
        metadata={"Software": "hanseg"},
        pil_kwargs={"compress_level": COMPRESSION_LEVEL},
    )


def write_line(
    figure: Figure,
    layout: Layout,
    text: str,
    *,
    inches: float,
    colour: str,
    size: int,
    weight: str = "normal",
) -> None:
    """Write a line at the left; `inches` from the bottom, or from the top if < 0."""
    left, bottom, _, _ = layout.share(GAP, inches % layout.size[1], 0, 0)
    figure.text(
        left, bottom, text, color=colour, fontsize=size, weight=weight, va="center"
    )


def show(
    axes: Axes,
    image: npt.NDArray[np.generic],
    plane: Plane,
    grid: Grid,
    *,
    window: tuple[float, float],
    title: str,
    middle_mm: float | None = None,
    font_size: float = 10,
) -> None:
    """Draw a plane with its place, letters and scale bar.

    Args:
        axes: Where.
        image: Grey values ``(rows, columns)``, or colours ``(rows, columns, 3)``.
        plane: Which plane it is.
        grid: Its pixels.
        window: What is black and what is white; ignored for colours.
        title: What is shown.
        middle_mm: The patient's middle, LPS x: a sagittal plane's title then says on
            which side it lies.
        font_size: Of the title, in points; the letters are larger.
    """
    axes.set_facecolor("black")
    axes.imshow(
        image,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        origin="upper" if plane.direction is Direction.AXIAL else "lower",
        interpolation="bilinear",
        aspect="equal",
    )
    axes.set_axis_off()
    side = "" if middle_mm is None else plane.side(middle_mm)
    axes.annotate(  # set_title would lay out ticks that are not shown
        f"{title}{side}, {'xyz'[plane.direction.value]} = {plane.at_mm:.0f} mm",
        (0.0, 1.0),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        color=DIM_COLOUR,
        fontsize=font_size,
    )
    _letters(axes, plane.direction, font_size + 2)
    _scale_bar(axes, grid)


def contour(
    axes: Axes,
    mask: npt.NDArray[np.bool_],
    grid: Grid,
    *,
    colour: str,
    width: float,
    style: str = "solid",
) -> None:
    """Draw a mask's border; padded, so that it closes at the picture's edge."""
    if not mask.any() or min(mask.shape) < 2:
        return
    padded = np.pad(mask.astype(np.float32), 1)
    across = np.arange(-1, grid.size[0] + 1)
    along = np.arange(-1, grid.size[1] + 1)
    axes.contour(
        across,
        along,
        padded,
        levels=[0.5],
        colors=[colour],
        linewidths=width,
        linestyles=style,
    )


def halo() -> list[AbstractPathEffect]:
    """Return a dark edge for what is drawn over bright voxels."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="black")]


def _letters(axes: Axes, direction: Direction, font_size: float) -> None:
    """Write at each edge which side of the patient it is."""
    places = ((0.015, 0.5), (0.985, 0.5), (0.5, 0.985), (0.5, 0.015))
    anchors = (
        ("left", "center"),
        ("right", "center"),
        ("center", "top"),
        ("center", "bottom"),
    )
    for letter, (x, y), (across, along) in zip(
        direction.letters, places, anchors, strict=True
    ):
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            ha=across,
            va=along,
            weight="bold",
            color=TEXT_COLOUR,
            fontsize=font_size,
            path_effects=halo(),
        )


def _scale_bar(axes: Axes, grid: Grid) -> None:
    """Draw a bar of 50 mm, or of less where that is too long, at the lower right."""
    width, height, _ = grid.size
    most_mm = SCALE_BAR_SHARE * width * grid.spacing[0]
    bar_mm = next((bar for bar in SCALE_BARS_MM if bar <= most_mm), None)
    if bar_mm is None:
        return
    length = bar_mm / grid.spacing[0]
    down = axes.get_ylim()[0] > axes.get_ylim()[1]
    y = 0.96 * height if down else 0.04 * height
    right = 0.97 * width
    axes.plot(
        [right - length, right], [y, y], color=TEXT_COLOUR, lw=2, path_effects=halo()
    )
    axes.annotate(
        f"{bar_mm:.0f} mm",
        (right - length / 2, y),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=TEXT_COLOUR,
        fontsize=8,
        path_effects=halo(),
    )
