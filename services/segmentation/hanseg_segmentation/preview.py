"""The picture of a result: planes through the organs, as a radiographer reads them.

Planes are the patient's, whatever way the CT is stored. They are shown in
radiological convention: the patient's right is on the left of the picture.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
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
from hanseg_shared.flags import FlagCode
from hanseg_shared.grid import Grid, Points, Vector
from hanseg_shared.itk import Interpolation
from hanseg_shared.organs import ORGANS, OrganStatus
from hanseg_shared.planes import Direction, Plane, sampled
from hanseg_shared.sheet import (
    BACKGROUND_COLOUR,
    BORDER_COLOUR,
    DIM_COLOUR,
    GAP,
    TEXT_COLOUR,
    Layout,
    contour,
    empty_sheet,
    save,
    show,
    write_line,
)
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN_MM = 45.0
"""How much is shown around the organs."""

BIN_MM = 3.0
"""Planes this close are taken for one when the best is looked for."""

WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""

AIR_HU = -1024.0
"""Shown where the CT ends."""

LEGEND_WIDTH = 3.3
SMALLEST_HEIGHT = 7.4
"""So that the legend's 30 lines fit, in inches."""

ROW = (Direction.AXIAL, Direction.CORONAL, Direction.SAGITTAL)
"""The planes of each of the two rows."""

LEAST_DISTANCE_MM = 20.0
"""Two planes of one direction are at least so far apart."""


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
    low, high = _box(picture)
    layout = layout_of(low, high)
    figure = empty_sheet(layout)
    _draw_panels(figure, picture, layout, low, high)
    _draw_legend(figure, picture, layout)
    _draw_words(figure, picture, layout)
    save(figure, path)


def layout_of(low: Vector, high: Vector) -> Layout:
    """Return the layout of a picture that shows the box `low` to `high`, mm LPS."""
    smallest = (0.0, SMALLEST_HEIGHT)
    return Layout.of(low, high, (ROW, ROW), beside=LEGEND_WIDTH, smallest=smallest)


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
    image = sampled(picture.ct, grid, background=AIR_HU)
    title = f"CT {plane.direction.name.lower()}"
    show(axes, image, plane, grid, window=WINDOW_HU, title=title)
    _outline(axes, picture, grid)


def _draw_mr(
    axes: Axes, picture: Picture, mr: Volume, plane: Plane, low: Vector, high: Vector
) -> None:
    grid = plane.grid(low, high)
    image = sampled(mr, grid)
    inside = np.ones(image.shape, dtype=bool)
    if picture.field_of_view is not None:
        view = picture.field_of_view
        inside = sampled(view, grid, interpolation=Interpolation.NEAREST) != 0
    window = _percentiles(image[inside].astype(np.float64))
    title = f"MR {plane.direction.name.lower()}"
    show(axes, image, plane, grid, window=window, title=title)
    contour(axes, inside, grid, colour=BORDER_COLOUR, width=1.0, style="dashed")
    _outline(axes, picture, grid)


def _percentiles(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the MR's window: the middle 98 % of what it shows."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low, low + 1.0)


def _outline(axes: Axes, picture: Picture, grid: Grid) -> None:
    """Draw the outline of every organ in the plane, in its colour."""
    flat = sampled(picture.labels, grid, interpolation=Interpolation.NEAREST)
    for organ in ORGANS:
        mask = flat == organ.label
        if mask.any():
            contour(axes, mask, grid, colour=_colour(organ.colour), width=1.3)


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
    """Return an organ's volume and status in a few words, and if the scan cuts it."""
    digits = 1 if result.volume_ml >= 1 else 2
    volume = f"{result.volume_ml:.{digits}f} ml"
    cut = "cut, " if FlagCode.TRUNCATED_AT_SCAN_EDGE in result.codes else ""
    words = {
        OrganStatus.CONTOURED: f"{cut}{volume}",
        OrganStatus.LOW_CONFIDENCE: f"check! {cut}{volume}",
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
    report, model = picture.registration, picture.model
    reason = textwrap.shorten(report.reason, width=140, placeholder=" …")
    border = "; dashed: where the MR has data" if picture.mr is not None else ""
    about = (
        f"Model {model.name} {model.version}; patient's right is on the left; window"
        f" {WINDOW_HU[0]:.0f} to {WINDOW_HU[1]:.0f} HU{border}"
    )
    lines = (
        (VERDICTS[report.verdict], -0.32, TEXT_COLOUR, 15, "bold"),
        (reason, -0.68, DIM_COLOUR, 10, "normal"),
        ("Not for clinical use", 0.45, BORDER_COLOUR, 13, "bold"),
        (about, 0.18, DIM_COLOUR, 10, "normal"),
    )
    for text, inches, colour, size, weight in lines:
        write_line(
            figure,
            layout,
            text,
            inches=inches,
            colour=colour,
            size=size,
            weight=weight,
        )


def _colour(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
