"""Where the slices of a series are: their order, and the grid they make, in mm LPS.

Only Image Position and Image Orientation (Patient) of every slice count (PS3.3
C.7.6.2.1.1). x runs along a row, y down a column, z along their cross product, so that
the grid is right-handed whatever way the slices are numbered or the patient lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from hanseg_shared.errors import ImageContentError, ImageTooLargeError
from hanseg_shared.grid import SAME_GRID_VOXELS, Grid, Matrix, Vector
from hanseg_shared.io.dicom.attributes import describe_tag
from hanseg_shared.io.dicom.frames import Frame
from hanseg_shared.io.dicom.planes import Planes, fit_planes, usual_gap_mm
from hanseg_shared.io.extent import require_patient_sized
from hanseg_shared.io.limits import Limits

SAME_PLACE_MM = 0.01
"""Slices closer than this are at the same place."""

SMALLEST_GAP_SHARE = 0.1
"""Slices closer than this share of the usual gap are two images of one place."""

MOST_MISSING = 2
"""So many slices may be missing in a row: more, and what lies between is a guess."""

SMALLEST_SHIFT_MM = 0.05
"""A slice may lie beside the normal by so much, or by a tenth of a pixel: positions
are written with few decimals. A gantry tilted by 1 degree shifts neighbours 3 mm apart
by 0.05 mm, and a whole head by 4 mm."""

SMALLEST_TILT_DEGREES = 0.01
"""A smaller Gantry/Detector Tilt is 0."""

SHOWN_GAPS = 5
"""So many gaps are listed in a remark."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Slices in order, and the grid of the volume they make.

    Attributes:
        frames: Along the grid's z, ascending.
        positions_mm: Of each along z, from the first one on.
        planes: Which plane of the grid shows each.
        grid: Where the volume's voxels are.
        remarks: What a person should know of the slices' places.
    """

    frames: tuple[Frame, ...]
    positions_mm: tuple[float, ...]
    planes: Planes
    grid: Grid
    remarks: tuple[str, ...]


def positions_along_normal(frames: Sequence[Frame]) -> Floats:
    """Return how far along the first one's normal frames lie, in mm.

    Raises:
        ImageContentError: The directions of its rows and columns are none.
    """
    normal = _axes_of(frames[0])[:, 2]
    return np.array([frame.position for frame in frames]) @ normal


def require_one_geometry(frames: Sequence[Frame], *, rows: int, columns: int) -> None:
    """Refuse frames that have not the same orientation and pixel spacing.

    Args:
        frames: At least one.
        rows: Pixels down a column.
        columns: Pixels along a row.

    Raises:
        ImageContentError: One differs from the first by more than a tenth of a pixel.
    """
    first = frames[0]
    extent = np.array(
        [columns * first.spacing_mm[1]] * 3 + [rows * first.spacing_mm[0]] * 3
    )
    allowed_mm = SAME_GRID_VOXELS * min(first.spacing_mm)
    for frame in frames[1:]:
        turned = np.subtract(frame.orientation, first.orientation)
        if np.abs(turned * extent).max() > allowed_mm:
            _refuse_mixed(first, frame, "ImageOrientationPatient", "orientations")
        wider = np.subtract(frame.spacing_mm, first.spacing_mm) * (rows, columns)
        if np.abs(wider).max() > allowed_mm:
            _refuse_mixed(first, frame, "PixelSpacing", "pixel spacings")


def require_no_tilt(frames: Sequence[Frame]) -> None:
    """Refuse frames that say that the gantry was tilted.

    Raises:
        ImageContentError: One does.
    """
    for frame in frames:
        if abs(frame.tilt_degrees) > SMALLEST_TILT_DEGREES:
            raise ImageContentError(
                f"{frame.name}: {describe_tag('GantryDetectorTilt')} is "
                f"{frame.tilt_degrees:g} degrees: the slices make no rectangular grid; "
                f"{_STRAIGHTEN}"
            )


def stack_frames(
    frames: Sequence[Frame], *, rows: int, columns: int, limits: Limits
) -> Stack:
    """Return frames of one orientation in order, and their grid.

    Args:
        frames: In any order, no two at the same place.
        rows: Pixels down a column.
        columns: Pixels along a row.
        limits: Caps on the grid.

    Raises:
        ImageContentError: There are fewer than two, they are shifted against each
            other, some lie at the same place, or too many are missing in a row.
        ImageTooLargeError: The grid is beyond the caps.
    """
    if len(frames) < 2:
        raise ImageContentError(
            f"{frames[0].name}: it is the only slice of its series; send all slices"
        )
    along = positions_along_normal(frames)
    order = np.argsort(along, kind="stable")
    ordered = tuple(frames[k] for k in order)
    positions = along[order] - along[order[0]]
    _require_apart(ordered, positions)
    _require_along_normal(ordered, positions)
    _require_few_missing(ordered, positions)
    _require_short(ordered, positions, limits)
    planes = fit_planes(positions.tolist())
    grid = _make_grid(ordered[0], planes, rows=rows, columns=columns, limits=limits)
    remarks = _remarks(planes, positions)
    return Stack(ordered, tuple(positions.tolist()), planes, grid, remarks)


_STRAIGHTEN = (
    "export the series corrected for the tilt by the scanner or the planning system, "
    "or scan without tilt"
)


def _axes_of(frame: Frame) -> Floats:
    """Return the unit vectors along row, column and normal as columns of a matrix."""
    row, column = np.reshape(frame.orientation, (2, 3))
    normal = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    if not 0.5 < length < 2.0:
        raise ImageContentError(
            f"{frame.name}: {describe_tag('ImageOrientationPatient')} gives no two "
            "directions at a right angle; export the series again"
        )
    return np.column_stack([row, column, normal / length])


def _refuse_mixed(first: Frame, other: Frame, keyword: str, what: str) -> NoReturn:
    stacks = {frame.traits.get("StackID", "") for frame in (first, other)}
    told = f", by {describe_tag('StackID')}" if len(stacks) > 1 else ""
    raise ImageContentError(
        f"{other.name}: {describe_tag(keyword)} differs from that of {first.name}: one "
        f"series of several {what}{told}; export each as a series of its own"
    )


def _require_apart(frames: tuple[Frame, ...], positions: Floats) -> None:
    gaps = np.diff(positions)
    nearest = int(gaps.argmin())
    least = max(SAME_PLACE_MM, SMALLEST_GAP_SHARE * usual_gap_mm(positions.tolist()))
    if gaps[nearest] < least:
        raise ImageContentError(
            f"{frames[nearest + 1].name}: {describe_tag('ImagePositionPatient')} is "
            f"{gaps[nearest]:.3g} mm from that of {frames[nearest].name}: two images "
            "of one place; send one image of each"
        )


def _require_along_normal(frames: tuple[Frame, ...], positions: Floats) -> None:
    places = np.array([frame.position for frame in frames])
    normal = _axes_of(frames[0])[:, 2]
    along = np.outer(positions, normal)
    shifts = np.linalg.norm(places - places[0] - along, axis=1)
    worst = int(shifts.argmax())
    allowed = max(SMALLEST_SHIFT_MM, SAME_GRID_VOXELS * min(frames[0].spacing_mm))
    if shifts[worst] > allowed:
        rise = positions[worst]
        degrees = np.degrees(np.arctan2(shifts[worst], rise))
        raise ImageContentError(
            f"{frames[worst].name}: {describe_tag('ImagePositionPatient')} lies "
            f"{shifts[worst]:.3g} mm beside the normal through {frames[0].name}, as if "
            f"the gantry were tilted by {degrees:.1f} degrees: the slices make no "
            f"rectangular grid; {_STRAIGHTEN}"
        )


def _require_few_missing(frames: tuple[Frame, ...], positions: Floats) -> None:
    gaps = np.diff(positions)
    usual = usual_gap_mm(positions.tolist())
    widest = int(gaps.argmax())
    missing = round(float(gaps[widest]) / usual) - 1
    if missing > MOST_MISSING:
        raise ImageContentError(
            f"{frames[widest + 1].name}: {describe_tag('ImagePositionPatient')} is "
            f"{gaps[widest]:.4g} mm from that of {frames[widest].name}, where slices "
            f"usually are {usual:.4g} mm apart: {missing} are missing, and at most "
            f"{MOST_MISSING} in a row may be; send the whole series"
        )


def _require_short(
    frames: tuple[Frame, ...], positions: Floats, limits: Limits
) -> None:
    if positions[-1] > limits.max_extent_mm:
        raise ImageTooLargeError(
            f"{frames[-1].name}: {describe_tag('ImagePositionPatient')} is "
            f"{positions[-1]:.0f} mm from that of {frames[0].name}, more than the "
            f"{limits.max_extent_mm:g} mm allowed; send the head and neck only"
        )


def _make_grid(
    first: Frame, planes: Planes, *, rows: int, columns: int, limits: Limits
) -> Grid:
    between_rows, between_columns = first.spacing_mm
    spacing = (between_columns, between_rows, planes.spacing_mm)
    low, high = limits.min_spacing_mm, limits.max_spacing_mm
    if min(spacing) < low or max(spacing) > high:
        raise ImageContentError(
            f"{first.name}: voxels are {spacing[0]:.4g} x {spacing[1]:.4g} x "
            f"{spacing[2]:.4g} mm by {describe_tag('PixelSpacing')} and "
            f"{describe_tag('ImagePositionPatient')}, but must be {low:g} to {high:g} "
            "mm; export the series again"
        )
    _require_near(first, limits)
    try:
        grid = Grid.nearest(
            (columns, rows, planes.count),
            spacing=spacing,
            origin=first.position,
            direction=_matrix(_axes_of(first)),
        )
    except ImageContentError as error:
        raise ImageContentError(
            f"{first.name}: {describe_tag('ImageOrientationPatient')}: {error}"
        ) from None
    _require_few_voxels(first, grid, limits)
    require_patient_sized(grid, limits)
    return grid


def _require_few_voxels(first: Frame, grid: Grid, limits: Limits) -> None:
    """Refuse a grid that uneven slices would make too large."""
    if grid.voxels > limits.max_voxels or max(grid.size) > limits.max_axis:
        size = " x ".join(map(str, grid.size))
        raise ImageTooLargeError(
            f"{first.name}: resampled to planes {grid.spacing[2]:.3g} mm apart, since "
            f"its slices are uneven, its series has {size} voxels; at most "
            f"{limits.max_voxels} in all and {limits.max_axis} along an axis are "
            "allowed: send the head and neck only, or evenly spaced slices"
        )


def _require_near(first: Frame, limits: Limits) -> None:
    if max(abs(each) for each in first.position) > limits.max_origin_mm:
        raise ImageContentError(
            f"{first.name}: {describe_tag('ImagePositionPatient')} is "
            f"{first.position}, but must lie within {limits.max_origin_mm:g} mm; "
            "export the series again"
        )


def _matrix(values: Floats) -> Matrix:
    first, second, third = values
    return _vector(first), _vector(second), _vector(third)


def _vector(values: Floats) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _remarks(planes: Planes, positions: Floats) -> tuple[str, ...]:
    if planes.even:
        return ()
    gaps = np.diff(positions)
    usual = usual_gap_mm(positions.tolist())
    odd = [k for k, gap in enumerate(gaps) if abs(gap - usual) > 0.1 * usual]
    shown = ", ".join(
        f"{gaps[k]:.4g} mm between slices {k + 1} and {k + 2}" for k in odd[:SHOWN_GAPS]
    )
    more = f" and {len(odd) - SHOWN_GAPS} more" if len(odd) > SHOWN_GAPS else ""
    return (
        f"its slices are unevenly spaced: usually {usual:.4g} mm apart, but {shown}"
        f"{more}, counted along the grid's z axis; it was resampled to planes "
        f"{planes.spacing_mm:.4g} mm apart, no slice farther than "
        f"{planes.farthest_mm:.2g} mm from its plane, and contours belong on the "
        "slices that exist",
    )
