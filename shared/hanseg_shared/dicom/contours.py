"""Masks of slices as closed polygons, with holes joined to the outside by keyholes.

A polygon runs midway between the centres of voxels inside and outside, so that its
fill, sampled at voxel centres, is the mask again. Coordinates are column and row, in
voxels from the centre of a slice's first voxel, until `world_points` puts them in mm.

DICOM's CLOSED_PLANAR contours have no holes (PS3.3 C.8.8.6.3): a hole is joined to the
polygon around it by a bridge of no width, there and back, so that every reader fills
it alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from contourpy import FillType, contour_generator
from jaxtyping import Bool, Float, Int

from hanseg_shared.io.dicom.source import SeriesSource, SliceSource

SliceMasks = Bool[np.ndarray, "slices y x"]
"""Masks of slices: numbered along z, then rows, then columns."""

Polygon = Float[np.ndarray, "points xy"]
Start = tuple[int, int]
_Sheet = Bool[np.ndarray, "y x"]
_Ring = Int[np.ndarray, "points xy"]
"""A closed line; columns and rows in half voxels of a sheet of slices, so exact."""

_PIXELS_AT_ONCE = 4_000_000
"""Slices are taken together up to this size, which costs 32 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One closed polygon on one slice.

    Attributes:
        image: The slice it lies on.
        points: In mm LPS, shape ``(n, 3)`` with n of 3 or more; the last is joined to
            the first, which is not repeated.
    """

    image: SliceSource
    points: npt.NDArray[np.float64]


def contours_of(
    masks: SliceMasks, images: Sequence[SliceSource], series: SeriesSource, start: Start
) -> list[Contour]:
    """Return the contours of one structure.

    Args:
        masks: The structure in some slices of a series, cropped or whole.
        images: These slices.
        series: Says how they lie.
        start: Column and row of the slice at which the masks begin.
    """
    return [
        Contour(images[number], world_points(polygon + start, images[number], series))
        for number, polygon in polygons_of(masks)
    ]


def world_points(
    polygon: Polygon, image: SliceSource, series: SeriesSource
) -> npt.NDArray[np.float64]:
    """Return the points of a polygon in mm LPS, shape ``(n, 3)``.

    PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    axes = np.array(series.direction)[:, :2] * series.spacing[:2]
    return polygon @ axes.T + image.position


def polygons_of(masks: SliceMasks) -> list[tuple[int, Polygon]]:
    """Return the polygons around masks, each with the number of its slice.

    Each piece of a mask has one, holes included; pieces that touch at corners only are
    apart, and so is an island in a hole. Outer lines run one way, holes the other, so
    that even-odd and non-zero fill agree. A voxel alone becomes a diamond.
    """
    slices, rows, columns = masks.shape
    at_once = max(1, _PIXELS_AT_ONCE // max(1, rows * columns))
    return [
        (first + number, polygon)
        for first in range(0, slices, at_once)
        for number, polygon in _polygons_of_some(masks[first : first + at_once])
    ]


def _polygons_of_some(masks: SliceMasks) -> list[tuple[int, Polygon]]:
    """Lay the slices below each other and follow the lines around all at once.

    Every slice has a margin, so that lines close at the image's edge.
    """
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    height = padded.shape[1]
    sheet = padded.reshape(-1, padded.shape[2])
    generator = contour_generator(
        z=sheet.astype(np.float64), name="serial", fill_type=FillType.OuterOffset
    )
    rings = [
        _join_holes(outer, holes, sheet)
        for outer, *holes in map(_rings, *generator.filled(0.5, 2.0))
    ]
    found = []
    for ring in _drop_collinear(rings):
        number = int(ring[0, 1]) // (2 * height)
        found.append((number, ring / 2.0 - (1.0, number * height + 1.0)))
    return found


def _rings(
    points: npt.NDArray[np.float64], ends: npt.NDArray[np.uint32]
) -> list[_Ring]:
    """Return a piece's outer line and those of its holes, of contourpy's answer."""
    doubled = np.rint(points * 2).astype(np.int64)
    return [
        doubled[first : last - 1]  # the last point repeats the first
        for first, last in itertools.pairwise(ends)
    ]


def _join_holes(outer: _Ring, holes: list[_Ring], sheet: _Sheet) -> _Ring:
    """Return the outer ring with every hole joined to it by a bridge.

    A bridge starts from the hole's highest point, the leftmost of these, and runs left
    between two rows of voxels to the first line it meets. So it lies within the mask,
    keeps away from voxels' centres, and cannot cut the hole it comes from, however
    pointed. What it meets begins higher, or farther left, and is already joined.
    """
    starts = [hole[np.lexsort((hole[:, 0], hole[:, 1]))[0]] for hole in holes]
    order = sorted(range(len(holes)), key=lambda k: (starts[k][1], starts[k][0]))
    ring = outer
    for number in order:
        start = starts[number]
        bridge = _bridge_from(start, sheet)
        ring = _splice(ring, bridge, _begin_at(holes[number], start))
    return ring


def _bridge_from(start: _Ring, sheet: _Sheet) -> _Ring:
    """Return the way to a hole's highest point from the line to its left, without it.

    It begins at a point of that line.
    """
    column, row = start[0] // 2, (start[1] - 1) // 2
    inside = sheet[row, :column].astype(np.int64) + sheet[row + 1, :column]
    met = np.flatnonzero(inside != 2)[-1]
    if inside[met] == 1:  # the line passes between the two voxels of this column
        return np.array([(2 * met, 2 * row + 1)])
    # it passes upright to the right of both
    return np.array([(2 * met + 1, 2 * row), (2 * met + 2, 2 * row + 1)])


def _begin_at(ring: _Ring, start: _Ring) -> _Ring:
    where = np.flatnonzero((ring == start).all(axis=1))[0]
    return np.roll(ring, -where, axis=0)


def _splice(ring: _Ring, bridge: _Ring, hole: _Ring) -> _Ring:
    """Return the ring with a hole put in: over the bridge, around it, and back."""
    places = [int(p) for p in np.flatnonzero((ring == bridge[0]).all(axis=1))]
    where = places[0]
    if len(places) > 1:
        first = np.concatenate((bridge, hole))[1]
        where = next((p for p in places if _faces(ring, p, first)), where)
    back = bridge[:0:-1]
    parts = (ring[: where + 1], bridge[1:], hole, hole[:1], back, ring[where:])
    return np.concatenate(parts)


def _faces(ring: _Ring, place: int, point: _Ring) -> bool:
    """Whether the ring's inside, at one of its points, faces another point.

    A point where bridges end is in the ring several times, each time with another part
    of the surroundings between the line that comes and the one that goes.
    """
    here = ring[place]
    came, goes = ring[place - 1] - here, ring[(place + 1) % len(ring)] - here
    towards = point - here
    angles = [np.arctan2(way[1], way[0]) for way in (goes, towards, came)]
    turn = (angles[2] - angles[0]) % (2 * np.pi)
    return bool(0 < (angles[1] - angles[0]) % (2 * np.pi) < turn)


def _drop_collinear(rings: list[_Ring]) -> list[_Ring]:
    """Return the rings without points in the middle of straight lines."""
    if not rings:
        return []
    points = np.concatenate(rings)
    ends = np.cumsum([len(ring) for ring in rings])
    starts = np.r_[0, ends[:-1]]
    before, after = np.arange(-1, len(points) - 1), np.arange(1, len(points) + 1)
    before[starts], after[ends - 1] = ends - 1, starts
    came, goes = points - points[before], points[after] - points
    cross = came[:, 0] * goes[:, 1] - came[:, 1] * goes[:, 0]
    kept = (cross != 0) | ((came * goes).sum(axis=1) < 0)
    return np.split(points[kept], np.cumsum(kept)[ends[:-1] - 1])
