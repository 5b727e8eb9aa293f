"""The picture of a result: planes through the organs, as a radiographer reads them.

Planes are the patient's, whatever way the CT is stored. They are shown in
radiological convention: the patient's right is on the left of the result.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.results.case_result import CaseResult
from hanseg_segmentation.results.flagged import Flagged, write_words
from hanseg_shared.documents import (
    MrVerdict,
    OrganResult,
    RegistrationReport,
)
from hanseg_shared.flags import FlagCode
from hanseg_shared.grid import Grid, Points, Vector
from hanseg_shared.io.body import body_in
from hanseg_shared.io.coarse import sample
from hanseg_shared.itk import Interpolation
from hanseg_shared.organs import ORGANS, OrganStatus, Side
from hanseg_shared.pictures.choice import choose_planes
from hanseg_shared.pictures.planes import Direction, Plane, sample_plane
from hanseg_shared.pictures.sheet import (
    BACKGROUND_COLOUR,
    BORDER_COLOUR,
    DIM_COLOUR,
    FOOTER,
    GAP,
    HEADER,
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

MARGIN_MM = 25.0
"""How much is shown around and below the organs."""

HEAD_MM = 220.0
"""The patient's uppermost part of this height is taken for the head, ..."""

HALF_HEAD_MM = 150.0
"""... as far as it is this near to the organs: shoulders need not be shown."""

AIR_MM = 8.0
"""How much air is shown around the head."""

WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""

AIR_HU = -1024.0
"""Shown where the CT ends."""

LEGEND_WIDTH = 3.3
SMALLEST_HEIGHT = 7.4
"""So that the legend's 30 lines fit, in inches."""

ROW = (Direction.AXIAL, Direction.CORONAL, Direction.SAGITTAL)
"""The planes of each of the two rows."""


def write_preview(path: Path, result: CaseResult) -> None:
    """Draw the picture of a result as a PNG file.

    It shows the whole head in an axial, a coronal and a sagittal plane through most of
    the organs, and below them the same planes of the MR, or other planes of the CT if
    there is none; then a plane through each flagged organ, with what the checks found.
    """
    low, high = _box(result)
    layout = layout_of(low, high)
    reason = _reason_lines(result.registration, layout)
    layout = layout.with_header(max(HEADER, HEADLINE + LINE * len(reason)))
    flagged = Flagged.of(result.labels, result.organs, layout)
    layout = layout.with_room_below(flagged.height)
    figure = empty_sheet(layout)
    middle_mm = _middle_mm(result.labels, low, high)
    _draw_panels(figure, result, layout, low, high, middle_mm)
    _draw_legend(figure, result, layout, above=flagged.height)
    _draw_flagged(figure, result, layout, flagged, low, high)
    _draw_words(figure, result, layout, reason)
    save(figure, path)


def layout_of(low: Vector, high: Vector) -> Layout:
    """Return the layout of a picture that shows the box `low` to `high`, mm LPS."""
    smallest = (0.0, SMALLEST_HEIGHT)
    return Layout.of(low, high, (ROW, ROW), beside=LEGEND_WIDTH, smallest=smallest)


def _draw_panels(
    figure: Figure,
    result: CaseResult,
    layout: Layout,
    low: Vector,
    high: Vector,
    middle_mm: float,
) -> None:
    directions = ROW if result.images.mr is not None else ROW + ROW
    planes = choose_planes(result.labels, directions)
    for number, plane in enumerate(planes):
        axes = figure.add_axes(layout.panel(*divmod(number, len(ROW))))
        _draw_ct(axes, result, plane, low, high, middle_mm=middle_mm)
    if result.images.mr is None:
        return
    for column, plane in enumerate(planes):
        axes = figure.add_axes(layout.panel(1, column))
        _draw_mr(axes, result, result.images.mr, plane, low, high, middle_mm=middle_mm)


def _box(result: CaseResult) -> tuple[Vector, Vector]:
    """Return the corners, mm LPS, of what is shown: the organs and the whole head."""
    corners = result.images.ct.grid.corners()
    lowest, highest = corners.min(axis=0), corners.max(axis=0)
    index = np.array(np.nonzero(result.labels.array))
    if not index.shape[1]:
        return _vector(lowest), _vector(highest)
    organs: Points = result.labels.grid.index_to_world(index[::-1].T)
    low, high = organs.min(axis=0) - MARGIN_MM, organs.max(axis=0) + MARGIN_MM
    head = _head(result.images.ct, (low + high) / 2)
    if len(head):
        low[:2] = np.minimum(low[:2], head.min(axis=0)[:2] - AIR_MM)
        high = np.maximum(high, head.max(axis=0) + AIR_MM)
    return _vector(np.maximum(low, lowest)), _vector(np.minimum(high, highest))


def _head(ct: Volume, organs: Points) -> Points:
    """Return points all over the patient's head, mm LPS, ``(n, 3)``.

    There are none where no body is found.

    Args:
        ct: In HU.
        organs: The middle of the organs, ``(3,)``.
    """
    small = sample(ct)
    body = body_in(small)
    if body is None:
        return np.empty((0, 3))
    points = small.grid.index_to_world(np.argwhere(body)[:, ::-1])
    near = (np.abs(points - organs)[:, :2] < HALF_HEAD_MM).all(axis=1)
    head: Points = points[near & (points[:, 2] > points[:, 2].max() - HEAD_MM)]
    return head


def _middle_mm(labels: Volume, low: Vector, high: Vector) -> float:
    """Return the patient's middle, LPS x: of the organs in it, if there are any."""
    unpaired = [organ.label for organ in ORGANS if organ.side is Side.NONE]
    index = np.array(np.nonzero(np.isin(labels.array, unpaired)))
    if not index.shape[1]:
        return (low[0] + high[0]) / 2
    return float(np.median(labels.grid.index_to_world(index[::-1].T)[:, 0]))


def _draw_ct(
    axes: Axes,
    result: CaseResult,
    plane: Plane,
    low: Vector,
    high: Vector,
    *,
    middle_mm: float | None = None,
    stressed: int | None = None,
) -> None:
    grid = plane.grid(low, high)
    image = sample_plane(result.images.ct, grid, background=AIR_HU)
    title = f"CT {plane.direction.name.lower()}"
    show(
        axes,
        image,
        plane,
        grid,
        window=WINDOW_HU,
        title=title,
        middle_mm=middle_mm,
    )
    _outline(axes, result, grid, stressed=stressed)


def _draw_mr(
    axes: Axes,
    result: CaseResult,
    mr: Volume,
    plane: Plane,
    low: Vector,
    high: Vector,
    *,
    middle_mm: float,
) -> None:
    grid = plane.grid(low, high)
    image = sample_plane(mr, grid)
    inside = np.ones(image.shape, dtype=bool)
    if result.images.field_of_view is not None:
        view = result.images.field_of_view
        inside = sample_plane(view, grid, interpolation=Interpolation.NEAREST) != 0
    window = _percentiles(image[inside].astype(np.float64))
    title = f"MR {plane.direction.name.lower()}"
    show(axes, image, plane, grid, window=window, title=title, middle_mm=middle_mm)
    contour(axes, inside, grid, colour=BORDER_COLOUR, width=1.0, style="dashed")
    _outline(axes, result, grid)


def _percentiles(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the MR's window: the middle 98 % of what it shows."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low, low + 1.0)


def _outline(
    axes: Axes, result: CaseResult, grid: Grid, *, stressed: int | None = None
) -> None:
    """Draw the outline of every organ in the plane, in its colour.

    Where one label is stressed, its outline is thicker and the others are thinner.
    """
    flat = sample_plane(result.labels, grid, interpolation=Interpolation.NEAREST)
    for organ in ORGANS:
        mask = flat == organ.label
        if mask.any():
            width = 1.3 if stressed is None else 2.2 if organ.label == stressed else 0.7
            contour(axes, mask, grid, colour=_colour(organ.colour), width=width)


def _draw_legend(
    figure: Figure, result: CaseResult, layout: Layout, *, above: float
) -> None:
    """List all 30 organs: colour, volume, and what is to be known about them."""
    left = layout.size[0] - LEGEND_WIDTH
    axes = figure.add_axes(
        layout.share(
            left,
            above + FOOTER,
            LEGEND_WIDTH - GAP,
            layout.size[1] - layout.header - above - FOOTER,
        )
    )
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(ORGANS) + 0.5, -0.5)
    for row, (organ, found) in enumerate(zip(ORGANS, result.organs, strict=True)):
        is_shown = found.volume_ml > 0
        colour = _colour(organ.colour) if is_shown else BACKGROUND_COLOUR
        edge = _colour(organ.colour) if is_shown else DIM_COLOUR
        axes.plot([0.03], [row], "s", markersize=9, color=colour, markeredgecolor=edge)
        axes.text(
            0.08,
            row,
            organ.name,
            va="center",
            fontsize=10,
            color=TEXT_COLOUR if is_shown else DIM_COLOUR,
        )
        axes.text(
            1.0,
            row,
            _remark(found),
            va="center",
            ha="right",
            fontsize=9,
            color=BORDER_COLOUR
            if found.status is OrganStatus.LOW_CONFIDENCE
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


HEADLINE, LINE = 0.64, 0.2
"""Height of the headline, and of each line of the reason below it, in inches."""

LETTERS_PER_INCH = 13.0
"""Of the reason."""

MOST_LINES = 8
"""Of the reason; all checks at once take six."""

VERDICTS = {
    MrVerdict.USED: "CT and MR",
    MrVerdict.REJECTED: "CT alone: the MR was rejected",
    MrVerdict.ABSENT: "CT alone: there was no MR",
}
"""What the picture says about the MR."""


def _reason_lines(report: RegistrationReport, layout: Layout) -> list[str]:
    """Return the reason of the verdict on the MR in lines that fit."""
    letters = int((layout.size[0] - 2 * GAP) * LETTERS_PER_INCH)
    return textwrap.wrap(report.why, letters, max_lines=MOST_LINES, placeholder=" …")


def _draw_flagged(
    figure: Figure,
    result: CaseResult,
    layout: Layout,
    flagged: Flagged,
    low: Vector,
    high: Vector,
) -> None:
    """Draw a plane through each flagged organ, in the CT, and what was found."""
    if not flagged.height:
        return
    top = FOOTER + flagged.height
    for number, view in enumerate(flagged.views):
        left, bottom = flagged.place(number)
        axes = figure.add_axes(
            layout.share(left, top + bottom, flagged.cell, flagged.cell)
        )
        shown = (view.low, view.high) if view.cropped else (low, high)
        _draw_ct(axes, result, view.plane, *shown, stressed=view.organ.label)
    write_words(figure, layout, flagged)


def _draw_words(
    figure: Figure, result: CaseResult, layout: Layout, reason: list[str]
) -> None:
    """Write the verdict on the MR above, and the model and warning below."""
    report, model = result.registration, result.model
    border = "; dashed: where the MR has data" if result.images.mr is not None else ""
    about = (
        f"Model {model.name} {model.version}; patient's right is on the left; window"
        f" {WINDOW_HU[0]:.0f} to {WINDOW_HU[1]:.0f} HU{border}"
    )
    lines = (
        (VERDICTS[report.verdict], -0.32, TEXT_COLOUR, 15, "bold"),
        *(
            (line, -HEADLINE - LINE * row, TEXT_COLOUR, 10, "normal")
            for row, line in enumerate(reason)
        ),
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
