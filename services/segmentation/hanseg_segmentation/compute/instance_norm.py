"""Instance normalisation that does not rearrange what lies channels-last in memory.

Convolutions are fastest channels-last. PyTorch's instance norm copies such images to
channels-first and back, on the CPU, which takes as long as the convolutions; its group
norm does not, but adds up in float32 and is off by up to 2 where a mean is far from 0.
Here two compiled passes over the memory as it lies do it, with sums in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from hanseg_segmentation.compute import switch
from hanseg_segmentation.compute.compiled import Done, compiled, over_parts, threads
from hanseg_segmentation.compute.convolution import is_recorded

LONG_ROW = 128
"""Voxels are taken together until a row has so many values: short loops are slow."""

WORTH_THREADS = 2**18
"""Values below which one thread is faster than several."""

ADD_SIGNATURE = "void({}[:,::1], float64[:,::1], int64, int64)"
SCALE_SIGNATURE = "void({}[:,::1], float32[::1], float32[::1], float32, int64, int64)"
"""Types the loops are compiled for: float32, or the bits of bfloat16 as uint16."""

Rows = npt.NDArray[np.float32] | npt.NDArray[np.uint16]


class InstanceNorm(nn.InstanceNorm3d):
    """PyTorch's instance norm of ``(N, C, D, H, W)``, faster on the CPU.

    Without gradients it works in place where its input lies channels-last, so it must
    be given features that nobody else needs. In training, in other layouts, on a GPU,
    and for whatever traces or compiles the network, it is PyTorch's own.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features with mean 0 and variance 1, scaled and shifted if affine."""
        return self.normalise_and_activate(features, leak=1.0)

    def normalise_and_activate(
        self, features: torch.Tensor, *, leak: float
    ) -> torch.Tensor:
        """Return normalised features after a leaky ReLU of that slope below zero."""
        if torch.is_grad_enabled() or is_recorded() or not _has_fast_way(features):
            normal = super().forward(features)
            return normal if leak == 1.0 else functional.leaky_relu_(normal, leak)
        channels = features.shape[1]
        weight = _numbers(self.weight) if self.affine else np.ones(channels)
        bias = _numbers(self.bias) if self.affine else np.zeros(channels)
        for each in features:
            _normalise(_rows(each), weight, bias, epsilon=self.eps, leak=leak)
        return features


@dataclass(frozen=True, slots=True)
class _Loops:
    """The compiled loops for one kind of values."""

    add: Callable[..., None]
    scale: Callable[..., None]


def _has_fast_way(features: torch.Tensor) -> bool:
    return (
        switch.kernels_are_on()
        and features.device.type == "cpu"
        and features.dtype in (torch.float32, torch.bfloat16)
        and features.is_contiguous(memory_format=torch.channels_last_3d)
    )


def _numbers(parameter: torch.Tensor) -> npt.NDArray[np.float64]:
    return parameter.detach().double().numpy()


def _rows(features: torch.Tensor) -> Rows:
    """Return the memory of ``(C, D, H, W)`` as rows ``(voxels, C)``."""
    rows = features.permute(1, 2, 3, 0).reshape(-1, features.shape[0])
    if rows.dtype is torch.bfloat16:
        return rows.view(torch.int16).numpy().view(np.uint16)
    return rows.numpy()


def _normalise(
    rows: Rows,
    weight: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    *,
    epsilon: float,
    leak: float,
) -> None:
    """Normalise each channel of ``(voxels, C)`` in place, and activate it."""
    voxels, channels = rows.shape
    together = 1
    while together * channels < LONG_ROW and voxels % (2 * together) == 0:
        together *= 2
    long = rows.reshape(-1, together * channels)
    loops = _loops("uint16" if rows.dtype == np.uint16 else "float32")

    def add(first: int, last: int) -> npt.NDArray[np.float64]:
        sums = np.zeros((2, long.shape[1]))
        loops.add(long, sums, first, last)
        return sums

    sums = np.sum(_in_parts(add, long), axis=0)
    with np.errstate(invalid="ignore"):  # what is not finite is found in the logits
        mean, squares = sums.reshape(2, together, channels).sum(axis=1) / voxels
        variance = np.maximum(squares - mean**2, 0.0)
        factor = weight / np.sqrt(variance + epsilon)
    factors = np.tile(factor.astype(np.float32), together)
    shifts = np.tile((bias - mean * factor).astype(np.float32), together)
    _in_parts(lambda a, b: loops.scale(long, factors, shifts, leak, a, b), long)


def _in_parts(work: Callable[[int, int], Done], rows: Rows) -> list[Done]:
    """Return what a function of ``(first, last)`` returns for parts of all rows."""
    count = threads() if rows.size >= WORTH_THREADS else 1
    if count == 1:
        return [work(0, len(rows))]
    ends = [len(rows) * part // count for part in range(count + 1)]
    return over_parts(work, ends)


@functools.cache
def _loops(values: str) -> _Loops:
    """Return the loops for ``float32``, or for ``uint16``: bfloat16's bits."""
    half = values == "uint16"
    return _Loops(
        compiled(_add_half if half else _add, ADD_SIGNATURE.format(values)),
        compiled(_scale_half if half else _scale, SCALE_SIGNATURE.format(values)),
    )


def _add(rows, sums, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Add each column's values, and their squares, to two rows of sums."""
    for i in range(first, last):
        for c in range(rows.shape[1]):
            value = np.float64(rows[i, c])
            sums[0, c] += value
            sums[1, c] += value * value


def _scale(rows, factors, shifts, leak, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Multiply each column, shift it, and multiply what is below 0, in place."""
    for i in range(first, last):
        for c in range(rows.shape[1]):
            scaled = rows[i, c] * factors[c] + shifts[c]
            rows[i, c] = scaled * leak if scaled < 0 else scaled


def _add_half(rows, sums, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Do as `_add` with bfloat16: the upper half of a float32's bits."""
    for i in range(first, last):
        for c in range(rows.shape[1]):
            value = np.float64(
                np.uint32(np.uint32(rows[i, c]) << np.uint32(16)).view(np.float32)
            )
            sums[0, c] += value
            sums[1, c] += value * value


def _scale_half(rows, factors, shifts, leak, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Do as `_scale` with bfloat16, rounding to the nearest, ties to even.

    The bits of what is not a number are kept: rounding could make them another's. The
    slope is a sum, since Numba trips over a second branch here.
    """
    straight, bent = np.float32((1 + leak) / 2), np.float32((1 - leak) / 2)
    for i in range(first, last):
        for c in range(rows.shape[1]):
            value = np.uint32(np.uint32(rows[i, c]) << np.uint32(16)).view(np.float32)
            plain = np.float32(value * factors[c] + shifts[c])
            scaled = np.float32(straight * plain + bent * abs(plain))
            bits = scaled.view(np.uint32)
            if scaled == scaled:  # not for NaN
                bits += np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            rows[i, c] = np.uint16(bits >> np.uint32(16))
