"""What each voxel of a real case may be, given the contours of the case.

Networks are trained on real cases by sets of labels (marginal losses, Shi et al. 2021,
doi 10.1016/j.media.2021.101979): a voxel outside all contours may be background or any
organ without a contour; one in a contour larger than our organs may be any of their
union; and one in two contours may be either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_lab.declaration import Extent
from hanseg_lab.training.courses import REACH_MM, courses_of_organs
from hanseg_lab.training.label_sets import (
    EVERYTHING,
    ONLY_BACKGROUND,
    Bits,
    bits_of,
)
from hanseg_lab.training.organ_places import places_of_organs, spots_about
from hanseg_lab.training.sampled_contours import (
    SampledContour,
    axes_from,
    middle_of_cord,
    origin_of,
)
from hanseg_shared.grid import Grid, Points, Vector
from hanseg_shared.volume import Mask

TISSUE_HU = -300.0
"""Above this is tissue, not air."""

MARGIN_Z_MM = 28.0
"""How much of an organ's possible height may lie beyond the scan."""

LEAST_COURSE_MM = 60.0
"""A scan that shows so much of a long organ's course shows the organ."""

SMALLEST_SLICE_ML = 5.0
"""A slice with less tissue a mm of height shows no whole patient (OpenKBP blanks the
parts of some slices that got no dose)."""

NEIGHBOURS = ndimage.generate_binary_structure(3, 1)


def allowed_labels(
    contours: Sequence[SampledContour],
    grid: Grid,
    *,
    shown: npt.NDArray[np.bool_] | None = None,
    sella: Vector | None = None,
) -> tuple[Bits, Bits]:
    """Return what each voxel may be, and the groups of labels that have a contour.

    Args:
        contours: All contours; one without a voxel on the grid, because it is too
            small, does not count.
        grid: Their grid, aligned with the patient's axes.
        shown: Which levels show the patient (`shown_levels`); the others hold nothing
            outside the contours. None if all do.
        sella: The middle of its fossa, in mm LPS from the centroid of the brain
            stem's contour, x from midway between the parotids; None if unknown.

    Returns:
        Label sets as bits, on the grid; and the sets that are scored as one organ,
        ``(groups,)``.
    """
    contours = [each for each in contours if each.mask.any()]
    whole = [each for each in contours if each.label.extent is not Extent.PART]
    known = 0
    for each in whole:
        known |= bits_of(each.label.organs)
    allowed = np.full(grid.shape, EVERYTHING & ~known, np.int32)
    origin = origin_of(contours, grid)
    axes = None if origin is None else axes_from(origin, grid)
    if axes is not None:
        _leave_out_the_impossible(allowed, axes)
        _keep_to_courses(allowed, contours, axes)
    _open_below(allowed, contours)
    if shown is not None:
        allowed[~shown] = ONLY_BACKGROUND
    claimed = np.zeros(grid.shape, bool)
    for each in contours:
        sets = _sets_inside(each, contours, grid)
        allowed[each.mask] = np.where(
            claimed[each.mask], allowed[each.mask] | sets, sets
        )
        claimed |= each.mask
    groups = dict.fromkeys(bits_of({*o.label.organs, *o.label.also}) for o in whole)
    if sella is not None and axes is not None:
        seen = _put_at_sella(allowed, sella, contours, axes, free=~claimed)
        groups |= dict.fromkeys(seen)
    return allowed, np.array(list(groups), np.int32)


def _sets_inside(
    outline: SampledContour, contours: Sequence[SampledContour], grid: Grid
) -> Bits:
    """Return what each voxel of an outline may be, in the mask's order."""
    label = outline.label
    if label.extent is Extent.LARGER:
        return _sets_of_larger(outline, contours)
    if label.extent is Extent.UPPER_END:
        return _sets_of_upper_end(outline, grid.spacing[2])
    count = np.count_nonzero(outline.mask)
    return np.full(count, bits_of({*label.organs, *label.also}), np.int32)


def _sets_of_larger(
    outline: SampledContour, contours: Sequence[SampledContour]
) -> Bits:
    """Return the sets of an outline that is sure in its core, not in its rim."""
    label, mask = outline.label, outline.mask
    solid = mask.copy()
    for other in contours:
        if other.label.extent is Extent.PART and {*other.label.organs} <= {
            *label.organs
        }:
            solid |= other.mask
    core = ndimage.binary_erosion(solid, NEIGHBOURS)
    sure = bits_of({*label.organs, *label.also})
    in_rim = sure | bits_of(label.rim)
    rim = in_rim if label.rim_is_ours else in_rim | ONLY_BACKGROUND
    return np.where(core, sure, rim)[mask].astype(np.int32)


def _sets_of_upper_end(outline: SampledContour, step_mm: float) -> Bits:
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


def _open_below(allowed: Bits, contours: Sequence[SampledContour]) -> None:
    """Allow an organ below its contour, where contours of it often end early."""
    for each in contours:
        levels = np.flatnonzero(each.mask.any(axis=(1, 2)))
        if each.label.ends_early and len(levels):
            allowed[: levels[0]] |= bits_of(each.label.organs)


def _leave_out_the_impossible(allowed: Bits, axes: Sequence[Points]) -> None:
    """Take organs out of the sets of voxels where no patient has them."""
    for label, place in places_of_organs().items():
        x, y, z = (
            (axis >= low) & (axis <= high)
            for axis, low, high in zip(axes, place.low, place.high, strict=True)
        )
        outside = ~(z[:, None, None] & y[:, None] & x)
        allowed[outside] &= ~np.int32(1 << label)


def _keep_to_courses(
    allowed: Bits, contours: Sequence[SampledContour], axes: Sequence[Points]
) -> None:
    """Take long organs out of the sets of voxels that are not near their course.

    Above and below its contour the cord is taken to go on straight.
    """
    x, y, z = axes
    cord = middle_of_cord(contours, x, y)
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


def _put_at_sella(
    allowed: Bits,
    sella: Vector,
    contours: Sequence[SampledContour],
    axes: Sequence[Points],
    *,
    free: Mask,
) -> list[int]:
    """Place uncontoured organs at the sella: certain about its middle, only near it.

    Args:
        allowed: What each voxel may be, changed.
        sella: Where its fossa's middle is; see `allowed_labels`.
        contours: All contours: organs that they concern stay as they are.
        axes: Places (x, y, z) of the voxels, as the sella's.
        free: Voxels outside all contours.

    Returns:
        The sets of these organs.
    """
    names = {
        n for o in contours for n in (*o.label.organs, *o.label.also, *o.label.rim)
    }
    found: list[int] = []
    for name, spot in spots_about(sella).items():
        if name in names:
            continue
        label = np.int32(bits_of([name]))
        near = _ellipsoid(axes, spot.middle, spot.reach)
        allowed[free & near] |= label
        allowed[free & ~near] &= ~label
        sure = free & _ellipsoid(axes, spot.middle, (spot.sure_mm,) * 3)
        if sure.any():
            allowed[sure] = label
            found.append(int(label))
    return found


def _ellipsoid(axes: Sequence[Points], middle: Vector, radii: Vector) -> Mask:
    """Return which voxels, given by their places (x, y, z), lie in an ellipsoid."""
    x, y, z = (
        ((axis - at) / radius) ** 2
        for axis, at, radius in zip(axes, middle, radii, strict=True)
    )
    return z[:, None, None] + y[:, None] + x <= 1


def shown_levels(ct_hu: npt.NDArray[np.float32], grid: Grid) -> npt.NDArray[np.bool_]:
    """Return which levels of a CT show the patient, not air or blank."""
    tissue = (ct_hu > TISSUE_HU).sum(axis=(1, 2))
    shown: npt.NDArray[np.bool_] = (
        tissue * grid.voxel_ml / grid.spacing[2] > SMALLEST_SLICE_ML
    )
    return shown


def imaged_labels(
    contours: Sequence[SampledContour], shown: npt.NDArray[np.bool_], grid: Grid
) -> int:
    """Return the set of labels that the scan surely shows, contoured or not.

    These are the organs whose whole possible height lies within the slices that show
    the patient, and long ones of which enough does; none if the brain stem or a
    parotid has no contour.

    Args:
        contours: All contours.
        shown: Which levels show the patient (`shown_levels`).
        grid: Their grid.
    """
    origin = origin_of(contours, grid)
    if origin is None or not shown.any():
        return 0
    x, y, z = axes_from(origin, grid)
    low, high = z[np.flatnonzero(shown)[[0, -1]]]
    courses = courses_of_organs()
    surely = [
        label
        for label, place in places_of_organs().items()
        if label not in courses
        and low <= place.low[2] + MARGIN_Z_MM
        and place.high[2] - MARGIN_Z_MM <= high
    ]
    if middle_of_cord(contours, x, y) is not None:
        surely += [
            label
            for label, course in courses.items()
            if min(high, course.heights[-1]) - max(low, course.heights[0])
            >= LEAST_COURSE_MM
        ]
    return sum(1 << label for label in surely)
