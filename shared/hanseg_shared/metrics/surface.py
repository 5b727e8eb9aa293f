"""How far two masks' surfaces are from each other: the one costly computation.

Surfaces, areas and distances are those of google-deepmind/surface-distance (Nikolov
et al., doi:10.2196/26151), the tool the HaN-Seg challenge was scored with: a surfel
sits between eight voxels, and its distance is that to the nearest surfel of the other
surface. What is read from the result is in `measures`.

Only the voxels around the masks are looked at. The nearest surfel is found by a
distance transform where the box around both surfaces is small, else in a k-d tree, so
the cost grows with the surfaces, not with the image or with the gap between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from hanseg_shared.errors import GridMismatchError
from hanseg_shared.grid import Grid
from hanseg_shared.metrics.surfels import surfel_areas
from hanseg_shared.volume import Mask, Volume, Voxels

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Start = tuple[int, int, int]

ALL_INSIDE = 255
"""The pattern of eight voxels that are all inside."""

TREE_COST = 15
"""A surfel looked up in a tree takes as long as so many voxels of a transform."""


@dataclass(frozen=True, slots=True, eq=False)
class Directed:
    """Distances from every surfel of one surface to the other surface.

    Attributes:
        distances_mm: Sorted; all infinite if there is no other surface, ``(n,)``.
        areas_mm2: The surfels' areas, in the same order, ``(n,)``.
    """

    distances_mm: Numbers
    areas_mm2: Numbers

    @property
    def area_mm2(self) -> float:
        """Area of the whole surface."""
        return float(self.areas_mm2.sum())

    @property
    def is_empty(self) -> bool:
        """Whether there is no surface."""
        return self.distances_mm.size == 0


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceDistances:
    """Distances between a reference's and a prediction's surface, both ways."""

    from_reference: Directed
    from_prediction: Directed


@dataclass(frozen=True, slots=True, eq=False)
class _Surface:
    """Surfels: where each is on the lattice (z, y, x), ``(n, 3)``, and its area."""

    indices: Indices
    areas_mm2: Numbers


def surface_distances(reference: Volume, prediction: Volume) -> SurfaceDistances:
    """Return the distances between the surfaces of two masks.

    Args:
        reference: A boolean mask.
        prediction: Another, on the same lattice; it may cover another part of it.

    Raises:
        GridMismatchError: Their voxels are not in the same places.
    """
    start = lattice_offset(reference.grid, prediction.grid)
    spacing = reference.grid.spacing[::-1]
    first = _surface(reference.array, (0, 0, 0), spacing)
    second = _surface(prediction.array, start, spacing)
    return SurfaceDistances(
        _measure_one_way(first, second, spacing),
        _measure_one_way(second, first, spacing),
    )


def lattice_offset(grid: Grid, other: Grid) -> Start:
    """Return at which index (z, y, x) of `grid` the first voxel of `other` lies.

    Raises:
        GridMismatchError: The voxels of one are not where those of the other are.
    """
    start = grid.offset_of(other)
    if start is None:
        raise GridMismatchError(
            f"one mask is not on the other's grid: {grid.difference_of_part(other)}"
        )
    x, y, z = start
    return z, y, x


def crop_to_mask(mask: Volume) -> Volume:
    """Return the part of a mask that holds its voxels; one voxel if it is empty."""
    box = bounding_box(mask.array) or (slice(0, 1), slice(0, 1), slice(0, 1))
    z, y, x = box
    size = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
    grid = mask.grid.crop((x.start, y.start, z.start), size)
    return Volume(mask.array[box], grid)


def bounding_box(array: Voxels) -> tuple[slice, slice, slice] | None:
    """Return the smallest box (z, y, x) around what is not 0; None if all is."""
    slices = []
    for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
        held = np.flatnonzero(array.any(axis=others))
        if held.size == 0:
            return None
        box = slice(int(held[0]), int(held[-1]) + 1)
        array = array[(slice(None),) * axis + (box,)]
        slices.append(box)
    z, y, x = slices
    return z, y, x


def _surface(
    mask: Mask, start: Start, spacing_zyx: tuple[float, float, float]
) -> _Surface:
    box = bounding_box(mask)
    if box is None:
        return _Surface(np.zeros((0, 3), dtype=np.int64), np.zeros(0))
    patterns = _patterns(np.pad(mask[box], 1))
    cut = np.flatnonzero((patterns != 0) & (patterns != ALL_INSIDE))
    local = np.stack(np.unravel_index(cut, patterns.shape), axis=1)
    corner = [b.start + s for b, s in zip(box, start, strict=True)]
    areas = surfel_areas(spacing_zyx)[patterns.reshape(-1)[cut]]
    return _Surface(local + np.array(corner), areas)


def _patterns(padded: Mask) -> npt.NDArray[np.uint8]:
    """Return which of each 2 x 2 x 2 voxels are inside, as `surfels` counts them."""
    bits = padded.view(np.uint8)
    pairs = (bits[:, :, :-1] << 1) | bits[:, :, 1:]
    squares = (pairs[:, :-1] << 2) | pairs[:, 1:]
    return np.asarray((squares[:-1] << 4) | squares[1:], dtype=np.uint8)


def _measure_one_way(
    surface: _Surface, other: _Surface, spacing_zyx: tuple[float, float, float]
) -> Directed:
    distances = _nearest(surface.indices, other.indices, np.array(spacing_zyx))
    order = np.lexsort((surface.areas_mm2, distances))
    return Directed(distances[order], surface.areas_mm2[order])


def _nearest(points: Indices, others: Indices, spacing_zyx: Numbers) -> Numbers:
    """Return each point's distance in mm to the nearest of `others`."""
    if len(others) == 0 or len(points) == 0:
        return np.full(len(points), np.inf)
    low = np.minimum(points.min(axis=0), others.min(axis=0))
    size = np.maximum(points.max(axis=0), others.max(axis=0)) - low + 1
    points, others = points - low, others - low
    if size.prod() <= TREE_COST * len(points):
        return _nearest_by_transform(points, others, spacing_zyx, size)
    return _nearest_in_tree(points, others, spacing_zyx, size)


def _nearest_by_transform(
    points: Indices, others: Indices, spacing_zyx: Numbers, size: Indices
) -> Numbers:
    away = np.ones(size, dtype=np.bool_)
    away[tuple(others.T)] = False
    distances = ndimage.distance_transform_edt(away, sampling=spacing_zyx)
    return np.asarray(distances)[tuple(points.T)]


def _nearest_in_tree(
    points: Indices, others: Indices, spacing_zyx: Numbers, size: Indices
) -> Numbers:
    distances = np.zeros(len(points))
    apart = ~_are_among(points, others, size)
    tree = KDTree(others * spacing_zyx, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(points[apart] * spacing_zyx)
    # from whole steps, so that equal distances are equal numbers
    steps = (others[nearest] - points[apart]) * spacing_zyx
    distances[apart] = np.sqrt((steps * steps).sum(axis=1))
    return distances


def _are_among(
    points: Indices, others: Indices, size: Indices
) -> npt.NDArray[np.bool_]:
    """Whether each point is one of `others`; most are where the masks agree."""
    first, second = (
        np.ravel_multi_index(tuple(p.T), tuple(size)) for p in (points, others)
    )
    return np.isin(first, second, assume_unique=True)
