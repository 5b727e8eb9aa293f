"""What each voxel of a real case may be, given what was drawn in it.

Real cases teach by sets of labels (marginal losses, Shi et al. 2021,
doi 10.1016/j.media.2021.101979): what nobody drew may be background or any organ
that was not drawn; an outline larger than our organs may be any of their union; and
where two outlines overlap, a voxel may be either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_segmentation.training.courses import (
    AXIS_ORGANS,
    REACH_MM,
    courses_of_organs,
)
from hanseg_segmentation.training.datasets.declaration import Extent, Label
from hanseg_segmentation.training.label_sets import (
    EVERYTHING,
    ONLY_BACKGROUND,
    Bits,
    bits_of,
)
from hanseg_segmentation.training.places import SURE_MM, places_of_organs, spots_about
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.volume import Mask

TISSUE_HU = -300.0
"""Above this is tissue, not air."""

MARGIN_Z_MM = 28.0
"""How much of an organ's possible height may lie beyond the scan."""

SHOWN_COURSE_MM = 60.0
"""A scan that shows so much of a long organ's course shows the organ."""

LARGEST_CORD_MM2 = 900.0
"""A mean slice larger than this is no cord, and says not where it is."""

SMALLEST_SLICE_ML = 5.0
"""A slice with less tissue a mm of height shows no whole patient (OpenKBP blanks the
parts of some slices that got no dose)."""

NEIGHBOURS = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A label that was drawn, on the sample's grid.

    Attributes:
        label: What it stands for.
        mask: Its voxels.
    """

    label: Label
    mask: Mask


def allowed_labels(
    drawn: Sequence[Outline], grid: Grid, sella: Vector | None = None
) -> tuple[Bits, Bits]:
    """Return what each voxel may be, and the groups of labels that were drawn.

    Args:
        drawn: Everything that was drawn; what has no voxel on the grid, as too small
            an outline for it, counts as not drawn.
        grid: Where it lies: aligned with the patient's axes.
        sella: Where the middle of its fossa was seen, in mm LPS from the drawn brain
            stem's centroid, x from midway between the parotids; None if it was not.

    Returns:
        Label sets as bits, on the grid; and the sets that are scored as one organ,
        ``(groups,)``.
    """
    drawn = [each for each in drawn if each.mask.any()]
    whole = [each for each in drawn if each.label.extent is not Extent.PART]
    known = 0
    for each in whole:
        known |= bits_of(each.label.organs)
    allowed = np.full(grid.shape, EVERYTHING & ~known, np.int32)
    _leave_out_the_impossible(allowed, drawn, grid)
    _open_below(allowed, drawn)
    claimed = np.zeros(grid.shape, bool)
    for each in drawn:
        sets = _sets_inside(each, drawn, grid)
        allowed[each.mask] = np.where(
            claimed[each.mask], allowed[each.mask] | sets, sets
        )
        claimed |= each.mask
    groups = dict.fromkeys(bits_of({*o.label.organs, *o.label.also}) for o in whole)
    if sella is not None:
        seen = _put_at_sella(allowed, sella, drawn, grid, free=~claimed)
        groups |= dict.fromkeys(seen)
    return allowed, np.array(list(groups), np.int32)


def _sets_inside(outline: Outline, drawn: Sequence[Outline], grid: Grid) -> Bits:
    """Return what each voxel of an outline may be, in the mask's order."""
    label = outline.label
    if label.extent is Extent.LARGER:
        return _sets_of_larger(outline, drawn)
    if label.extent is Extent.UPPER_END:
        return _sets_of_upper_end(outline, grid.spacing[2])
    count = np.count_nonzero(outline.mask)
    return np.full(count, bits_of({*label.organs, *label.also}), np.int32)


def _sets_of_larger(outline: Outline, drawn: Sequence[Outline]) -> Bits:
    """Return the sets of an outline that is sure in its core, not in its rim."""
    label, mask = outline.label, outline.mask
    solid = mask.copy()
    for other in drawn:
        if other.label.extent is Extent.PART and {*other.label.organs} <= {
            *label.organs
        }:
            solid |= other.mask
    core = ndimage.binary_erosion(solid, NEIGHBOURS)
    sure = bits_of({*label.organs, *label.also})
    in_rim = sure | bits_of(label.rim)
    rim = in_rim if label.rim_is_ours else in_rim | ONLY_BACKGROUND
    return np.where(core, sure, rim)[mask].astype(np.int32)


def _sets_of_upper_end(outline: Outline, step_mm: float) -> Bits:
    """Return the sets of an outline that is ours at its upper end, and nothing below.

    Raises:
        AssertionError: Its label says not how far; a declaration always does.
    """
    label, mask = outline.label, outline.mask
    assert label.upper_mm is not None
    surely, possibly = label.upper_mm
    levels = np.flatnonzero(mask.any(axis=(1, 2)))
    below_top = (levels[-1] - np.nonzero(mask)[0]) * step_mm
    ours = bits_of({*label.organs, *label.also})
    doubtful = np.where(below_top <= possibly, ours | ONLY_BACKGROUND, ONLY_BACKGROUND)
    return np.where(below_top <= surely, ours, doubtful).astype(np.int32)


def _open_below(allowed: Bits, drawn: Sequence[Outline]) -> None:
    """Let slices below a drawing that often ends early hold the organ."""
    for each in drawn:
        levels = np.flatnonzero(each.mask.any(axis=(1, 2)))
        if each.label.ends_early and len(levels):
            allowed[: levels[0]] |= bits_of(each.label.organs)


def _leave_out_the_impossible(
    allowed: Bits, drawn: Sequence[Outline], grid: Grid
) -> None:
    """Take organs out of the sets of voxels where no patient has them."""
    origin = _brain_stem(drawn, grid)
    if origin is None:
        return
    axes = _axes_from(origin, grid)
    for label, place in places_of_organs().items():
        x, y, z = (
            (axis >= low) & (axis <= high)
            for axis, low, high in zip(axes, place.low, place.high, strict=True)
        )
        outside = ~(z[:, None, None] & y[:, None] & x)
        allowed[outside] &= ~np.int32(1 << label)
    _keep_to_courses(allowed, drawn, axes)


def _keep_to_courses(
    allowed: Bits, drawn: Sequence[Outline], axes: Sequence[npt.NDArray[np.float64]]
) -> None:
    """Take long organs out of the sets of voxels that are not near their course.

    Above and below what was drawn of the cord it is taken to go on straight.
    """
    x, y, z = axes
    cord = _cord(drawn, x, y)
    if cord is None:
        return
    levels = np.flatnonzero(~np.isnan(cord[:, 0]))
    for label, course in courses_of_organs().items():
        without = ~np.int32(1 << label)
        for level, height in enumerate(z):
            if not course.can_lie(height):
                allowed[level] &= without
                continue
            at = [np.interp(level, levels, axis[levels]) for axis in cord.T]
            column, row = np.add(at, course.middle_at(height))
            near = (abs(y - row) <= REACH_MM)[:, None] & (abs(x - column) <= REACH_MM)
            allowed[level][~near] &= without


def _cord(
    drawn: Sequence[Outline], x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64] | None:
    """Return the middle (x, y) of cord and brain stem at each level, NaN where none.

    None if no cord was drawn, or what was drawn as one is too large to be one.
    """
    parts = [each.mask for each in drawn if each.label.organ in AXIS_ORGANS]
    names = {each.label.organ for each in drawn}
    if "SpinalCord" not in names:
        return None
    whole = np.logical_or.reduce(parts)
    counts = whole.sum(axis=(1, 2))
    shown = counts > 0
    if counts[shown].mean() * (x[1] - x[0]) * (y[1] - y[0]) > LARGEST_CORD_MM2:
        return None
    middle = np.full((len(whole), 2), np.nan)
    middle[shown, 0] = (whole.sum(axis=1) @ x)[shown] / counts[shown]
    middle[shown, 1] = (whole.sum(axis=2) @ y)[shown] / counts[shown]
    return middle


def _put_at_sella(
    allowed: Bits, sella: Vector, drawn: Sequence[Outline], grid: Grid, *, free: Mask
) -> list[int]:
    """Put what nobody drew at the sella: sure about its middle, and only near it.

    Returns:
        The sets of these organs; none where brain stem or parotids were not drawn.
    """
    origin = _brain_stem(drawn, grid)
    if origin is None:
        return []
    axes = _axes_from(origin, grid)
    names = {each.label.organ for each in drawn}
    found: list[int] = []
    for name, spot in spots_about(sella).items():
        if name in names:
            continue
        label = bits_of([name])
        allowed[~_ellipsoid(axes, spot.middle, spot.reach)] &= ~np.int32(label)
        sure = _ellipsoid(axes, spot.middle, (SURE_MM,) * 3) & free
        if sure.any():
            allowed[sure] = label
            found.append(label)
    return found


def _ellipsoid(
    axes: Sequence[npt.NDArray[np.float64]], middle: Vector, radii: Vector
) -> Mask:
    """Return which voxels, given by their places (x, y, z), lie in an ellipsoid."""
    x, y, z = (
        ((axis - at) / radius) ** 2
        for axis, at, radius in zip(axes, middle, radii, strict=True)
    )
    return z[:, None, None] + y[:, None] + x <= 1


def _axes_from(
    origin: npt.NDArray[np.float64], grid: Grid
) -> list[npt.NDArray[np.float64]]:
    """Return the places (x, y, z) of a grid's voxels in mm from a point."""
    return [
        np.arange(n) * s + o - c
        for n, s, o, c in zip(grid.size, grid.spacing, grid.origin, origin, strict=True)
    ]


def _brain_stem(drawn: Sequence[Outline], grid: Grid) -> npt.NDArray[np.float64] | None:
    """Return the brain stem's centroid, x midway between the parotids, if drawn."""
    places = {
        each.label.organ: np.argwhere(each.mask).mean(axis=0)[::-1]
        for each in drawn
        if each.label.organ in {"Brainstem", "Parotid_L", "Parotid_R"}
        and each.mask.any()
    }
    if len(places) < 3:
        return None
    index = places["Brainstem"].copy()
    index[0] = (places["Parotid_L"][0] + places["Parotid_R"][0]) / 2
    return grid.index_to_world(index)


def imaged_labels(
    drawn: Sequence[Outline], ct_hu: npt.NDArray[np.float32], grid: Grid
) -> int:
    """Return the set of labels that the scan surely shows, drawn or not.

    These are the organs whose whole possible height lies within the slices that show
    the patient, and long ones of which enough does; none if the brain stem or a
    parotid was not drawn.
    """
    origin = _brain_stem(drawn, grid)
    tissue_ml = (ct_hu > TISSUE_HU).sum(axis=(1, 2)) * grid.voxel_ml / grid.spacing[2]
    levels = np.flatnonzero(tissue_ml > SMALLEST_SLICE_ML)
    if origin is None or not len(levels):
        return 0
    x, y, z = _axes_from(origin, grid)
    low, high = z[levels[[0, -1]]]
    shown = {
        label
        for label, place in places_of_organs().items()
        if low <= place.low[2] + MARGIN_Z_MM and place.high[2] - MARGIN_Z_MM <= high
    }
    for label, course in courses_of_organs().items():
        shown.discard(label)
        part = min(high, course.heights[-1]) - max(low, course.heights[0])
        if part >= SHOWN_COURSE_MM and _cord(drawn, x, y) is not None:
            shown.add(label)
    return sum(1 << label for label in shown)
