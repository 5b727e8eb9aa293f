"""The connected pieces of every organ in a label map, found in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.compute.pieces import piece_bounder, piece_numberer
from hanseg_shared.grid import Grid, Points
from hanseg_shared.volume import LabelMap, Volume


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Voxels of one organ that touch.

    Attributes:
        number: Its number in `Pieces`.
        label: The organ's label.
        voxels: How many voxels.
        centre: Centroid, mm LPS, ``(3,)``.
        low: Smallest index (x, y, z) of its voxels.
        high: Largest index (x, y, z).
    """

    number: int
    label: int
    voxels: int
    centre: Points
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Every piece of a label map, and its labelled voxels one by one.

    Attributes:
        grid: Where they are.
        index: Index (z, y, x) of each labelled voxel, int32 ``(3, n)``.
        number: The piece of each of those voxels, ``(n,)``.
        all: The pieces, by number, the largest of each organ first.
    """

    grid: Grid
    index: npt.NDArray[np.int32]
    number: npt.NDArray[np.int32]
    all: tuple[Piece, ...]

    def of(self, label: int) -> tuple[Piece, ...]:
        """Return an organ's pieces, the largest first."""
        return tuple(piece for piece in self.all if piece.label == label)

    def points(self, numbers: npt.ArrayLike) -> Points:
        """Return the voxel centres of some pieces, mm LPS, ``(n, 3)``."""
        chosen = self.index[:, np.isin(self.number, numbers)]
        return self.grid.index_to_world(chosen[::-1].T)


def find_pieces(labels: Volume) -> Pieces:
    """Return the pieces of each label other than 0.

    Voxels touch when they share a face, an edge or a corner, so that a nerve that
    runs obliquely through the voxels stays in one piece.
    """
    box = _box(labels.array)
    if box is None:
        nothing = np.empty((3, 0), dtype=np.int32)
        return Pieces(labels.grid, nothing, nothing[0], ())
    part = labels.array[box]
    numbers = np.empty(part.shape, dtype=np.int32)
    parents = np.zeros(int(np.count_nonzero(part)) + 1, dtype=np.int32)
    highest = piece_numberer()(part, numbers, parents)
    inside = np.nonzero(numbers)
    compact = _compact(parents[: highest + 1])
    number = compact[numbers[inside]]
    index = np.array(inside, dtype=np.int32)
    index += np.array([[span.start] for span in box], dtype=np.int32)
    return _describe(labels, index, number)


def _box(array: LabelMap) -> tuple[slice, slice, slice] | None:
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(array.any(axis=others))
        if not len(found):
            return None
        spans.append(slice(int(found[0]), int(found[-1]) + 1))
    z, y, x = spans
    return z, y, x


def _compact(parents: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return for each number the index of its root among the roots.

    A parent is never larger than its child, so jumping ends at the roots.
    """
    roots = parents
    while True:
        further = roots[roots]
        if np.array_equal(further, roots):
            break
        roots = further
    _, compact = np.unique(roots[1:], return_inverse=True)
    return np.concatenate(([-1], compact)).astype(np.int32)


def _describe(
    labels: Volume, index: npt.NDArray[np.int32], number: npt.NDArray[np.int32]
) -> Pieces:
    """Return the pieces renumbered, the largest of each organ first."""
    count = int(number.max()) + 1
    voxels = np.bincount(number, minlength=count)
    label = np.zeros(count, dtype=np.uint8)
    label[number] = labels.array[tuple(index)]
    order = np.lexsort((-voxels, label))
    place = np.empty(count, dtype=np.int32)
    place[order] = np.arange(count, dtype=np.int32)
    number = place[number]
    voxels, label = voxels[order], label[order]
    xyz = index[::-1]
    mean = np.stack([np.bincount(number, weights=axis) for axis in xyz], 1)
    centre = labels.grid.index_to_world(mean / voxels[:, None])
    low = np.full((count, 3), np.iinfo(np.int64).max)
    high = np.full((count, 3), -1)
    piece_bounder()(index, number, low, high)
    pieces = tuple(
        Piece(n, int(label[n]), int(voxels[n]), centre[n], low[n], high[n])
        for n in range(count)
    )
    return Pieces(labels.grid, index, number, pieces)
