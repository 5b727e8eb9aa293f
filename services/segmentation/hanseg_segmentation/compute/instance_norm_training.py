"""Instance normalisation with its gradients, on images that lie channels-last.

For each image and channel, with the normalised features ``n = (x - mean) / deviation``
and the gradient ``g`` of what is activated, turned back through the activation:

    gradient of weight = sum(g n),    gradient of bias = sum(g),
    gradient of x = weight / deviation * (g - mean(g) - n mean(g n))

(batch norm's, Ioffe and Szegedy 2015, arXiv 1502.03167, section 3, with the voxels of
one image as its batch). Only the features are kept for it, what follows from them is
computed again: PyTorch keeps the activated ones as well.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from hanseg_segmentation.compute.channel_rows import (
    Numbers,
    Rows,
    Statistics,
    in_parts,
    lengthen,
    measure,
    numbers_of,
    repeated,
    rows_of,
    sum_columns,
)
from hanseg_segmentation.compute.compiled import compiled

LEAST_VALUES = 2**16
"""Values of an image below which PyTorch's own is as fast."""

_ROWS, _SUMS, _PART = "float32[:,::1]", "float64[:,::1]", "float32, int64, int64"
SCALE_SIGNATURE = f"void({_ROWS}, {_ROWS}, {_ROWS}, {_PART})"
ADD_BACK_SIGNATURE = f"void({_ROWS}, {_ROWS}, {_ROWS}, {_SUMS}, {_PART})"
WRITE_BACK_SIGNATURE = f"void({_ROWS}, {_ROWS}, {_ROWS}, {_ROWS}, {_PART})"


def is_worth_it(features: torch.Tensor) -> bool:
    """Whether ``(N, C, D, H, W)`` is of a type and size that is faster here."""
    return (
        features.dtype is torch.float32
        and features.numel() >= LEAST_VALUES * features.shape[0]
    )


class TrainedInstanceNorm(torch.autograd.Function):
    """Instance norm and leaky ReLU of float32 features that lie channels-last.

    ``apply(features, weight, bias, epsilon, leak)``: features ``(N, C, D, H, W)``,
    weight and bias ``(C,)``, what is added to variances, and the slope below zero (1
    for none). It returns features of the same layout, in new memory.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - autograd's own
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        leak: float,
    ) -> torch.Tensor:
        """Return activated features."""
        normal = torch.empty_like(features, memory_format=torch.channels_last_3d)
        scale, shift = numbers_of(weight), numbers_of(bias)
        ctx.leak, ctx.statistics = leak, []
        for image, result in zip(features, normal, strict=True):
            rows = rows_of(image)
            found = measure(rows, epsilon)
            _write(rows, rows_of(result), found.line(scale, shift), leak=leak)
            ctx.statistics.append(found)
        ctx.save_for_backward(features, weight, bias)
        return normal

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401 - autograd's own
        gradient: torch.Tensor,
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of features, weight and bias."""
        features, weight, bias = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        turned = torch.empty_like(features, memory_format=torch.channels_last_3d)
        sums = np.zeros((2, features.shape[1]))
        for image, given, result, found in zip(
            features, gradient, turned, ctx.statistics, strict=True
        ):
            sums += _turn_back(
                rows_of(image),
                rows_of(given),
                rows_of(result),
                found,
                scale=numbers_of(weight),
                shift=numbers_of(bias),
                leak=ctx.leak,
            )
        of_bias, of_weight = torch.from_numpy(sums).to(weight.dtype)
        return turned, of_weight, of_bias, None, None


def _write(
    rows: Rows, results: Rows, line: tuple[Numbers, Numbers], *, leak: float
) -> None:
    """Write scaled, shifted and activated rows."""
    long, together = lengthen(rows)
    out = results.reshape(long.shape)
    known = repeated(np.stack(line), together)
    in_parts(lambda a, b: _loops().scale(long, out, known, leak, a, b), long)


def _turn_back(
    rows: Rows,
    given: Rows,
    results: Rows,
    found: Statistics,
    *,
    scale: Numbers,
    shift: Numbers,
    leak: float,
) -> Numbers:
    """Write the gradient of an image; return those of bias and weight, ``(2, C)``."""
    loops = _loops()
    long, together = lengthen(rows)
    gradient, out = given.reshape(long.shape), results.reshape(long.shape)
    with np.errstate(invalid="ignore"):
        columns = [found.inverse, -found.mean * found.inverse, scale, shift]
        known = repeated(np.stack(columns), together)
        sums = sum_columns(
            long,
            together,
            lambda s, a, b: loops.add_back(long, gradient, known, s, leak, a, b),
        )
        columns += [scale * found.inverse, *(sums / len(rows))]
        more = repeated(np.stack(columns), together)
    in_parts(lambda a, b: loops.write_back(long, gradient, more, out, leak, a, b), long)
    return sums


@dataclass(frozen=True, slots=True)
class _Loops:
    scale: Callable[..., None]
    add_back: Callable[..., None]
    write_back: Callable[..., None]


@functools.cache
def _loops() -> _Loops:
    return _Loops(
        compiled(_scale, SCALE_SIGNATURE),
        compiled(_add_back, ADD_BACK_SIGNATURE),
        compiled(_write_back, WRITE_BACK_SIGNATURE),
    )


def _scale(rows, out, known, leak, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Multiply each column, shift it, and multiply what is below 0.

    Not in place: told that both are the same memory, the loop would not be vectorised.
    """
    factor, shift = known[0], known[1]
    for i in range(first, last):
        for c in range(rows.shape[1]):
            scaled = rows[i, c] * factor[c] + shift[c]
            out[i, c] = scaled * leak if scaled < 0 else scaled


def _add_back(rows, gradient, known, sums, leak, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Add each column's gradients of bias and weight to two rows of sums."""
    inverse, offset, scale, shift = known[0], known[1], known[2], known[3]
    for i in range(first, last):
        for c in range(rows.shape[1]):
            normal = rows[i, c] * inverse[c] + offset[c]
            below = normal * scale[c] + shift[c] <= 0
            given = gradient[i, c] * leak if below else gradient[i, c]
            sums[0, c] += given
            sums[1, c] += np.float64(given) * normal


def _write_back(rows, gradient, known, out, leak, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Write the gradient of the rows."""
    inverse, offset, scale, shift = known[0], known[1], known[2], known[3]
    factor, mean, slope = known[4], known[5], known[6]  # slope: the mean of g n
    for i in range(first, last):
        for c in range(rows.shape[1]):
            normal = rows[i, c] * inverse[c] + offset[c]
            below = normal * scale[c] + shift[c] <= 0
            given = gradient[i, c] * leak if below else gradient[i, c]
            out[i, c] = factor[c] * (given - mean[c] - normal * slope[c])
