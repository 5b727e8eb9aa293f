"""Contours of a structure set drawn as masks on the slices of a CT or of a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hanseg_shared.dicom.rtstruct_reader import Roi
from hanseg_shared.dicom.scanline import Part, Polygons, fill
from hanseg_shared.dicom.slice_planes import SlicePlanes
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid, Points, Vector
from hanseg_shared.volume import Volume

ON_SLICE_MM = 0.05
"""A contour so near a slice lies on it: positions are rounded to 0.01 mm by some."""

MAX_TILT_MM = 0.5
"""By how much the points of a contour may lie off one plane parallel to the slices: a
CT that is stored to three decimals gives a few hundredths."""

HALF_GAP = 0.5 + 1e-3
"""A contour farther from every slice, in slice distances, is outside the stack."""

_ALONE_AT_ONCE = 50
"""Contours that are drawn at once, each on a slice of its own."""

MANY_GAPS = 1 / 3
"""If more of a structure's inner slices have no contour, it was contoured on another
slice distance."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A structure drawn on slices.

    Attributes:
        part: Its mask; None if no voxel's centre is inside a contour.
        slices: Those that have a contour.
        off_slice_mm: The farthest that a contour lies from the slice it is drawn on.
        outside: Contours beyond the first or last slice.
        superseded: Contours that lie between slices of which another one is nearer to
            its slice.
        gaps: Slices between the first and the last contour that have none.
        overlap: By how many voxels the contours of a slice, each alone, have more than
            together: inner ones are holes.
    """

    part: Part | None
    slices: frozenset[int]
    off_slice_mm: float = 0.0
    outside: int = 0
    superseded: int = 0
    gaps: int = 0
    overlap: int = 0

    def remarks(self) -> list[str]:
        """Return what a reader should know of the drawing, a clause each."""
        lines = []
        if self.off_slice_mm > ON_SLICE_MM:
            lines.append(
                f"contours lie up to {self.off_slice_mm:.2f} mm from a slice, each was "
                "drawn on the nearest"
            )
        if self.superseded:
            lines.append(
                f"{self.superseded} contours were left out, as others are nearer to "
                "their slices"
            )
        if self.outside:
            lines.append(f"{self.outside} contours lie outside the image")
        if self.overlap:
            lines.append("contours of a slice overlap, inner ones were read as holes")
        if self.gaps > MANY_GAPS * (self.gaps + len(self.slices)):
            lines.append(f"{self.gaps} slices between its contours have none")
        return lines


def draw(roi: Roi, planes: SlicePlanes) -> Drawn:
    """Draw a structure's contours on slices, each on the nearest one.

    Raises:
        ImageContentError: A contour is not parallel to the slices, or the contours
            are more than any structure has.
    """
    if not len(roi.counts):
        return Drawn(None, frozenset())
    depths = _depths(roi, planes)
    slices, apart = planes.nearest(depths)
    inside = apart <= _reach(planes)
    nearest = _nearest_planes(depths, slices, apart, inside)
    if not nearest.any():
        return Drawn(None, frozenset(), outside=int((~inside).sum()))
    counts, own = roi.counts[nearest], slices[nearest]
    vertices = planes.pixels(_keep(roi, nearest), np.repeat(own, counts))
    polygons = Polygons(vertices, counts, own)
    part = fill(polygons, planes.shape)
    used = frozenset(int(each) for each in own)
    return Drawn(
        part,
        used,
        float(apart[nearest].max()),
        int((~inside).sum()),
        int((inside & ~nearest).sum()),
        max(used) - min(used) + 1 - len(used),
        _count_overlap(polygons, part, planes.shape),
    )


def _count_overlap(
    polygons: Polygons, together: Part | None, shape: tuple[int, int, int]
) -> int:
    """Return how many voxels lie in several polygons of a slice, each time counted."""
    crowded = np.flatnonzero(np.bincount(polygons.slices) > 1)
    some = np.isin(polygons.slices, crowded)
    if together is None or not some.any():
        return 0
    counts = polygons.counts[some]
    vertices = polygons.vertices[np.repeat(some, polygons.counts)]
    alone = 0
    for start in range(0, len(counts), _ALONE_AT_ONCE):
        block = slice(start, start + _ALONE_AT_ONCE)
        ends = np.cumsum(counts)
        low = int(ends[start] - counts[start])
        own = counts[block]
        each = Polygons(vertices[low : low + own.sum()], own, np.arange(len(own)))
        part = fill(each, (len(own), *shape[1:]))
        alone += 0 if part is None else int(np.count_nonzero(part.array))
    first = together.start[0]
    rows = [n - first for n in crowded if 0 <= n - first < len(together.array)]
    return alone - int(np.count_nonzero(together.array[rows]))


def slices_of_contours(roi: Roi, planes: SlicePlanes) -> tuple[np.ndarray, Points]:
    """Return the slice nearest to each contour, and its distance from it in mm.

    Raises:
        ImageContentError: A contour is not parallel to the slices.
    """
    if not len(roi.counts):
        return np.zeros(0, dtype=np.intp), np.zeros(0)
    return planes.nearest(_depths(roi, planes))


def _depths(roi: Roi, planes: SlicePlanes) -> Points:
    """Return how far along the stack each contour lies, in mm."""
    starts = np.cumsum(roi.counts) - roi.counts
    along = roi.points @ planes.axes[:, 2]
    low = np.minimum.reduceat(along, starts)
    high = np.maximum.reduceat(along, starts)
    tilt = float((high - low).max())
    if tilt > MAX_TILT_MM:
        raise ImageContentError(
            f"structure {roi.name[:64]!r}: a contour is not parallel to the image's "
            f"slices, its points lie {tilt:.1f} mm apart along them (at most "
            f"{MAX_TILT_MM}); the structure set belongs to another series"
        )
    return np.asarray((low + high) / 2)


def _reach(planes: SlicePlanes) -> float:
    """Return how far in mm from a slice a contour may lie that belongs to the stack."""
    gaps = np.diff(planes.depths_mm)
    return float(np.max(gaps)) * HALF_GAP if len(gaps) else MAX_TILT_MM


def _nearest_planes(
    depths: Points, slices: np.ndarray, apart: Points, inside: np.ndarray
) -> np.ndarray:
    """Return which contours lie in the plane that is nearest to their slice."""
    closest = np.full(int(slices.max()) + 1, np.inf)
    np.minimum.at(closest, slices[inside], apart[inside])
    best = inside & (apart <= closest[slices] + ON_SLICE_MM)
    # two planes equally far on both sides of a slice: the lower one
    lowest = np.full(len(closest), np.inf)
    np.minimum.at(lowest, slices[best], depths[best])
    return np.asarray(best & (depths <= lowest[slices] + 2 * ON_SLICE_MM))


def _keep(roi: Roi, kept: np.ndarray) -> Points:
    return roi.points[np.repeat(kept, roi.counts)]


def draw_on_grid(roi: Roi, grid: Grid) -> tuple[Volume | None, Drawn]:
    """Draw a structure on the grid of an image, whichever of its axes the slices are.

    Returns:
        Its mask, cropped to its box; None if it is empty. And how it was drawn.

    Raises:
        ImageContentError: Its contours are parallel to no plane of the grid.
    """
    axis = _stack_axis(roi, grid)
    order = [each for each in (0, 1, 2) if each != axis] + [axis]  # x, y, z
    drawn = draw(roi, SlicePlanes.from_grid(_permuted(grid, order)))
    if drawn.part is None:
        return None, drawn
    back = [2 - order.index(2 - each) for each in (0, 1, 2)]  # of the array's z, y, x
    array = drawn.part.array.transpose(back)
    z, y, x = (drawn.part.start[each] for each in back)
    depth, height, width = array.shape
    return Volume(array, grid.crop((x, y, z), (width, height, depth))), drawn


def _stack_axis(roi: Roi, grid: Grid) -> int:
    """Return the grid's axis, 0 for x, along which a structure's contours are flat."""
    if not len(roi.counts):
        return 2
    starts = np.cumsum(roi.counts) - roi.counts
    along = roi.points @ np.array(grid.direction)
    spread = np.maximum.reduceat(along, starts) - np.minimum.reduceat(along, starts)
    thickest = spread.max(axis=0)
    return 2 if thickest[2] <= MAX_TILT_MM else int(thickest.argmin())


def _permuted(grid: Grid, order: list[int]) -> Grid:
    if order == [0, 1, 2]:
        return grid
    x, y, z = np.array(grid.direction)[:, order]
    direction: tuple[Vector, Vector, Vector] = (_vector(x), _vector(y), _vector(z))
    i, j, k = order
    size = (grid.size[i], grid.size[j], grid.size[k])
    spacing = (grid.spacing[i], grid.spacing[j], grid.spacing[k])
    return Grid(size, spacing, grid.origin, direction)


def _vector(values: Points) -> Vector:
    x, y, z = (float(each) for each in values)
    return x, y, z
