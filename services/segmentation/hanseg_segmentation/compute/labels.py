"""From logits on the model's grid to labels on the CT's: a compiled loop.

It works on a range of CT slices, so that threads share them out. The helpers below it
are compiled into it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from hanseg_segmentation.compute import plain, switch
from hanseg_segmentation.compute.compiled import compiled, teach
from hanseg_segmentation.compute.half_precision import as_float, as_stored, teach_numba

SIGNATURE = (
    "void({0}[:,:,:,:], float32[:,:,:], {0}[:,:,:,:], float32[:,:,:], int64[::1],"
    " uint8[:,:,:], int64[:,:,::1], int64[::1], int64[::1], uint8[::1],"
    " float64[:,::1], float64[::1], float64, int64, uint8[:,:,::1], int64, int64)"
)
"""Types `_label_voxels` is compiled for; ``{0}`` is float32, or int16 for float16. The
logits may be any view."""

CLOSE_VOXELS = 2.0
"""Points so far from a box, in its voxels, need not be looked at."""

ALONG_ROWS = 0.25
"""A row of CT voxels that drifts by less of the model's voxels lies along its rows."""

TINY_PACE = 1e-9
"""Below it a row of CT voxels does not move along an axis."""


def voxel_labeller(values: str) -> Callable[..., None]:
    """Return the loop that labels the CT's voxels from logits of a type.

    Args:
        values: ``float32``, or ``int16`` for float16.

    Returns:
        `_label_voxels`, compiled; or its plain twin where kernels are switched off.
    """
    return _compiled(values) if switch.kernels_are_on() else plain.label_voxels


@functools.cache
def _compiled(values: str) -> Callable[..., None]:
    teach_numba()
    _teach_helpers()
    return compiled(_label_voxels, SIGNATURE.format(values))


@functools.cache
def _teach_helpers() -> None:
    teach(_span_near_box, _span_near_organs, _is_outside)


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
    means = np.zeros(channels)
    for k in range(first, last):
        for j in range(result.shape[1]):
            bx = matrix[0, 1] * j + matrix[0, 2] * k + offset[0]
            by = matrix[1, 1] * j + matrix[1, 2] * k + offset[1]
            bz = matrix[2, 1] * j + matrix[2, 2] * k + offset[2]
            base = (bx, by, bz)
            box = (nx, ny, nz)
            span = _span_near_box(base, box, matrix, low, size, reach, result.shape[2])
            begin, end = _span_near_organs(
                base, box, matrix, low, shown, span, result.shape[2]
            )
            for i in range(int(begin), int(end) + 1):
                x = bx + matrix[0, 0] * i
                y = by + matrix[1, 0] * i
                z = bz + matrix[2, 0] * i
                if (
                    _is_outside(x, size[0], reach)
                    or _is_outside(y, size[1], reach)
                    or _is_outside(z, size[2], reach)
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
                fx, fy, fz = x - int(x), y - int(y), z - int(z)
                x0, x1 = int(x) - low[0], min(int(x) + 1, size[0] - 1) - low[0]
                y0, y1 = int(y) - low[1], min(int(y) + 1, size[1] - 1) - low[1]
                z0, z1 = int(z) - low[2], min(int(z) + 1, size[2] - 1) - low[2]
                if x0 < 0 or y0 < 0 or z0 < 0 or x1 >= nx or y1 >= ny or z1 >= nz:
                    continue
                winner = winners[z0, y0, x0]
                if (
                    winners[z0, y0, x1] == winner
                    and winners[z0, y1, x0] == winner
                    and winners[z0, y1, x1] == winner
                    and winners[z1, y0, x0] == winner
                    and winners[z1, y0, x1] == winner
                    and winners[z1, y1, x0] == winner
                    and winners[z1, y1, x1] == winner
                ):
                    result[k, j, i] = labels[winner]
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
                        weight = weights[z - held[0], y - held[1], x - held[2]]
                        source = logits[z - held[0], y - held[1], x - held[2]]
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


def _span_near_box(base, box, matrix, low, size, reach, columns):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled
    """Return the part of a row whose points lie less than two voxels from the box.

    Args:
        base: Where the row begins, index (x, y, z) of the model's grid.
        box: Number of the box's voxels (x, y, z).
        matrix: See `_label_voxels`.
        low: See there.
        size: See there.
        reach: See there.
        columns: Length of the row.

    Returns:
        First and last voxel; the first is beyond the last if there is none.
    """
    begin, end = 0.0, columns - 1.0
    for axis in range(3):
        last = low[axis] + box[axis] - 1
        bottom = low[axis] - CLOSE_VOXELS if low[axis] > 0 else -reach
        top = last + CLOSE_VOXELS if last < size[axis] - 1 else size[axis] - 1 + reach
        pace = matrix[axis, 0]
        if abs(pace) < TINY_PACE:
            if base[axis] + pace * columns < bottom - 1 or base[axis] > top + 1:
                end = -1.0
            continue
        one, two = (bottom - base[axis]) / pace, (top - base[axis]) / pace
        begin = max(begin, min(one, two) - 1.0)
        end = min(end, max(one, two) + 1.0)
    return begin, end


def _span_near_organs(base, box, matrix, low, shown, span, columns):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled
    """Return the part of a row near voxels that are not background.

    A row along the rows of the model's grid shows no organ that none of those next to
    it shows; any other row is looked at whole.

    Args:
        base: See `_span_near_box`.
        box: See there.
        matrix: See `_label_voxels`.
        low: See there.
        shown: See there.
        span: The part to be looked at, first and last voxel.
        columns: Length of the row.
    """
    begin, end = span
    if abs(matrix[1, 0]) + abs(matrix[2, 0]) < ALONG_ROWS / columns:
        y0 = min(max(int(base[1]) - 1 - low[1], 0), box[1])
        y1 = min(max(int(base[1]) + 3 - low[1], y0), box[1])
        z0 = min(max(int(base[2]) - 1 - low[2], 0), box[2])
        z1 = min(max(int(base[2]) + 3 - low[2], z0), box[2])
        left, right = box[0], np.int64(-1)
        for z in range(z0, z1):
            for y in range(y0, y1):
                left = min(left, shown[z, y, 0])
                right = max(right, shown[z, y, 1])
        one = (low[0] + left - CLOSE_VOXELS - base[0]) / matrix[0, 0]
        two = (low[0] + right + CLOSE_VOXELS - base[0]) / matrix[0, 0]
        begin = max(begin, min(one, two))
        end = min(end, max(one, two)) if left <= right else begin - 2.0
    return begin, end


def _is_outside(x, size, reach):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled
    """Whether a coordinate (index) is more than `reach` beyond an axis' centres."""
    return x < -reach or x > size - 1 + reach
