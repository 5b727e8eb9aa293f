"""Polygons filled with voxels: even-odd scan conversion at voxel centres.

A voxel belongs to a polygon if its centre is inside, or on the path: "points in space
lying along the path defined by the contour are considered to be part of the ROI"
(PS3.3 C.8.8.6.3). Polygons of one plane are combined by exclusive disjunction, so that
the order of polygons and the way they run round do not matter, and the two banks of a
keyhole's channel cancel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_shared.errors import ImageContentError

ON_CENTRE = 4e-3
"""A vertex so near a voxel's centre, in voxels, lies on it: contours are stored with
three decimals of a mm, and voxels have 0.25 mm and more."""

ON_PATH = 1e-6
"""A path that passes a centre by so little, in voxels, passes through it."""

MAX_CROSSINGS = 200_000_000
"""Crossings of a structure's paths with rows: 30 organs have two million together; a
file that has more than this in one structure was made to stall its reader."""

_CROSSINGS_AT_ONCE = 2_000_000

Numbers = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A mask of a stack of slices, cropped to the box that holds it.

    Attributes:
        array: Booleans, slices x rows x columns.
        start: Slice, row and column of the box's first voxel.
    """

    array: npt.NDArray[np.bool_]
    start: tuple[int, int, int]

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the part is in the stack."""
        z, y, x = (
            slice(first, first + count)
            for first, count in zip(self.start, self.array.shape, strict=True)
        )
        return z, y, x

    def put_into(self, whole: npt.NDArray[np.bool_]) -> None:
        """Set the part's voxels in a mask of the whole stack."""
        whole[self.box] |= self.array


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """Closed polygons in the pixels of a stack of slices.

    Attributes:
        vertices: Column and row of each vertex, polygon after polygon; ``(n, 2)``.
        counts: Vertices of each polygon, shape ``(m,)``.
        slices: The slice of each polygon, shape ``(m,)``.
    """

    vertices: Numbers
    counts: Integers
    slices: Integers


def fill(polygons: Polygons, shape: tuple[int, int, int]) -> Part | None:
    """Return the voxels inside the polygons; None if none is inside the stack.

    Args:
        polygons: Those of one structure.
        shape: Slices, rows and columns of the stack.

    Raises:
        ImageContentError: The paths cross more rows than `MAX_CROSSINGS`.
    """
    if not len(polygons.counts):
        return None
    points = _snap(polygons.vertices)
    box = _box_of(points, polygons.slices, shape)
    if box is None:
        return None
    start, size = box
    points = points - (start[2], start[1])
    edges = _edges(points, polygons.counts, polygons.slices - start[0])
    toggles = np.zeros(size[0] * size[1] * (size[2] + 1), dtype=np.uint8)
    on_path = np.zeros(size, dtype=np.bool_)
    for crossings in _crossings(edges, size):
        _toggle(toggles, crossings, size)
        _mark_path(on_path, crossings)
    _mark_rows(on_path, edges)
    lines = toggles.reshape(size[0], size[1], size[2] + 1)
    np.bitwise_xor.accumulate(lines, axis=2, out=lines)
    return Part(lines[..., :-1].view(np.bool_) | on_path, start)


def _snap(vertices: Numbers) -> Numbers:
    """Return vertices, those moved onto a centre that lie beside one by rounding."""
    nearest = np.rint(vertices)
    return np.where(np.abs(vertices - nearest) <= ON_CENTRE, nearest, vertices)


def _box_of(
    points: Numbers, slices: Integers, shape: tuple[int, int, int]
) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    low = np.clip(np.floor(points.min(axis=0)), 0, (shape[2], shape[1])).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)) + 1, 0, (shape[2], shape[1]))
    columns, rows = (int(n) for n in high.astype(int) - low)
    first, count = int(slices.min()), int(np.ptp(slices)) + 1
    if rows < 1 or columns < 1:
        return None
    return (first, int(low[1]), int(low[0])), (count, rows, columns)


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Straight pieces of path, each from its upper vertex (smaller row) on."""

    upper: Numbers
    lower: Numbers
    slices: Integers


def _edges(points: Numbers, counts: Integers, slices: Integers) -> _Edges:
    ends = np.cumsum(counts)
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = ends - counts  # the last vertex joins the first
    one, other = points, points[following]
    # an edge and the same one backwards must cross rows at bit-equal places
    swap = (one[:, 1] > other[:, 1]) | (
        (one[:, 1] == other[:, 1]) & (one[:, 0] > other[:, 0])
    )
    upper = np.where(swap[:, None], other, one)
    lower = np.where(swap[:, None], one, other)
    return _Edges(upper, lower, np.repeat(slices, counts))


@dataclass(frozen=True, slots=True, eq=False)
class _Crossings:
    """Where paths meet rows: slice, row, column, and whether they pass to the next."""

    slices: Integers
    rows: Integers
    columns: Numbers
    passes: npt.NDArray[np.bool_]


def _crossings(edges: _Edges, size: tuple[int, int, int]) -> Iterator[_Crossings]:
    """Yield the meetings of edges that are not level with rows, a block at a time."""
    first = np.clip(np.ceil(edges.upper[:, 1]), 0, size[1]).astype(np.intp)
    last = np.clip(np.floor(edges.lower[:, 1]), -1, size[1] - 1).astype(np.intp)
    level = edges.upper[:, 1] == edges.lower[:, 1]
    counts = np.where(level, 0, np.maximum(last - first + 1, 0))
    total = np.cumsum(counts)
    if len(total) and total[-1] > MAX_CROSSINGS:
        raise ImageContentError(
            f"a structure's contours cross {total[-1]} rows of voxels, and at most "
            f"{MAX_CROSSINGS} are drawn"
        )
    begin = 0
    while begin < len(counts):
        done = total[begin - 1] if begin else 0
        end = int(np.searchsorted(total, done + _CROSSINGS_AT_ONCE, side="right"))
        end = max(end, begin + 1)
        yield _meet(edges, slice(begin, end), first[begin:end], counts[begin:end])
        begin = end


def _meet(edges: _Edges, some: slice, first: Integers, counts: Integers) -> _Crossings:
    which = np.repeat(np.arange(some.start, some.start + len(counts)), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.repeat(first, counts) + np.arange(len(which)) - starts
    upper, lower = edges.upper[which], edges.lower[which]
    share = (rows - upper[:, 1]) / (lower[:, 1] - upper[:, 1])
    columns = upper[:, 0] + share * (lower[:, 0] - upper[:, 0])
    return _Crossings(edges.slices[which], rows, columns, rows < lower[:, 1])


def _toggle(
    toggles: npt.NDArray[np.uint8], crossings: _Crossings, size: tuple[int, int, int]
) -> None:
    """Exchange inside and outside from each crossing on."""
    passing = crossings.passes
    columns = np.clip(np.ceil(crossings.columns[passing]), 0, size[2]).astype(np.intp)
    line = crossings.slices[passing] * size[1] + crossings.rows[passing]
    places, times = np.unique(line * (size[2] + 1) + columns, return_counts=True)
    toggles[places] ^= (times & 1).astype(np.uint8)


def _mark_path(on_path: npt.NDArray[np.bool_], crossings: _Crossings) -> None:
    """Set the voxels through whose centres a path passes."""
    nearest = np.rint(crossings.columns)
    hit = np.abs(crossings.columns - nearest) <= ON_PATH
    hit &= (nearest >= 0) & (nearest < on_path.shape[2])
    columns = nearest[hit].astype(np.intp)
    on_path[crossings.slices[hit], crossings.rows[hit], columns] = True


def _mark_rows(on_path: npt.NDArray[np.bool_], edges: _Edges) -> None:
    """Set the voxels along level paths that run through centres."""
    rows = edges.upper[:, 1]
    level = (rows == edges.lower[:, 1]) & (rows == np.rint(rows))
    level &= (rows >= 0) & (rows < on_path.shape[1])
    columns = on_path.shape[2]
    for n in np.flatnonzero(level):
        left = int(np.clip(np.ceil(edges.upper[n, 0]), 0, columns))
        right = int(np.clip(np.floor(edges.lower[n, 0]), -1, columns - 1))
        on_path[edges.slices[n], int(rows[n]), left : right + 1] = True
