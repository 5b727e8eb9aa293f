"""The picture of a result: planes through the organs, as a radiographer reads them.

Planes are the patient's, whatever way the CT is stored. They are shown in
radiological convention: the patient's right is on the left of the picture.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hanseg_shared.documents import (
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
)
from hanseg_shared.grid import Grid, Matrix, Points, Vector
from hanseg_shared.itk import Interpolation, resample
from hanseg_shared.organs import ORGANS, OrganStatus
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patheffects import AbstractPathEffect

PIXEL_MM = 0.8
"""Pixel edge of the planes that are sampled."""

MARGIN_MM = 45.0
"""How much is shown around the organs."""

BIN_MM = 3.0
"""Planes this close are taken for one when the best is looked for."""

WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""

AIR_HU = -1024.0
"""Shown where the CT ends."""

SCALE_BAR_MM = 50.0

DOTS_PER_INCH = 100
COMPRESSION_LEVEL = 3
"""Of the PNG file; the highest takes longer than all the drawing."""

TALLEST_PANEL = 4.4
"""Height of a row of planes, in inches, unless it would become too wide ..."""

WIDEST_ROW = 13.0
"""... which is this."""

SMALLEST_PANEL_MM = 20.0
"""A scan of fewer millimetres is drawn in a plane of that size."""

LEGEND_WIDTH = 3.3
SMALLEST_HEIGHT = 7.4
"""So that the legend's 30 lines fit, in inches."""

GAP, HEADER, FOOTER, TITLE = 0.18, 0.95, 0.75, 0.28
"""Between planes, above and below all, and above each plane, in inches."""

LEAST_DISTANCE_MM = 20.0
"""Two planes of one direction are at least so far apart."""

BACKGROUND_COLOUR = "#101214"
TEXT_COLOUR = "#e8e8e8"
DIM_COLOUR = "#8a8f94"
BORDER_COLOUR = "#ffd84a"
"""The border of the MR's field of view."""


class Direction(Enum):
    """Which way a plane is cut; the value is the LPS axis it is perpendicular to."""

    AXIAL = 2
    CORONAL = 1
    SAGITTAL = 0

    @property
    def across(self) -> int:
        """The LPS axis from left to right in the picture."""
        return 1 if self is Direction.SAGITTAL else 0

    @property
    def down(self) -> int:
        """The LPS axis along the picture's vertical."""
        return 1 if self is Direction.AXIAL else 2

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """What lies at the left, right, top and bottom of the picture."""
        left, right = ("A", "P") if self is Direction.SAGITTAL else ("R", "L")
        top, bottom = ("A", "P") if self is Direction.AXIAL else ("S", "I")
        return left, right, top, bottom


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane to be shown.

    Attributes:
        direction: Which way it is cut.
        at_mm: Its place on the axis it is perpendicular to, LPS.
    """

    direction: Direction
    at_mm: float

    def grid(self, low: Vector, high: Vector) -> Grid:
        """Return the plane's pixels, one voxel thick, over the box `low` to `high`.

        The first index axis runs to the right of the picture. The second runs down it
        in an axial plane, and up it in the others.
        """
        u, v = self.direction.across, self.direction.down
        origin = list(low)
        origin[self.direction.value] = self.at_mm
        columns = np.eye(3)[[u, v]]
        normal = np.cross(columns[0], columns[1])
        rows = np.stack((*columns, normal), axis=1)
        size = [
            int(np.ceil((high[axis] - low[axis]) / PIXEL_MM)) + 1 for axis in (u, v)
        ]
        x, y, z = origin
        return Grid(
            (size[0], size[1], 1), (PIXEL_MM, PIXEL_MM, 1.0), (x, y, z), _matrix(rows)
        )


ROW = (Direction.AXIAL, Direction.CORONAL, Direction.SAGITTAL)
"""The planes of one row of the picture."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of the picture are, in inches from its lower left corner.

    Attributes:
        size: The picture's width and height.
        panels: Width and height of each plane of a row; all to one scale.
    """

    size: tuple[float, float]
    panels: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, low: Vector, high: Vector) -> Layout:
        """Return the layout for planes over the box `low` to `high`, mm LPS."""
        lengths = np.maximum(np.subtract(high, low), SMALLEST_PANEL_MM)
        across = sum(float(lengths[direction.across]) for direction in ROW)
        along = max(float(lengths[direction.down]) for direction in ROW)
        scale = min(TALLEST_PANEL / along, WIDEST_ROW / across)
        panels = tuple(
            (float(lengths[d.across]) * scale, float(lengths[d.down]) * scale)
            for d in ROW
        )
        height = HEADER + FOOTER + 2 * (along * scale + TITLE) + GAP
        width = across * scale + 4 * GAP + LEGEND_WIDTH
        return cls((width, max(height, SMALLEST_HEIGHT)), panels)

    def panel(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return a plane's left, bottom, width and height as shares of the picture."""
        width, height = self.panels[column]
        tallest = max(height for _, height in self.panels)
        left = GAP + sum(width + GAP for width, _ in self.panels[:column])
        top = self.size[1] - HEADER - TITLE - row * (tallest + TITLE + GAP)
        return self.share(left, top - height, width, height)

    def share(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """Return a rectangle in inches as shares of the picture."""
        across, along = self.size
        return left / across, bottom / along, width / across, height / along


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a preview shows.

    Attributes:
        ct: In HU, of any orientation.
        labels: The organs, on the CT's grid.
        organs: What became of each of the 30.
        model: Which model drew them.
        registration: What became of the MR.
        mr: The registered MR on the CT's grid; None if it is not to be shown.
        field_of_view: Not 0 where the MR has data; None without `mr`.
    """

    ct: Volume
    labels: Volume
    organs: tuple[OrganResult, ...]
    model: ModelSummary
    registration: RegistrationReport
    mr: Volume | None = None
    field_of_view: Volume | None = None


def write_preview(path: Path, picture: Picture) -> None:
    """Draw a picture as a PNG file.

    It shows an axial, a coronal and a sagittal plane through most of the organs, and
    below them the same planes of the MR, or other planes of the CT if there is none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    low, high = _box(picture)
    layout = Layout.of(low, high)
    figure = Figure(figsize=layout.size, dpi=DOTS_PER_INCH, facecolor=BACKGROUND_COLOUR)
    FigureCanvasAgg(figure)
    _draw_panels(figure, picture, layout, low, high)
    _draw_legend(figure, picture, layout)
    _draw_words(figure, picture, layout)
    figure.savefig(
        path,
        format="png",
        metadata={"Software": "hanseg"},
        pil_kwargs={"compress_level": COMPRESSION_LEVEL},
    )


def choose_planes(labels: Volume, directions: Iterable[Direction]) -> list[Plane]:
    """Return a plane of each direction; each shows as many new organs as it can.

    Where there are no organs, planes go through the grid's middle.
    """
    index = np.array(np.nonzero(labels.array))
    points = labels.grid.index_to_world(index[::-1].T)
    label = labels.array[tuple(index)]
    shown = np.zeros(len(ORGANS) + 1, dtype=bool)
    planes: list[Plane] = []
    for direction in directions:
        at = float(labels.grid.centre[direction.value])
        if len(label):
            places = points[:, direction.value]
            taken = [plane.at_mm for plane in planes if plane.direction is direction]
            at = _best(places, label, shown, taken)
            shown[np.unique(label[np.abs(places - at) <= BIN_MM / 2])] = True
        planes.append(Plane(direction, at))
    return planes


def _best(
    places: npt.NDArray[np.float64],
    label: npt.NDArray[np.uint8],
    shown: npt.NDArray[np.bool_],
    taken: list[float],
) -> float:
    """Return the place with most organs that are not shown yet; area breaks ties.

    It keeps its distance from planes that are `taken`, if it can.
    """
    first = places.min()
    bins = ((places - first) / BIN_MM).astype(np.int64)
    count = int(bins.max()) + 1
    voxels = np.zeros((count, len(ORGANS) + 1))
    np.add.at(voxels, (bins, label), 1.0)
    new = (voxels[:, ~shown] > 0).sum(axis=1)
    known = (voxels[:, shown] > 0).sum(axis=1)
    score = new + 0.3 * known + voxels.sum(axis=1) / voxels.sum()
    middles = first + (np.arange(count) + 0.5) * BIN_MM
    for other in taken:
        score[np.abs(middles - other) < LEAST_DISTANCE_MM] -= len(ORGANS)
    score[voxels.sum(axis=1) == 0] = -np.inf
    best = int(score.argmax())
    inside = places[bins == best]
    return float(inside[np.abs(inside - middles[best]).argmin()])


def _draw_panels(
    figure: Figure, picture: Picture, layout: Layout, low: Vector, high: Vector
) -> None:
    directions = ROW if picture.mr is not None else ROW + ROW
    planes = choose_planes(picture.labels, directions)
    for number, plane in enumerate(planes):
        axes = figure.add_axes(layout.panel(*divmod(number, len(ROW))))
        _draw_ct(axes, picture, plane, low, high)
    if picture.mr is None:
        return
    for column, plane in enumerate(planes):
        axes = figure.add_axes(layout.panel(1, column))
        _draw_mr(axes, picture, picture.mr, plane, low, high)


def _box(picture: Picture) -> tuple[Vector, Vector]:
    """Return the corners, mm LPS, of what is shown: the organs and a margin."""
    corners = picture.ct.grid.corners()
    low, high = corners.min(axis=0), corners.max(axis=0)
    index = np.array(np.nonzero(picture.labels.array))
    if index.shape[1]:
        points: Points = picture.labels.grid.index_to_world(index[::-1].T)
        low = np.maximum(low, points.min(axis=0) - MARGIN_MM)
        high = np.minimum(high, points.max(axis=0) + MARGIN_MM)
    return _vector(low), _vector(high)


def _draw_ct(
    axes: Axes, picture: Picture, plane: Plane, low: Vector, high: Vector
) -> None:
    grid = plane.grid(low, high)
    image = resample(picture.ct, grid, background=AIR_HU).array[0]
    _show(axes, image, plane, grid, WINDOW_HU, f"CT {plane.direction.name.lower()}")
    _outline(axes, picture, grid)


def _draw_mr(
    axes: Axes, picture: Picture, mr: Volume, plane: Plane, low: Vector, high: Vector
) -> None:
    grid = plane.grid(low, high)
    image = resample(mr, grid).array[0]
    inside = np.ones(image.shape, dtype=bool)
    if picture.field_of_view is not None:
        seen = resample(
            picture.field_of_view, grid, interpolation=Interpolation.NEAREST
        )
        inside = seen.array[0] != 0
    window = _percentiles(image[inside].astype(np.float64))
    _show(axes, image, plane, grid, window, f"MR {plane.direction.name.lower()}")
    _contour(axes, inside, grid, colour=BORDER_COLOUR, width=1.0, style="dashed")
    _outline(axes, picture, grid)


def _percentiles(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the MR's window: the middle 98 % of what it shows."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low, low + 1.0)


def _show(
    axes: Axes,
    image: npt.NDArray[np.generic],
    plane: Plane,
    grid: Grid,
    window: tuple[float, float],
    title: str,
) -> None:
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
    axes.set_title(
        f"{title}, {'xyz'[plane.direction.value]} = {plane.at_mm:.0f} mm",
        loc="left",
        color=DIM_COLOUR,
        fontsize=10,
        pad=4,
    )
    _letters(axes, plane.direction)
    _scale_bar(axes, grid)


def _letters(axes: Axes, direction: Direction) -> None:
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
            fontsize=12,
            path_effects=_halo(),
        )


def _halo() -> list[AbstractPathEffect]:
    """Return a dark edge for what is drawn over bright voxels."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="black")]


def _scale_bar(axes: Axes, grid: Grid) -> None:
    """Draw a bar of 50 mm at the lower right."""
    width, height, _ = grid.size
    length = SCALE_BAR_MM / PIXEL_MM
    if length > 0.6 * width:
        return
    down = axes.get_ylim()[0] > axes.get_ylim()[1]
    y = 0.96 * height if down else 0.04 * height
    right = 0.97 * width
    axes.plot(
        [right - length, right], [y, y], color=TEXT_COLOUR, lw=2, path_effects=_halo()
    )
    axes.annotate(
        f"{SCALE_BAR_MM:.0f} mm",
        (right - length / 2, y),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=TEXT_COLOUR,
        fontsize=8,
        path_effects=_halo(),
    )


def _outline(axes: Axes, picture: Picture, grid: Grid) -> None:
    """Draw the outline of every organ in the plane, in its colour."""
    labels = resample(picture.labels, grid, interpolation=Interpolation.NEAREST)
    flat = labels.array[0]
    for organ in ORGANS:
        mask = flat == organ.label
        if mask.any():
            _contour(axes, mask, grid, colour=_colour(organ.colour), width=1.3)


def _contour(
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


def _draw_legend(figure: Figure, picture: Picture, layout: Layout) -> None:
    """List all 30 organs: colour, volume, and what is to be known about them."""
    left = layout.size[0] - LEGEND_WIDTH
    axes = figure.add_axes(
        layout.share(left, 0.3, LEGEND_WIDTH - GAP, layout.size[1] - 0.6)
    )
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(ORGANS) + 0.5, -0.5)
    for row, (organ, result) in enumerate(zip(ORGANS, picture.organs, strict=True)):
        drawn = result.volume_ml > 0
        colour = _colour(organ.colour) if drawn else BACKGROUND_COLOUR
        edge = _colour(organ.colour) if drawn else DIM_COLOUR
        axes.plot([0.03], [row], "s", markersize=9, color=colour, markeredgecolor=edge)
        axes.text(
            0.08,
            row,
            organ.name,
            va="center",
            fontsize=10,
            color=TEXT_COLOUR if drawn else DIM_COLOUR,
        )
        axes.text(
            1.0,
            row,
            _remark(result),
            va="center",
            ha="right",
            fontsize=9,
            color=BORDER_COLOUR
            if result.status is OrganStatus.LOW_CONFIDENCE
            else DIM_COLOUR,
        )


def _remark(result: OrganResult) -> str:
    """Return an organ's volume and status in a few words."""
    digits = 1 if result.volume_ml >= 1 else 2
    volume = f"{result.volume_ml:.{digits}f} ml"
    words = {
        OrganStatus.CONTOURED: volume,
        OrganStatus.LOW_CONFIDENCE: f"check! {volume}",
        OrganStatus.EMPTY: "not found",
        OrganStatus.OUTSIDE_FIELD_OF_VIEW: "outside the scan",
        OrganStatus.NOT_IN_MODEL: "not in model",
    }
    return words[result.status]


VERDICTS = {
    MrVerdict.USED: "CT and MR",
    MrVerdict.REJECTED: "CT alone: the MR was rejected",
    MrVerdict.ABSENT: "CT alone: there was no MR",
}
"""What the picture says about the MR."""


def _draw_words(figure: Figure, picture: Picture, layout: Layout) -> None:
    """Write the verdict on the MR above, and the model and warning below."""

    def write(text: str, inches: float, colour: str, size: int, weight: str) -> None:
        left, bottom, _, _ = layout.share(GAP, inches % layout.size[1], 0, 0)
        figure.text(
            left, bottom, text, color=colour, fontsize=size, weight=weight, va="center"
        )

    report, model = picture.registration, picture.model
    reason = textwrap.shorten(report.reason, width=140, placeholder=" …")
    border = "; dashed: where the MR has data" if picture.mr is not None else ""
    about = (
        f"Model {model.name} {model.version}; patient's right is on the left; window"
        f" {WINDOW_HU[0]:.0f} to {WINDOW_HU[1]:.0f} HU{border}"
    )
    write(VERDICTS[report.verdict], -0.32, TEXT_COLOUR, 15, "bold")
    write(reason, -0.68, DIM_COLOUR, 10, "normal")
    write("Not for clinical use", 0.45, BORDER_COLOUR, 13, "bold")
    write(about, 0.18, DIM_COLOUR, 10, "normal")


def _colour(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _matrix(values: npt.NDArray[np.float64]) -> Matrix:
    first, second, third = (_vector(row) for row in values)
    return first, second, third
