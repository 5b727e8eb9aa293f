"""Each voxel's channel of the largest logit, and how sure it is: a compiled loop.

It works on a range of slices, so that threads share them out.
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
    "void({0}[:,:,:,::1], float32[:,:,::1], uint8[:,:,::1], int64[:,::1],"
    " float64[:,::1], int64, int64)"
)
"""Types `_find_winners` is compiled for; ``{0}`` is float32, or int16 for float16."""


def winner_finder(values: str) -> Callable[..., None]:
    """Return the loop that finds winners among logits of a type.

    Args:
        values: ``float32``, or ``int16`` for float16.

    Returns:
        `_find_winners`, compiled; or its plain twin where kernels are switched off.
    """
    return _compiled(values) if switch.kernels_are_on() else plain.find_winners


@functools.cache
def _compiled(values: str) -> Callable[..., None]:
    teach_numba()
    _teach_helpers()
    return compiled(_find_winners, SIGNATURE.format(values))


@functools.cache
def _teach_helpers() -> None:
    teach(_exponential, inline=True)


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
                        total += _exponential(means[c] - means[best])
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
