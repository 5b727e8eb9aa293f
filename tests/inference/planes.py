"""Planes of logits: whole volumes handed to a sink, and sinks that keep the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hanseg_segmentation.inference.back_to_grid import LabelWriter, WayBack
from hanseg_segmentation.inference.slab import Sweep
from hanseg_segmentation.inference.tiling import Tiling
from hanseg_shared.grid import Grid

Array = npt.NDArray[Any]


class Keeper:
    """Keeps every plane: sums ``(z, y, x, K)`` and weights of the padded volume."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.next = sweep.low[sweep.axis]
        self.sums: Array = np.zeros(0)
        self.weights = np.zeros(sweep.tiling.shape)
        self.planes: list[int] = []

    def take(self, sums: torch.Tensor, weights: torch.Tensor) -> None:
        if not self.sums.size:
            self.sums = np.zeros((*self.sweep.tiling.shape, sums.shape[-1]))
        count = sums.shape[self.sweep.axis]
        spans = list(zip(self.sweep.low, self.sweep.high, strict=True))
        spans[self.sweep.axis] = (self.next, self.next + count)
        z, y, x = (slice(*span) for span in spans)
        self.sums[z, y, x] = sums.cpu()
        self.weights[z, y, x] = weights.cpu()
        self.next += count
        self.planes.append(count)

    @property
    def means(self) -> Array:
        """Mean logits; background is certain where no tile was run."""
        means = self.sums / np.where(self.weights > 0, self.weights, 1)[..., None]
        means[self.weights == 0] = np.eye(means.shape[-1])[0]
        return means


def one_sweep(shape: tuple[int, ...], axis: int = 0) -> Sweep:
    """Return the sweep of a single tile as large as the volume."""
    z, y, x = shape
    tiling = Tiling((z, y, x), (z, y, x), ((0, 0, 0),))
    return Sweep(tiling, axis, (0, 0, 0), (z, y, x), (tiling.starts,))


def written(
    logits: Array,
    model: Grid,
    ct: Grid,
    table: Array,
    *,
    way: WayBack | None = None,
    axis: int = 0,
    weights: Array | None = None,
    at_once: int = 1000,
) -> LabelWriter:
    """Return a writer that took the planes of logits, so many at once.

    The logits may be larger than the model's grid, as where a volume was padded.
    """
    x, y, z = model.size
    logits = logits[:z, :y, :x]
    weights = np.ones(logits.shape[:3]) if weights is None else weights
    writer = LabelWriter(
        ct,
        one_sweep(logits.shape[:3], axis),
        network=model.shape,
        label_of_channel=table,
        way=way or WayBack.between(ct, model),
    )
    hand_over(logits, weights, writer, axis=axis, at_once=at_once)
    return writer


def hand_over(
    logits: Array, weights: Array, writer: LabelWriter, *, axis: int, at_once: int
) -> None:
    """Give planes to a writer, so many at once; float16 as such, or float32."""
    stored = logits if logits.dtype == np.float16 else logits.astype(np.float32)
    for first in range(0, logits.shape[axis], at_once):
        part = [slice(None)] * 3
        part[axis] = slice(first, first + at_once)
        z, y, x = part
        writer.take(
            torch.from_numpy(stored[z, y, x].copy()),
            torch.from_numpy(weights[z, y, x].astype(np.float32)),
        )
