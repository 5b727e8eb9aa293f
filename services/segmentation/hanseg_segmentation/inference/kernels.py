"""The compiled loops: over the model's voxels, over the CT's, and over its pieces.

The first two work on a range of slices, so that threads share them out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

from hanseg_segmentation.compiled import compiled

FINISH_SIGNATURE = (
    "void(float32[:,:,:,::1], float32[:,:,::1], uint8[:,:,::1], int64[:,::1],"
    " float64[:,::1], int64, int64)"
)
"""Types `_finish_logits` is compiled for; ``::1`` means contiguous."""

LABEL_SIGNATURE = (
    "void(float32[:,:,:,:], uint8[:,:,:], int64[::1], int64[::1], uint8[::1],"
    " float64[:,::1], float64[::1], float64, int64, uint8[:,:,::1], int64, int64)"
)
"""Types `_label_voxels` is compiled for; the logits may be any view."""

PIECES_SIGNATURE = "int64(uint8[:,:,:], int32[:,:,::1], int32[::1])"
"""Types `_number_pieces` is compiled for; a cropped view of the labels will do."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """The compiled loops; see the functions of the same names in this file."""

    finish_logits: Callable[..., None]
    label_voxels: Callable[..., None]
    number_pieces: Callable[..., int]


@functools.cache
def kernels() -> Kernels:
    """Return the loops, compiled."""
    return Kernels(
        compiled(_finish_logits, FINISH_SIGNATURE),
        compiled(_label_voxels, LABEL_SIGNATURE),
        compiled(_number_pieces, PIECES_SIGNATURE),
    )


def _finish_logits(sums, weights, winners, counts, chances, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Turn sums into mean logits, in place, and find each voxel's best channel.

    Args:
        sums: float32 ``(z, y, x, K)``, sums of logits; becomes their mean.
        weights: float32 ``(z, y, x)``, sums of weights; 0 where no tile was run, which
            becomes certain background.
        winners: uint8 ``(z, y, x)``, written.
        counts: int64 ``(z, K)``, written: voxels each channel wins in each slice.
        chances: float64 ``(z, K)``, written: sum of its probabilities over them.
        first: First slice of this call.
        last: One after its last slice.
    """
    _, rows, columns, channels = sums.shape
    for k in range(first, last):
        for j in range(rows):
            for i in range(columns):
                weight = weights[k, j, i]
                if weight <= 0.0:
                    sums[k, j, i, 0] = 1.0
                    for c in range(1, channels):
                        sums[k, j, i, c] = 0.0
                    winners[k, j, i] = 0
                    continue
                best = 0
                for c in range(channels):
                    sums[k, j, i, c] /= weight
                    if sums[k, j, i, c] > sums[k, j, i, best]:
                        best = c
                winners[k, j, i] = best
                if best > 0:
                    total = 0.0
                    for c in range(channels):
                        total += math.exp(sums[k, j, i, c] - sums[k, j, i, best])
                    counts[k, best] += 1
                    chances[k, best] += 1.0 / total


def _label_voxels(  # type: ignore[no-untyped-def] # noqa: ANN202, C901 - compiled, so loops are spelt out
    logits,  # noqa: ANN001
    winners,  # noqa: ANN001
    low,  # noqa: ANN001
    size,  # noqa: ANN001
    labels,  # noqa: ANN001
    matrix,  # noqa: ANN001
    offset,  # noqa: ANN001
    reach,  # noqa: ANN001
    nearest,  # noqa: ANN001
    result,  # noqa: ANN001
    first,  # noqa: ANN001
    last,  # noqa: ANN001
):
    """Write each CT voxel's label: its channel of the largest interpolated logit.

    A channel that is the largest at all eight voxels around a point is the largest at
    the point, since its weights are not negative and add up to 1. So only where the
    eight disagree are the logits interpolated.

    Args:
        logits: float32 ``(z, y, x, K)``, a box of the model's grid.
        winners: uint8 ``(z, y, x)``, the largest channel of each of its voxels.
        low: int64 ``(3,)``, index (x, y, z) of the box's first voxel.
        size: int64 ``(3,)``, number of voxels (x, y, z) of the model's whole grid.
        labels: uint8 ``(K,)``, the label of each channel.
        matrix: float64 ``(3, 3)``; with `offset` maps a CT index (x, y, z) to an index
            (x, y, z) of the model's grid.
        offset: float64 ``(3,)``.
        reach: How far beyond the outermost centres of the grid, in its voxels, these
            count as the point's own.
        nearest: Axis of the index (0 is x) along which the nearest voxel is taken, not
            the mean of two; -1 for none.
        result: uint8 ``(z, y, x)`` on the CT's grid, written where all eight voxels
            around a point lie in the box, and nowhere else.
        first: First CT slice of this call.
        last: One after its last slice.
    """
    nz, ny, nx, channels = logits.shape
    _, rows, columns = result.shape
    ends = (low[0] + nx - 1, low[1] + ny - 1, low[2] + nz - 1)
    for k in range(first, last):
        for j in range(rows):
            # the part of this row whose points lie less than two voxels from the box
            begin = 0.0
            end = columns - 1.0
            for axis in range(3):
                base = matrix[axis, 1] * j + matrix[axis, 2] * k + offset[axis]
                bottom = low[axis] - 2.0 if low[axis] > 0 else -reach
                top = (
                    ends[axis] + 2.0
                    if ends[axis] < size[axis] - 1
                    else size[axis] - 1 + reach
                )
                pace = matrix[axis, 0]
                if abs(pace) < 1e-9:
                    if base + pace * columns < bottom - 1 or base > top + 1:
                        end = -1.0
                    continue
                one = (bottom - base) / pace
                two = (top - base) / pace
                begin = max(begin, min(one, two) - 1.0)
                end = min(end, max(one, two) + 1.0)
            bx = matrix[0, 1] * j + matrix[0, 2] * k + offset[0]
            by = matrix[1, 1] * j + matrix[1, 2] * k + offset[1]
            bz = matrix[2, 1] * j + matrix[2, 2] * k + offset[2]
            for i in range(int(begin), int(end) + 1):
                x = bx + matrix[0, 0] * i
                y = by + matrix[1, 0] * i
                z = bz + matrix[2, 0] * i
                if (
                    x < -reach
                    or y < -reach
                    or z < -reach
                    or x > size[0] - 1 + reach
                    or y > size[1] - 1 + reach
                    or z > size[2] - 1 + reach
                ):
                    continue
                if nearest == 0:
                    x = math.floor(x + 0.5)
                elif nearest == 1:
                    y = math.floor(y + 0.5)
                elif nearest == 2:
                    z = math.floor(z + 0.5)
                x = min(max(x, 0.0), size[0] - 1.0)
                y = min(max(y, 0.0), size[1] - 1.0)
                z = min(max(z, 0.0), size[2] - 1.0)
                x0 = int(x)
                y0 = int(y)
                z0 = int(z)
                fx = x - x0
                fy = y - y0
                fz = z - z0
                x1 = min(x0 + 1, size[0] - 1) - low[0]
                y1 = min(y0 + 1, size[1] - 1) - low[1]
                z1 = min(z0 + 1, size[2] - 1) - low[2]
                x0 -= low[0]
                y0 -= low[1]
                z0 -= low[2]
                if x0 < 0 or y0 < 0 or z0 < 0 or x1 >= nx or y1 >= ny or z1 >= nz:
                    continue
                w = winners[z0, y0, x0]
                if (
                    winners[z0, y0, x1] == w
                    and winners[z0, y1, x0] == w
                    and winners[z0, y1, x1] == w
                    and winners[z1, y0, x0] == w
                    and winners[z1, y0, x1] == w
                    and winners[z1, y1, x0] == w
                    and winners[z1, y1, x1] == w
                ):
                    result[k, j, i] = labels[w]
                    continue
                best = 0
                highest = -math.inf
                for c in range(channels):
                    near = (1.0 - fy) * (
                        (1.0 - fx) * logits[z0, y0, x0, c] + fx * logits[z0, y0, x1, c]
                    ) + fy * (
                        (1.0 - fx) * logits[z0, y1, x0, c] + fx * logits[z0, y1, x1, c]
                    )
                    far = (1.0 - fy) * (
                        (1.0 - fx) * logits[z1, y0, x0, c] + fx * logits[z1, y0, x1, c]
                    ) + fy * (
                        (1.0 - fx) * logits[z1, y1, x0, c] + fx * logits[z1, y1, x1, c]
                    )
                    value = (1.0 - fz) * near + fz * far
                    if value > highest:
                        highest = value
                        best = c
                result[k, j, i] = labels[best]


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
