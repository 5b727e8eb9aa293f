"""Pictures for the reports, as PNG bytes: box plots, contours, matrices, courses."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hanseg_lab.evaluation.structures import in_label_order
from hanseg_shared.metrics.surface import lattice_offset
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Indices = npt.NDArray[np.int64]

DOTS_PER_INCH = 110
REFERENCE_COLOUR = "#1a9850"
PREDICTION_COLOUR = "#d73027"
BETTER_COLOUR, WORSE_COLOUR = "#66bd63", "#f2a08c"
BOX_COLOURS = (
    *("#4575b4", "#d73027", "#1a9850", "#984ea3", "#ff7f00", "#666666"),
    *("#17becf", "#a6761d", "#e7298a", "#b5a800", "#000000", "#9ecae1"),
)
MARGIN_VOXELS = 4

AROUND_MM = 20.0
"""How much of a CT is shown around the masks."""

CT_WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""

LARGEST_PICTURE = 1 << 28
"""Most voxels of the box around two masks that a picture shows."""


def box_plots(
    values: Mapping[str, Mapping[str, Sequence[float]]], *, label: str
) -> bytes:
    """Return box plots, a group an organ and a box a method, as the paper's Figure 2.

    Boxes are the quartiles, whiskers reach the farthest value within 1.5 times the
    interquartile range, points are beyond. Infinite values are not drawn.

    Args:
        values: By method, then organ.
        label: Of the value axis, with its unit.
    """
    organs = in_label_order(name for each in values.values() for name in each)
    figure = _figure(max(4.0, (0.35 + 0.07 * len(values)) * len(organs) + 1.5), 4.2)
    axes = figure.add_subplot()
    width = 0.8 / len(values)
    handles = []
    for n, (method, by_organ) in enumerate(values.items()):
        places = np.arange(len(organs)) + (n - (len(values) - 1) / 2) * width
        colour = BOX_COLOURS[n % len(BOX_COLOURS)]
        drawn = axes.boxplot(
            [[v for v in by_organ.get(o, ()) if np.isfinite(v)] for o in organs],
            positions=places,
            widths=width * 0.85,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": colour, "alpha": 0.45, "edgecolor": colour},
            medianprops={"color": "#111111"},
            flierprops={"marker": ".", "markersize": 4, "markeredgecolor": colour},
        )
        handles.append((drawn["boxes"][0], method))
    axes.set_xticks(np.arange(len(organs)), organs, rotation=60, ha="right")
    axes.set_ylabel(label)
    axes.grid(axis="y", alpha=0.3)
    axes.set_xlim(-0.6, len(organs) - 0.4)
    if len(values) > 1:
        axes.legend(*zip(*handles, strict=True), loc="best", fontsize=8)
    return _png(figure)


def contour_picture(
    reference: Volume | None,
    prediction: Volume | None,
    *,
    title: str,
    ct: Volume | None = None,
) -> bytes | None:
    """Return three planes through where two masks differ most, or None.

    Outlines of the reference are green, of the prediction red. Planes are the grid's,
    turned to the nearest anatomical direction: the patient's right is on the left.
    With a CT, on the lattice of the masks, they are drawn on it, with more around.

    Returns:
        The picture; None if there is no mask, or they are too far apart to draw.
    """
    pair = _common(reference, prediction, ct)
    if pair is None:
        return None
    figure = _figure(9.0, 3.4)
    planes = figure.subplots(1, 3)
    for axes, plane in zip(planes, _planes(pair), strict=True):
        _draw_plane(axes, plane)
    figure.suptitle(title, fontsize=10)
    return _png(figure)


def matrix_picture(
    rows: Sequence[str],
    columns: Sequence[str],
    shades: npt.NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    *,
    title: str,
) -> bytes:
    """Return a table of shaded cells (0 white, 1 green, -1 red) with texts in them."""
    from matplotlib.colors import LinearSegmentedColormap

    figure = _figure(1.9 + 1.0 * len(columns), 1.6 + 0.5 * len(rows))
    axes = figure.add_subplot()
    colours = LinearSegmentedColormap.from_list("", (WORSE_COLOUR, "w", BETTER_COLOUR))
    axes.imshow(shades, cmap=colours, vmin=-1.0, vmax=1.0, aspect="auto")
    for (row, column), _ in np.ndenumerate(shades):
        axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title(title, fontsize=10)
    return _png(figure)


def course_picture(
    courses: Mapping[str, Sequence[tuple[float, float]]], *, label: str, ticks: str
) -> bytes:
    """Return values over time, a line an organ, as small multiples.

    Args:
        courses: By organ, pairs of a time and a value.
        label: Of the value axes, with the unit.
        ticks: What the time axis counts.
    """
    columns = min(5, len(courses))
    rows = -(-len(courses) // columns)
    figure = _figure(2.5 * columns + 0.6, 1.9 * rows + 0.6)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(courses) :]:
        axes.set_axis_off()
    for axes, (organ, course) in zip(grid.flat, courses.items(), strict=False):
        times, values = zip(*course, strict=True)
        axes.plot(times, values, marker=".", color=BOX_COLOURS[0], linewidth=1)
        axes.set_title(organ, fontsize=8)
        axes.tick_params(labelbottom=True, labelsize=7)
        axes.grid(alpha=0.3)
    figure.supylabel(label, fontsize=9)
    figure.supxlabel(ticks, fontsize=9)
    return _png(figure)


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Two masks in one box whose axes are S, P, L, with a voxel's edges in mm."""

    reference: npt.NDArray[np.bool_]
    prediction: npt.NDArray[np.bool_]
    spacing_zyx: tuple[float, float, float]
    ct: npt.NDArray[np.generic] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    title: str
    reference: npt.NDArray[np.bool_]
    prediction: npt.NDArray[np.bool_]
    aspect: float
    feet_below: bool
    ct: npt.NDArray[np.generic] | None = None


def _common(
    reference: Volume | None, prediction: Volume | None, ct: Volume | None
) -> _Pair | None:
    given = [mask for mask in (reference, prediction) if mask is not None]
    if not given:
        return None
    starts = [np.array(lattice_offset(given[0].grid, m.grid)) for m in given]
    ends = [s + m.array.shape for s, m in zip(starts, given, strict=True)]
    spacing = given[0].grid.spacing[::-1]
    margin = [MARGIN_VOXELS if ct is None else round(AROUND_MM / s) for s in spacing]
    low = np.min(starts, axis=0) - margin
    shape = np.max(ends, axis=0) + margin - low
    if shape.prod() > LARGEST_PICTURE:
        return None
    boxes = [
        _place_in_box(mask, given[0], low, shape) for mask in (reference, prediction)
    ]
    around = None if ct is None else _cut_box(ct, given[0], low, shape)
    return _turn_to_patient(boxes[0], boxes[1], around, given[0])


def _cut_box(
    ct: Volume, like: Volume, low: Indices, shape: Indices
) -> npt.NDArray[np.generic]:
    """Return what a CT shows in a box of the lattice of `like`; air beyond it."""
    box = np.full(shape, CT_WINDOW_HU[0], dtype=np.float32)
    start = low - np.array(lattice_offset(like.grid, ct.grid))
    stop = np.minimum(start + shape, ct.array.shape)
    first = np.maximum(start, 0)
    if (first < stop).all():
        there = tuple(slice(a, b) for a, b in zip(first, stop, strict=True))
        here = tuple(
            slice(a, b) for a, b in zip(first - start, stop - start, strict=True)
        )
        box[here] = ct.array[there]
    return box


def _place_in_box(
    mask: Volume | None, like: Volume, low: Indices, shape: Indices
) -> npt.NDArray[np.bool_]:
    """Return a box of the lattice of `like` with the mask in it, if there is one."""
    box = np.zeros(shape, dtype=np.bool_)
    if mask is not None:
        first = np.array(lattice_offset(like.grid, mask.grid)) - low
        size = zip(first, mask.array.shape, strict=True)
        box[tuple(slice(f, f + n) for f, n in size)] = mask.array
    return box


def _turn_to_patient(
    reference: npt.NDArray[np.bool_],
    prediction: npt.NDArray[np.bool_],
    ct: npt.NDArray[np.generic] | None,
    like: Volume,
) -> _Pair:
    """Turn boxes so that their axes run to the head, the back and the left."""
    direction = np.array(like.grid.direction)
    axes = []
    for world in (2, 1, 0):
        index_axis = int(np.abs(direction[world]).argmax())
        axes.append((2 - index_axis, direction[world, index_axis] < 0))
    order = [axis for axis, _ in axes]
    flips = tuple(n for n, (_, reverse) in enumerate(axes) if reverse)
    spacing = like.grid.spacing[::-1]
    return _Pair(
        np.flip(reference.transpose(order), flips),
        np.flip(prediction.transpose(order), flips),
        (spacing[order[0]], spacing[order[1]], spacing[order[2]]),
        None if ct is None else np.flip(ct.transpose(order), flips),
    )


def _planes(pair: _Pair) -> list[_Plane]:
    differs = pair.reference ^ pair.prediction
    if not differs.any():
        differs = pair.reference
    z, y, x = pair.spacing_zyx
    cuts = (("axial", 0, y / x), ("coronal", 1, z / x), ("sagittal", 2, z / y))
    planes = []
    for title, axis, aspect in cuts:
        others = tuple({0, 1, 2} - {axis})
        at = int(differs.sum(axis=others).argmax())
        planes.append(
            _Plane(
                title,
                np.asarray(pair.reference.take(at, axis)),
                np.asarray(pair.prediction.take(at, axis)),
                aspect,
                feet_below=axis != 0,
                ct=None if pair.ct is None else np.asarray(pair.ct.take(at, axis)),
            )
        )
    return planes


def _draw_plane(axes: Axes, plane: _Plane) -> None:
    shade: npt.NDArray[np.generic] = plane.reference.astype(np.float32)
    shade, colours, window = shade + plane.prediction, "Greys", (0.0, 5.0)
    if plane.ct is not None:
        shade, colours, window = plane.ct, "gray", CT_WINDOW_HU
    axes.imshow(
        shade,
        cmap=colours,
        vmin=window[0],
        vmax=window[1],
        aspect=plane.aspect,
        origin="lower" if plane.feet_below else "upper",
    )
    for mask, colour in (
        (plane.reference, REFERENCE_COLOUR),
        (plane.prediction, PREDICTION_COLOUR),
    ):
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[colour], linewidths=1.4)
    axes.set_title(plane.title, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()
