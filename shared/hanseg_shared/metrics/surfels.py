"""How much surface passes between eight neighbouring voxels, for all 256 patterns.

A surface is made of surfels: wherever a cube of 2 x 2 x 2 voxel centres is neither all
inside nor all outside the mask, marching cubes (Lorensen and Cline,
doi:10.1145/37401.37422) puts a piece of surface through the midpoints of the cube's
edges. The table is worked out from that geometry, in the way that makes it equal to
the one of google-deepmind/surface-distance:

* corners that are the fewer, and touch only diagonally, are cut off one by one;
* a polygon that is not flat is divided into the triangles of the greatest total area;
* the triangles are chosen on a cube of edge 1, then stretched by the spacing.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

CORNERS = tuple(itertools.product((0, 1), repeat=3))
"""The cube's corners (z, y, x); the first is the highest bit of a pattern."""

PATTERNS = 256

Corner = tuple[int, ...]
Edge = frozenset[Corner]
Polygon = tuple[Edge, ...]
Areas = npt.NDArray[np.float64]


@functools.lru_cache(maxsize=64)
def surfel_areas(spacing_zyx: tuple[float, float, float]) -> Areas:
    """Return the area in mm² of the surface in a cube, for each pattern, ``(256,)``.

    Bit ``128 >> n`` of a pattern says whether corner n of `CORNERS` is inside.

    Args:
        spacing_zyx: The cube's edges in mm, in the order of the array's axes.
    """
    z, y, x = spacing_zyx
    stretch = np.array([y * x, z * x, z * y])
    areas = np.array(
        [np.linalg.norm(t * stretch, axis=1).sum() for t in _triangles_of_patterns()]
    )
    areas.setflags(write=False)
    return areas


@functools.cache
def _triangles_of_patterns() -> tuple[Areas, ...]:
    """Return each pattern's triangles on a unit cube as area vectors, ``(n, 3)``."""
    return tuple(_triangles(pattern) for pattern in range(PATTERNS))


def _triangles(pattern: int) -> Areas:
    inside = {c for n, c in enumerate(CORNERS) if pattern & (128 >> n)}
    if len(inside) > 4:
        inside = set(CORNERS) - inside
    found = [_greatest_area(_points(polygon)) for polygon in _polygons(inside)]
    return np.concatenate(found) if found else np.zeros((0, 3))


def _polygons(inside: set[Corner]) -> Iterator[Polygon]:
    """Yield the closed lines in which the surface meets the cube's faces."""
    neighbours: dict[Edge, list[Edge]] = {}
    for first, second in _segments(inside):
        neighbours.setdefault(first, []).append(second)
        neighbours.setdefault(second, []).append(first)
    while neighbours:
        edge = next(iter(neighbours))
        polygon = [edge]
        while edge in neighbours:
            ahead = [n for n in neighbours.pop(edge) if n in neighbours]
            if not ahead:
                break
            edge = ahead[0]
            polygon.append(edge)
        yield tuple(polygon)


def _segments(inside: set[Corner]) -> Iterator[tuple[Edge, Edge]]:
    """Yield the lines on the faces, each between two edges that the surface cuts."""
    for face in _faces():
        within = [corner for corner in face if corner in inside]
        if len(within) == 2 and not _adjacent(*within):
            for corner in within:
                first, second = _cut_edges(face, [corner])
                yield first, second
        elif 0 < len(within) < 4:
            first, second = _cut_edges(face, within)
            yield first, second


def _faces() -> Iterator[tuple[Corner, ...]]:
    for axis, side in itertools.product(range(3), (0, 1)):
        yield tuple(corner for corner in CORNERS if corner[axis] == side)


def _cut_edges(face: tuple[Corner, ...], within: list[Corner]) -> list[Edge]:
    """Return the face's edges that have just one end among `within`."""
    return [
        frozenset((corner, other))
        for corner in within
        for other in face
        if other not in within and _adjacent(corner, other)
    ]


def _adjacent(first: Corner, second: Corner) -> bool:
    return sum(a != b for a, b in zip(first, second, strict=True)) == 1


def _points(polygon: Polygon) -> Areas:
    """Return the midpoints of the polygon's edges, ``(n, 3)``."""
    return np.array([np.mean(sorted(edge), axis=0) for edge in polygon])


def _greatest_area(points: Areas) -> Areas:
    """Return the triangles of the least total area that fill a polygon."""
    candidates = (
        np.array([_area_vector(points[list(t)]) for t in triangles])
        for triangles in _triangulations(tuple(range(len(points))))
    )
    return max(candidates, key=lambda t: float(np.linalg.norm(t, axis=1).sum()))


def _area_vector(corners: Areas) -> Areas:
    return np.cross(corners[1] - corners[0], corners[2] - corners[0]) / 2.0


def _triangulations(corners: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Yield every way to divide a polygon into triangles between its corners."""
    if len(corners) < 3:
        yield ()
        return
    first, last = corners[0], corners[-1]
    for n in range(1, len(corners) - 1):
        for left in _triangulations(corners[: n + 1]):
            for right in _triangulations(corners[n:]):
                yield ((first, corners[n], last), *left, *right)
