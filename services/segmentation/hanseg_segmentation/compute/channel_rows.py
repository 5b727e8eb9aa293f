"""Images that lie channels-last in memory, as rows of voxels by columns of channels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hanseg_segmentation.compute.compiled import Done, compiled, over_parts, threads

LONG_ROW = 128
"""Voxels are taken together until a row has so many values: short loops are slow."""

WORTH_THREADS = 2**18
"""Values below which one thread is faster than several."""

ADD_SIGNATURE = "void({}[:,::1], float64[:,::1], int64, int64)"
"""Types the loop is compiled for: float32, or the bits of bfloat16 as uint16."""

Rows = npt.NDArray[np.float32] | npt.NDArray[np.uint16]

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of each channel of an image.

    Attributes:
        mean: Over its voxels.
        inverse: One by its standard deviation.
    """

    mean: Numbers
    inverse: Numbers

    def line(self, weight: Numbers, bias: Numbers) -> tuple[Numbers, Numbers]:
        """Return what normalises, scales and shifts a channel: a factor and a shift."""
        factor = weight * self.inverse
        with np.errstate(invalid="ignore"):
            return factor, bias - self.mean * factor


def numbers_of(parameter: torch.Tensor) -> Numbers:
    """Return a layer's parameter, a number a channel."""
    return parameter.detach().double().numpy()


def rows_of(features: torch.Tensor) -> Rows:
    """Return the memory of ``(C, D, H, W)`` as rows ``(voxels, C)``.

    Float32, or the bits of bfloat16 as uint16.
    """
    rows = features.detach().permute(1, 2, 3, 0).reshape(-1, features.shape[0])
    if rows.dtype is torch.bfloat16:
        return rows.view(torch.int16).numpy().view(np.uint16)
    return rows.numpy()


def lengthen(rows: Rows) -> tuple[Rows, int]:
    """Return ``(voxels, C)`` as longer rows, and how many voxels one has."""
    voxels, channels = rows.shape
    together = 1
    while together * channels < LONG_ROW and voxels % (2 * together) == 0:
        together *= 2
    return rows.reshape(-1, together * channels), together


def measure(rows: Rows, epsilon: float) -> Statistics:
    """Return the statistics of ``(voxels, C)``, from sums in float64.

    Args:
        rows: Features; where one of a channel is not finite, its statistics are not.
        epsilon: What is added to the variances.
    """
    add = _adding("uint16" if rows.dtype == np.uint16 else "float32")
    long, together = lengthen(rows)
    sums = sum_columns(long, together, lambda s, a, b: add(long, s, a, b))
    with np.errstate(invalid="ignore"):  # what is not finite is found by whoever reads
        mean, squares = sums / len(rows)
        variance = np.maximum(squares - mean**2, 0.0)
        return Statistics(mean, 1 / np.sqrt(variance + epsilon))


def repeated(numbers: Numbers, together: int) -> npt.NDArray[np.float32]:
    """Return numbers of the channels ``(..., C)`` as float32, for longer rows."""
    return np.tile(numbers.astype(np.float32), together)


def sum_columns(
    long: Rows, together: int, add: Callable[[Numbers, int, int], None]
) -> Numbers:
    """Return two sums of each channel, ``(2, C)``.

    Args:
        long: Rows of several voxels.
        together: How many.
        add: Adds to sums ``(2, together * C)`` what rows from a first to a last give.
    """

    def part(first: int, last: int) -> Numbers:
        sums = np.zeros((2, long.shape[1]))
        add(sums, first, last)
        return sums

    sums: Numbers = np.sum(in_parts(part, long), axis=0)
    return sums.reshape(2, together, -1).sum(axis=1)


def in_parts(work: Callable[[int, int], Done], rows: Rows) -> list[Done]:
    """Return what a function of ``(first, last)`` returns for parts of all rows."""
    count = threads() if rows.size >= WORTH_THREADS else 1
    if count == 1:
        return [work(0, len(rows))]
    ends = [len(rows) * part // count for part in range(count + 1)]
    return over_parts(work, ends)


@functools.cache
def _adding(values: str) -> Callable[..., None]:
    half = values == "uint16"
    return compiled(_add_half if half else _add, ADD_SIGNATURE.format(values))


def _add(rows, sums, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Add each column's values, and their squares, to two rows of sums."""
    for i in range(first, last):
        for c in range(rows.shape[1]):
            value = np.float64(rows[i, c])
            sums[0, c] += value
            sums[1, c] += value * value


def _add_half(rows, sums, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Do as `_add` with bfloat16: the upper half of a float32's bits."""
    for i in range(first, last):
        for c in range(rows.shape[1]):
            value = np.float64(
                np.uint32(np.uint32(rows[i, c]) << np.uint32(16)).view(np.float32)
            )
            sums[0, c] += value
            sums[1, c] += value * value
