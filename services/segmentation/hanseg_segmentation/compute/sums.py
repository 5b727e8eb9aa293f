"""Adding a tile's logits to the sums of its voxels: a compiled loop.

It works on a range of planes, so that threads share them out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from hanseg_segmentation.compute import plain, switch
from hanseg_segmentation.compute.compiled import compiled
from hanseg_segmentation.compute.half_precision import as_float, as_stored, teach_numba

SIGNATURE = (
    "int64({0}[:,::1], {1}[::1], float32[:,:,:,::1], float32[:,:,::1], int64[::1],"
    " int64[::1], int64, int64[::1], int64, int64, int64)"
)
"""Types `_add_tile` is compiled for; ``::1`` means contiguous. ``{0}``, the sums', and
``{1}``, the weights', are float32, or int16: the bits of float16."""


def tile_adder(values: str, weights: str) -> Callable[..., int]:
    """Return the loop that adds a tile to sums and weights of these types.

    Args:
        values: ``float32``, or ``int16`` for float16, of the sums.
        weights: Likewise, of the weights.

    Returns:
        `_add_tile`, compiled; or its plain twin where kernels are switched off.
    """
    return _compiled(values, weights) if switch.kernels_are_on() else plain.add_tile


@functools.cache
def _compiled(values: str, weights: str) -> Callable[..., int]:
    teach_numba()
    return compiled(_add_tile, SIGNATURE.format(values, weights))


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
