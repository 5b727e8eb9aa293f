"""Connected pieces of a label map: compiled loops.

`scipy.ndimage.label` does the same for one label at a time, and is the plain twin here.
It is as fast where each organ is one piece, but where false positives lie scattered
over the scan (3,000 single voxels in 98 million) it took 50 times as long.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from hanseg_segmentation.compute import plain, switch
from hanseg_segmentation.compute.compiled import compiled

NUMBER_SIGNATURE = "int64(uint8[:,:,:], int32[:,:,::1], int32[::1])"
"""Types `_number_pieces` is compiled for; a cropped view of the labels will do."""

BOUND_SIGNATURE = "void(int32[:,::1], int32[::1], int64[:,::1], int64[:,::1])"
"""Types `_bound_pieces` is compiled for."""


def piece_numberer() -> Callable[..., int]:
    """Return `_number_pieces`, compiled, or its plain twin."""
    return _compiled_number() if switch.kernels_are_on() else plain.number_pieces


def piece_bounder() -> Callable[..., None]:
    """Return `_bound_pieces`, compiled, or its plain twin."""
    return _compiled_bound() if switch.kernels_are_on() else plain.bound_pieces


@functools.cache
def _compiled_number() -> Callable[..., int]:
    return compiled(_number_pieces, NUMBER_SIGNATURE)


@functools.cache
def _compiled_bound() -> Callable[..., None]:
    return compiled(_bound_pieces, BOUND_SIGNATURE)


def _number_pieces(labels, numbers, parents):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, C901 - compiled, so loops are spelt out
    """Number the voxels of each organ's pieces; voxels of one label that touch.

    Voxels touch when they share a face, an edge or a corner. Two-pass union-find
    (Rosenfeld and Pfaltz 1966, doi 10.1145/321356.321357).

    Args:
        labels: uint8 ``(z, y, x)``.
        numbers: int32 ``(z, y, x)``, written: 0 for background, else a number; voxels
            are of one piece if their numbers have the same root in `parents`.
        parents: int32, at least as long as there are labelled voxels plus one,
            written: the parent of each number; a root is its own.

    Returns:
        The largest number given.
    """
    planes, rows, columns = labels.shape
    highest = 0
    for k in range(planes):
        for j in range(rows):
            for i in range(columns):
                label = labels[k, j, i]
                root = 0
                if label == 0:
                    numbers[k, j, i] = 0
                    continue
                for step in range(13):
                    dk = step // 9 - 1
                    dj = step // 3 % 3 - 1
                    di = step % 3 - 1
                    z, y, x = k + dk, j + dj, i + di
                    if z < 0 or y < 0 or x < 0 or y >= rows or x >= columns:
                        continue
                    if labels[z, y, x] != label:
                        continue
                    other = numbers[z, y, x]
                    while parents[other] != other:
                        parents[other] = parents[parents[other]]
                        other = parents[other]
                    if root == 0:
                        root = other
                    elif other < root:
                        parents[root] = other
                        root = other
                    elif other > root:
                        parents[other] = root
                if root == 0:
                    highest += 1
                    root = highest
                    parents[root] = root
                numbers[k, j, i] = root
    return highest


def _bound_pieces(index, number, low, high):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Widen boxes so that each holds the voxels of its piece.

    Args:
        index: int32 ``(3, n)``, index (z, y, x) of each voxel.
        number: int32 ``(n,)``, the piece of each.
        low: int64 ``(pieces, 3)``, changed: smallest index (x, y, z) of each piece.
        high: int64 ``(pieces, 3)``, changed: the largest.
    """
    for axis in range(3):
        for voxel in range(len(number)):
            piece = number[voxel]
            at = index[axis, voxel]
            low[piece, 2 - axis] = min(low[piece, 2 - axis], at)
            high[piece, 2 - axis] = max(high[piece, 2 - axis], at)
