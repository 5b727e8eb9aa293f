"""The compiled loops: over the model's voxels, over the CT's, and over its pieces.

The first two work on a range of slices, so that threads share them out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hanseg_segmentation.compute.compiled import compiled
from hanseg_segmentation.compute.half_precision import as_float, as_stored, teach_numba

ADD_SIGNATURE = (
    "int64({0}[:,::1], {1}[::1], float32[:,:,:,::1], float32[:,:,::1], int64[::1],"
    " int64[::1], int64, int64[::1], int64, int64, int64)"
)
"""Types `_add_tile` is compiled for; ``::1`` means contiguous. ``{0}``, the sums', and
``{1}``, the weights', are float32, or int16: the bits of float16."""

WIN_SIGNATURE = (
    "void({0}[:,:,:,::1], float32[:,:,::1], uint8[:,:,::1], int64[:,::1],"
    " float64[:,::1], int64, int64)"
)
"""Types `_find_winners` is compiled for."""

LABEL_SIGNATURE = (
    "void({0}[:,:,:,:], float32[:,:,:], {0}[:,:,:,:], float32[:,:,:], int64[::1],"
    " uint8[:,:,:], int64[:,:,::1], int64[::1], int64[::1], uint8[::1],"
    " float64[:,::1], float64[::1], float64, int64, uint8[:,:,::1], int64, int64)"
)
"""Types `_label_voxels` is compiled for; the logits may be any view."""

PIECES_SIGNATURE = "int64(uint8[:,:,:], int32[:,:,::1], int32[::1])"
"""Types `_number_pieces` is compiled for; a cropped view of the labels will do."""


BOUNDS_SIGNATURE = "void(int32[:,::1], int32[::1], int64[:,::1], int64[:,::1])"
"""Types `_bound_pieces` is compiled for."""


@dataclass(frozen=True, slots=True)
class LogitKernels:
    """The compiled loops over sums; see the functions of the same names here."""

    find_winners: Callable[..., None]
    label_voxels: Callable[..., None]


@functools.cache
def logit_kernels(values: str) -> LogitKernels:
    """Return the loops for logits that are ``float32``, or float16 as ``int16``."""
    teach_numba()
    _teach_exponential()
    return LogitKernels(
        compiled(_find_winners, WIN_SIGNATURE.format(values)),
        compiled(_label_voxels, LABEL_SIGNATURE.format(values)),
    )


@functools.cache
def add_tile(values: str, weights: str) -> Callable[..., int]:
    """Return the compiled loop over a tile, for sums and weights of these types."""
    teach_numba()
    return compiled(_add_tile, ADD_SIGNATURE.format(values, weights))


@functools.cache
def number_pieces() -> Callable[..., int]:
    """Return the compiled loop over pieces; see `_number_pieces`."""
    return compiled(_number_pieces, PIECES_SIGNATURE)


@functools.cache
def bound_pieces() -> Callable[..., None]:
    """Return the compiled loop over voxels of pieces; see `_bound_pieces`."""
    return compiled(_bound_pieces, BOUNDS_SIGNATURE)


def _add_tile(  # type: ignore[no-untyped-def] # noqa: ANN202 - compiled, so loops are spelt out
    sums,  # noqa: ANN001
    weights,  # noqa: ANN001
    tile,  # noqa: ANN001
    new,  # noqa: ANN001
    low,  # noqa: ANN001
    shape,  # noqa: ANN001
    base,  # noqa: ANN001
    steps,  # noqa: ANN001
    as_means,  # noqa: ANN001
    first,  # noqa: ANN001
    last,  # noqa: ANN001
):
    """Add a part of a tile's logits to sums, weighted.

    Args:
        sums: ``(voxels, K)``, of any order of voxels.
        weights: ``(voxels,)``, sums of weights.
        tile: float32 ``(z, y, x, K)``.
        new: float32 ``(z, y, x)``, the tile's weights.
        low: int64 ``(3,)``, where in the tile the part begins (z, y, x).
        shape: int64 ``(3,)``, the part's.
        base: The row of `sums` of the part's first voxel.
        steps: int64 ``(3,)``, how many rows further its neighbours (z, y, x) are.
        as_means: Whether `sums` holds means.
        first: First plane of the part in this call.
        last: One after its last plane.

    Returns:
        0 if every logit of the part is finite.
    """
    channels = tile.shape[3]
    wrong = 0
    for k in range(first, last):
        for j in range(shape[1]):
            for i in range(shape[2]):
                row = base + k * steps[0] + j * steps[1] + i * steps[2]
                z, y, x = low[0] + k, low[1] + j, low[2] + i
                weight = new[z, y, x]
                total = as_float(weights[row]) + weight
                weights[row] = as_stored(total, weights[row])
                if as_means:
                    share = weight / total
                    for c in range(channels):
                        wrong |= not abs(tile[z, y, x, c]) < math.inf
                        value = as_float(sums[row, c])
                        value += share * (tile[z, y, x, c] - value)
                        sums[row, c] = as_stored(value, sums[row, c])
                else:
                    for c in range(channels):
                        wrong |= not abs(tile[z, y, x, c]) < math.inf
                        value = as_float(sums[row, c]) + tile[z, y, x, c] * weight
                        sums[row, c] = as_stored(value, sums[row, c])
    return wrong


def _find_winners(sums, weights, winners, counts, chances, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, C901 - compiled, so loops are spelt out
    """Find each voxel's channel of the largest mean logit, and how sure it is.

    Args:
        sums: ``(z, y, x, K)``, sums of logits.
        weights: float32 ``(z, y, x)``, sums of weights; 0 where no tile was run, which
            is background.
        winners: uint8 ``(z, y, x)``, written.
        counts: int64 ``(z, K)``, written: voxels each channel wins in each slice, the
            background's left out.
        chances: float64 ``(z, K)``, written: sum of its probabilities over them. NaN
            for the background where a best mean is not finite.
        first: First slice of this call.
        last: One after its last slice.
    """
    _, rows, columns, channels = sums.shape
    means = np.zeros(channels, dtype=np.float32)
    for k in range(first, last):
        for j in range(rows):
            for i in range(columns):
                weight = weights[k, j, i]
                winners[k, j, i] = 0
                if weight <= 0.0:
                    continue
                top = as_float(sums[k, j, i, 0])
                others = 0
                for c in range(channels):  # most voxels are background: a fast look
                    others |= not as_float(sums[k, j, i, c]) <= top
                if not others:
                    if not abs(top) < math.inf:
                        chances[k, 0] = math.nan
                    continue
                for c in range(channels):
                    mean = as_float(sums[k, j, i, c]) / weight
                    means[c] = as_float(as_stored(mean, sums[k, j, i, c]))
                best = 0
                for c in range(1, channels):
                    if not means[c] <= means[best] and means[best] == means[best]:
                        best = c
                if not abs(means[best]) < math.inf:
                    chances[k, 0] = math.nan
                elif best > 0:
                    winners[k, j, i] = best
                    total = np.float32(0.0)
                    for c in range(channels):
                        total += _exponential(means[c] - means[best])  # type: ignore[no-untyped-call]
                    counts[k, best] += 1
                    chances[k, best] += 1.0 / total


def _exponential(power):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled into loops
    """Return e to a power of 0 or below, to 5 digits, in a way that is vectorised.

    Two to the whole part of the power's binary logarithm, and for what is left the
    exponential series.
    """
    one = np.float32(1.0)
    binary = max(power, np.float32(-80.0)) * np.float32(1.4426950408889634)
    whole = np.floor(binary)
    x = (binary - whole) * np.float32(0.6931471805599453)
    series = one + x * np.float32(1 / 6) * (one + x * np.float32(1 / 7))
    series = one + x * np.float32(1 / 5) * series
    series = one + x * np.float32(1 / 4) * series
    series = one + x * np.float32(1 / 3) * series
    series = one + x * np.float32(1 / 2) * series
    series = one + x * series
    scale = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
    return series * scale.view(np.float32)


@functools.cache
def _teach_exponential() -> None:
    """Let Numba compile `_exponential` into the loops that call it."""
    from numba.extending import overload

    overload(_exponential, inline="always")(lambda power: _exponential)  # noqa: ARG005


def _label_voxels(  # type: ignore[no-untyped-def] # noqa: ANN202, C901 - compiled, so loops are spelt out
    before,  # noqa: ANN001
    weights_before,  # noqa: ANN001
    logits,  # noqa: ANN001
    weights,  # noqa: ANN001
    held,  # noqa: ANN001
    winners,  # noqa: ANN001
    shown,  # noqa: ANN001
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
        before: ``(z, y, x, K)``, sums of logits in the first planes of a box of the
            model's grid.
        weights_before: float32 ``(z, y, x)``, their sums of weights; a voxel of 0 is
            certain background.
        logits: ``(z, y, x, K)``, those of the box's other planes.
        weights: float32 ``(z, y, x)``, of these.
        held: int64 ``(3,)``, how many planes `before` has along the axis (z, y, x) in
            which both are apart, 0 for the other axes.
        winners: uint8 ``(z, y, x)``, the largest channel of each voxel of the box.
        shown: int64 ``(z, y, 2)``, the first and the last voxel of each row of
            `winners` that is not background; the first is beyond the last if all are.
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
            around a point lie in the box, and nowhere else. Rows that show nothing but
            background are left out.
        first: First CT slice of this call.
        last: One after its last slice.
    """
    nz, ny, nx = winners.shape
    channels = logits.shape[3]
    _, rows, columns = result.shape
    means = np.zeros(channels)
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
            if abs(matrix[1, 0]) + abs(matrix[2, 0]) < 0.25 / columns:
                # along rows of the model's grid: what none of those next to this one
                # shows, it does not show either
                y0 = min(max(int(by) - 1 - low[1], 0), ny)
                y1 = min(max(int(by) + 3 - low[1], y0), ny)
                z0 = min(max(int(bz) - 1 - low[2], 0), nz)
                z1 = min(max(int(bz) + 3 - low[2], z0), nz)
                left, right = nx, -1
                for z in range(z0, z1):
                    for y in range(y0, y1):
                        left = min(left, shown[z, y, 0])
                        right = max(right, shown[z, y, 1])
                if left > right:
                    continue
                one = (low[0] + left - 2.0 - bx) / matrix[0, 0]
                two = (low[0] + right + 2.0 - bx) / matrix[0, 0]
                begin = max(begin, min(one, two))
                end = min(end, max(one, two))
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
                means[:] = 0.0
                for corner in range(8):
                    z = z1 if corner & 4 else z0
                    y = y1 if corner & 2 else y0
                    x = x1 if corner & 1 else x0
                    share = (
                        (fz if corner & 4 else 1.0 - fz)
                        * (fy if corner & 2 else 1.0 - fy)
                        * (fx if corner & 1 else 1.0 - fx)
                    )
                    if share == 0.0:
                        continue
                    if z < held[0] or y < held[1] or x < held[2]:
                        weight = weights_before[z, y, x]
                        source = before[z, y, x]
                    else:
                        z -= held[0]
                        y -= held[1]
                        x -= held[2]
                        weight = weights[z, y, x]
                        source = logits[z, y, x]
                    if weight <= 0.0:
                        means[0] += share
                        continue
                    for c in range(channels):
                        mean = np.float32(as_float(source[c]) / weight)
                        means[c] += share * as_float(as_stored(mean, source[c]))
                best = 0
                for c in range(channels):
                    if means[c] > means[best]:
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
