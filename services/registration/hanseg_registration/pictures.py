"""Pictures of a registration, for whoever has to review it.

Two sheets of six planes through the part of the CT's head that the MR covers. On the
checkerboard CT and MR alternate: a line that breaks where squares meet is an error
there. On the other sheet the CT's skin and bone are drawn as lines over the MR. Both
state the verdict, also for a rejected registration, which is looked at most.
"""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from hanseg_registration.geometry.head import find_ct_head
from hanseg_registration.registration import Registration
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid, Points, Vector
from hanseg_shared.itk import Interpolation
from hanseg_shared.pictures.checkerboard import SQUARE_MM, make_checkerboard
from hanseg_shared.pictures.planes import Direction, Pixels, Plane, sample_plane
from hanseg_shared.pictures.sheet import (
    BORDER_COLOUR,
    DIM_COLOUR,
    GAP,
    HEADER,
    SMALLEST_PANEL_MM,
    TEXT_COLOUR,
    Layout,
    contour,
    empty_sheet,
    halo,
    save,
    show,
    write_line,
)
from hanseg_shared.result_files import CHECKERBOARD, EDGES
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

PIXELS = 450
"""Pixels along the longest edge of what is shown: about those of the sheet."""

WINDOW_HU = (-160.0, 240.0)
"""Of the CT: soft tissue, level 40, width 400."""

AIR_HU = -1024.0
"""Shown where the CT ends."""

SKIN_HU = -300.0
BONE_HU = 250.0
"""Where the CT's edges are drawn: half-way from air to skin, and from muscle to
compact bone."""

SKIN_COLOUR = "#3fd0ff"
BONE_COLOUR = "#ff7a3c"

MARGIN_MM = 12.0
"""How much is shown around what CT and MR both show; the head has some air as well."""

COARSE_MM = 4.0
"""Distance of the voxels on which the head is searched for."""

CUTS = (
    ((Direction.AXIAL, 0.8), (Direction.AXIAL, 0.5), (Direction.AXIAL, 0.2)),
    ((Direction.CORONAL, 0.4), (Direction.SAGITTAL, 0.5), (Direction.SAGITTAL, 0.27)),
)
"""The planes, row by row, and where they cut the part that CT and MR both show: the
share of it that is towards the feet, the front, and the patient's right."""

NARROWEST_SHEET = 10.5
"""In inches; the words fit into this."""

LETTERS_PER_INCH = 13.0
"""Of the words' smaller size."""

MOST_LINES = 8
"""Of the verdict's reason; all checks at once take six."""

BANNER_TOP, LINE = 0.51, 0.22
"""Height of the banner's headline, and of each line below it, in inches."""

REJECTED_COLOUR = "#a3201a"
USED_COLOUR = "#1d4a2c"

HEADLINES = {
    MrVerdict.USED: ("MR used", USED_COLOUR),
    MrVerdict.REJECTED: (
        "MR REJECTED: it is not to be used",
        REJECTED_COLOUR,
    ),
}
"""The banner's words and colour."""

NO_OVERLAP = "no part of the MR lies in the CT"
NO_PICTURES = "Its pictures could not be drawn."


class Look(NamedTuple):
    """What one plane shows.

    Attributes:
        plane: Which way it is cut, and where.
        pixels: Its pixels, one voxel thick.
        ct: HU, shape ``(rows, columns)``.
        mr: The registered MR, likewise.
        inside: Whether the MR has data, likewise.
    """

    plane: Plane
    pixels: Grid
    ct: Pixels
    mr: Pixels
    inside: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The planes of a registration, and how they are shown.

    Attributes:
        looks: The planes of `CUTS`.
        low, high: Corners of the box that they show, mm LPS.
        mr_window: What is black and what is white in the MR.
        middle_mm: The middle of what they show, LPS x.
        report: The verdict.
    """

    looks: tuple[tuple[Look, ...], ...]
    low: Vector
    high: Vector
    mr_window: tuple[float, float]
    report: RegistrationReport
    middle_mm: float = 0.0

    @classmethod
    def of(cls, ct: Volume, registration: Registration) -> Scene:
        """Choose and sample the planes; nothing as large as the CT is copied."""
        mr, view = registration.registered_mr, registration.field_of_view
        points = _common_part(ct, view)
        low, high = _box(points, ct.grid)
        looks = tuple(
            tuple(
                _look(_plane(*cut, points), ct, mr, view, low=low, high=high)
                for cut in row
            )
            for row in CUTS
        )
        seen = np.concatenate([look.mr[look.inside] for row in looks for look in row])
        window = _find_window(seen.astype(np.float64))
        middle = float(np.median(points[:, 0]))
        return cls(looks, low, high, window, registration.report, middle)

    @property
    def overlaps(self) -> bool:
        """Whether any plane shows MR."""
        return any(look.inside.any() for row in self.looks for look in row)


def add_pictures(folder: Path, ct: Volume, registration: Registration) -> Registration:
    """Write both sheets as PNG files, if that can be done.

    A registration does not fail for a picture: whatever goes wrong is logged, the
    report's reason says that the pictures are missing, and neither file is kept.

    Args:
        folder: Where; it exists.
        ct: The planning CT, in HU.
        registration: The MR on the CT's grid, and the verdict.

    Returns:
        The registration, with the remark if there is one.
    """
    try:
        write_pictures(folder, ct, registration)
    except Exception:
        logger.exception("the pictures of a registration could not be drawn")
        for name in (CHECKERBOARD, EDGES):
            (folder / name).unlink(missing_ok=True)
        report = registration.report
        reason = f"{report.reason} {NO_PICTURES}"
        remarked = report.model_copy(update={"reason": reason})
        return replace(registration, report=remarked)
    return registration


def write_pictures(folder: Path, ct: Volume, registration: Registration) -> None:
    """Write the checkerboard and the edges as PNG files to a folder that exists."""
    scene = Scene.of(ct, registration)
    for name, draw, words in (
        (CHECKERBOARD, _draw_checkerboard, CHECKERBOARD_WORDS),
        (EDGES, _draw_edges, EDGES_WORDS),
    ):
        _write_sheet(folder / name, scene, draw, words)


CHECKERBOARD_WORDS = (
    f"Squares of {SQUARE_MM:.0f} mm: CT (bluish) and MR (yellowish) in turn; follow "
    "bone, skin and ventricles across their edges"
)
EDGES_WORDS = (
    f"The registered MR; blue: the CT's skin and air ({SKIN_HU:.0f} HU), orange: the "
    f"CT's bone ({BONE_HU:.0f} HU)"
)


def _common_part(ct: Volume, field_of_view: Volume) -> Points:
    """Return points, mm LPS, ``(n, 3)``, throughout the part worth looking at.

    It is the part of the CT's head where the MR has data, or all of the head without
    such a part, or wherever the MR has data without a head, or else the whole CT.
    """
    seen = _subsample(field_of_view)
    index = np.argwhere(seen.array)[:, ::-1]
    try:
        head = find_ct_head(_subsample(ct))
    except ImageContentError:
        points = seen.grid.index_to_world(index)
        return points if len(points) else ct.grid.corners()
    points = head.coarse.grid.index_to_world(np.argwhere(head.mask)[:, ::-1])
    common = points[_values_at(seen, points) != 0]
    return common if len(common) else points


def _subsample(volume: Volume) -> Volume:
    """Return every so many voxels of a volume, about `COARSE_MM` apart, uncopied."""
    grid = volume.grid
    steps = [max(1, int(COARSE_MM / spacing)) for spacing in grid.spacing]
    dx, dy, dz = (s * step for s, step in zip(grid.spacing, steps, strict=True))
    array = volume.array[:: steps[2], :: steps[1], :: steps[0]]
    nz, ny, nx = array.shape
    return Volume(array, Grid((nx, ny, nz), (dx, dy, dz), grid.origin, grid.direction))


def _values_at(volume: Volume, points: Points) -> npt.NDArray[np.generic]:
    """Return the nearest voxel's value at each point; 0 outside."""
    index = np.rint(volume.grid.world_to_index(points)).astype(np.int64)
    inside = ((index >= 0) & (index < volume.grid.size)).all(axis=1)
    values = np.zeros(len(points), dtype=volume.array.dtype)
    x, y, z = index[inside].T
    values[inside] = volume.array[z, y, x]
    return values


def _box(points: Points, grid: Grid) -> tuple[Vector, Vector]:
    """Return the corners, mm LPS, of what is shown: points and a margin, in the CT."""
    corners = grid.corners()
    low = np.maximum(points.min(axis=0) - MARGIN_MM, corners.min(axis=0))
    high = np.minimum(points.max(axis=0) + MARGIN_MM, corners.max(axis=0))
    thin = np.maximum(SMALLEST_PANEL_MM - (high - low), 0.0) / 2.0
    return _vector(low - thin), _vector(high + thin)


def _plane(direction: Direction, depth: float, points: Points) -> Plane:
    return Plane(direction, float(np.quantile(points[:, direction.value], depth)))


def _look(
    plane: Plane, ct: Volume, mr: Volume, view: Volume, *, low: Vector, high: Vector
) -> Look:
    longest = float(np.subtract(high, low).max())
    pixels = plane.grid(low, high, pixel_mm=longest / PIXELS)
    return Look(
        plane,
        pixels,
        sample_plane(ct, pixels, background=AIR_HU),
        sample_plane(mr, pixels),
        sample_plane(view, pixels, interpolation=Interpolation.NEAREST) != 0,
    )


def _find_window(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the MR's window: the middle 98 % of what its planes show."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low, low + 1.0)


Draw = Callable[["Axes", Scene, Look], None]


def _write_sheet(path: Path, scene: Scene, draw: Draw, words: str) -> None:
    directions = tuple(tuple(direction for direction, _ in row) for row in CUTS)
    smallest = (NARROWEST_SHEET, 0.0)
    layout = Layout.of(scene.low, scene.high, directions, smallest=smallest)
    lines = _banner_lines(layout, scene.report)
    layout = layout.with_header(max(HEADER, BANNER_TOP + LINE * len(lines)))
    figure = empty_sheet(layout)
    _draw_banner(figure, layout, scene.report, lines)
    for row, column in np.ndindex(len(CUTS), len(CUTS[0])):
        look = scene.looks[row][column]
        axes = figure.add_axes(layout.panel(row, column))
        draw(axes, scene, look)
        contour(
            axes,
            look.inside,
            look.pixels,
            colour=BORDER_COLOUR,
            width=1.0,
            style="dashed",
        )
        if not scene.overlaps:
            _write_across(axes, NO_OVERLAP)
    _draw_footer(figure, layout, scene, words)
    save(figure, path)


def _draw_checkerboard(axes: Axes, scene: Scene, look: Look) -> None:
    colours = make_checkerboard(
        look.ct,
        look.mr,
        look.inside,
        look.pixels,
        ct_window=WINDOW_HU,
        mr_window=scene.mr_window,
    )
    _show(axes, scene, look, colours, WINDOW_HU, "CT and MR")


def _draw_edges(axes: Axes, scene: Scene, look: Look) -> None:
    _show(axes, scene, look, look.mr, scene.mr_window, "MR, CT's edges")
    axes.contour(
        look.ct,
        levels=[SKIN_HU, BONE_HU],
        colors=[SKIN_COLOUR, BONE_COLOUR],
        linewidths=0.8,
        linestyles="solid",
    )


def _show(
    axes: Axes,
    scene: Scene,
    look: Look,
    image: npt.NDArray[np.generic],
    window: tuple[float, float],
    what: str,
) -> None:
    title = f"{what}, {look.plane.direction.name.lower()}"
    show(
        axes,
        image,
        look.plane,
        look.pixels,
        window=window,
        title=title,
        middle_mm=scene.middle_mm,
    )


def _write_across(axes: Axes, text: str) -> None:
    axes.text(
        0.5,
        0.5,
        text,
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=BORDER_COLOUR,
        fontsize=11,
        weight="bold",
        path_effects=halo(),
    )


def _banner_lines(layout: Layout, report: RegistrationReport) -> list[str]:
    """Return the verdict's reason in lines that fit, and what was moved."""
    letters = int((layout.size[0] - 2 * GAP) * LETTERS_PER_INCH)
    lines = textwrap.wrap(report.why, letters, max_lines=MOST_LINES, placeholder=" …")
    return [line for line in (*lines, _facts(report)) if line]


def _draw_banner(
    figure: Figure, layout: Layout, report: RegistrationReport, lines: list[str]
) -> None:
    """Write the verdict and its reason on a coloured band above all planes."""
    from matplotlib.patches import Rectangle

    headline, colour = HEADLINES[report.verdict]
    left, bottom, width, height = layout.share(
        0.0, layout.size[1] - layout.header, layout.size[0], layout.header
    )
    figure.patches.append(
        Rectangle(
            (left, bottom), width, height, transform=figure.transFigure, color=colour
        )
    )
    write_line(
        figure,
        layout,
        headline,
        inches=-0.24,
        colour=TEXT_COLOUR,
        size=15,
        weight="bold",
    )
    for number, line in enumerate(lines):
        inches = -0.54 - LINE * number
        write_line(figure, layout, line, inches=inches, colour=TEXT_COLOUR, size=10)


def _facts(report: RegistrationReport) -> str:
    """Return how far the MR was moved and what it covers, if that is known."""
    known = report.measures
    if not {"rotation_deg", "translation_mm", "field_of_view_share"} <= known.keys():
        return ""
    return (
        f"Against the headers the MR was turned by {known['rotation_deg']:.1f} degrees "
        f"and moved by {known['translation_mm']:.0f} mm; it covers "
        f"{100 * known['field_of_view_share']:.0f} % of the CT's head"
    )


def _draw_footer(figure: Figure, layout: Layout, scene: Scene, words: str) -> None:
    """Write below all planes how to read them."""
    windows = (
        f"CT {WINDOW_HU[0]:.0f} to {WINDOW_HU[1]:.0f} HU, "
        f"MR {' to '.join(map(_significant, scene.mr_window))}"
    )
    how = (
        f"Windows: {windows}; dashed: where the MR has data; "
        "the patient's right is on the left"
    )
    write_line(figure, layout, words, inches=0.45, colour=TEXT_COLOUR, size=10)
    write_line(figure, layout, how, inches=0.18, colour=DIM_COLOUR, size=10)
    figure.text(
        1.0 - GAP / layout.size[0],
        0.18 / layout.size[1],
        "Not for clinical use",
        color=BORDER_COLOUR,
        fontsize=10,
        weight="bold",
        ha="right",
        va="center",
    )


def _significant(value: float) -> str:
    """Return a number with no fewer than three figures."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _vector(values: Points) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
