"""The sums of logits, of which only a slab exists at a time.

The logits of 31 classes over a whole volume are the largest array that a nnU-Net user
ever sees: 26 GB at 1024 x 1024 x 200. But a plane of voxels is final once the last tile
that touches it was run. So tiles are run in rows along one axis, a slab as deep as a
tile rolls along with them, and its planes are handed on as they become final.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch

from hanseg_segmentation.compute.compiled import over_slices
from hanseg_segmentation.compute.half_precision import as_bits
from hanseg_segmentation.compute.sums import tile_adder
from hanseg_segmentation.inference.tiling import (
    Shape,
    Tiling,
    gaussian_weights,
    nnunet_weights,
    shape_of,
)

Slices = tuple[slice, slice, slice]

GROUP_BYTES = 256 * 2**20
"""Planes are handed on in groups of about this size in float32, or one by one."""


NOT_FINITE = "a logit is not finite"


class Sums(Enum):
    """How the logits of tiles that overlap are added up."""

    FULL = "full"
    """Weighted sums in float32, exactly as if the whole volume were there."""

    MEANS = "means"
    """Weighted means in float16, whose rounding does not depend on the weights."""

    NNUNET = "nnunet"
    """Weighted sums in float16, rounded after each tile as nnU-Net's predictor does
    (``_internal_predict_sliding_window_return_logits``, nnunetv2 2.8.1). The same bits
    come out only where tiles come in nnU-Net's order: see `plan_sweep`."""

    @property
    def dtype(self) -> torch.dtype:
        """What a sum is held in."""
        return torch.float32 if self is Sums.FULL else torch.float16

    @property
    def weights_dtype(self) -> torch.dtype:
        """What a sum of weights is held in."""
        return torch.float16 if self is Sums.NNUNET else torch.float32


@dataclass(frozen=True, slots=True)
class Sweep:
    """The order in which tiles are run, and the part of the volume that they touch.

    Attributes:
        tiling: The tiles.
        axis: Array axis (z, y, x) = (0, 1, 2) along which the slab rolls.
        low: First voxel of the part, in the padded volume: under a tile or next to
            one, so that its border is background.
        high: One after its last voxel.
        rows: Tiles that begin at one plane, in the order of the planes.
    """

    tiling: Tiling
    axis: int
    low: Shape
    high: Shape
    rows: tuple[tuple[Shape, ...], ...]

    @property
    def shape(self) -> Shape:
        """Shape of the part."""
        z, y, x = (b - a for a, b in zip(self.low, self.high, strict=True))
        return z, y, x

    @property
    def slab(self) -> Shape:
        """Shape of what exists at a time."""
        z, y, x = (
            min(edge, self.tiling.patch[axis]) if axis == self.axis else edge
            for axis, edge in enumerate(self.shape)
        )
        return z, y, x

    def group(self, channels: int) -> int:
        """Return how many planes are handed on at a time, at most."""
        plane = math.prod(self.shape) // max(1, self.shape[self.axis]) * channels * 4
        return max(1, min(self.slab[self.axis], GROUP_BYTES // max(1, plane)))


def plan_sweep(tiling: Tiling, own: Shape, *, in_order: bool = False) -> Sweep:
    """Return the order of tiles in which the slab is smallest.

    Args:
        tiling: At least one tile.
        own: Shape of the volume before it was padded.
        in_order: Whether tiles must come in the tiling's own order, first axis first.
    """
    low, high = [], []
    asked = tiling.box or ((0, 0, 0), own)
    for axis, first in enumerate(tiling.first):
        starts = [start[axis] for start in tiling.starts]
        low.append(max(first + asked[0][axis], min(starts) - 1))
        high.append(min(first + asked[1][axis], max(starts) + tiling.patch[axis] + 1))
    corners: tuple[Shape, Shape] = (shape_of(low), shape_of(high))
    sweeps = [
        Sweep(tiling, axis, *corners, _rows(tiling.starts, axis))
        for axis in range(1 if in_order else 3)
    ]
    return min(sweeps, key=lambda sweep: math.prod(sweep.slab))


class Slab:
    """A ring of planes in which tiles are added up."""

    def __init__(
        self, sweep: Sweep, channels: int, *, kind: Sums, device: torch.device
    ) -> None:
        """Make an empty slab.

        Args:
            sweep: Where it rolls.
            channels: Classes.
            kind: What it holds.
            device: Where it lies.
        """
        self._sweep, self._kind = sweep, kind
        axis = sweep.axis
        plane = [edge for other, edge in enumerate(sweep.slab) if other != axis]
        shape = (sweep.slab[axis], *plane)
        sums = torch.zeros((*shape, channels), dtype=kind.dtype, device=device)
        self._sums = sums.movedim(0, axis)
        weights = torch.zeros(shape, dtype=kind.weights_dtype, device=device)
        self._weights = weights.movedim(0, axis)
        shaped = nnunet_weights if kind is Sums.NNUNET else gaussian_weights
        self._gaussian = torch.from_numpy(shaped(sweep.tiling.patch)).to(device)
        self._group = sweep.group(channels)
        self._head = sweep.low[axis]

    def add(self, start: Shape, tile: torch.Tensor) -> None:
        """Add a tile's logits, weighted by where in the tile they are.

        Args:
            start: Its first voxel; no plane before it may have been handed on twice.
            tile: ``(z, y, x, K)``, of any precision.

        Raises:
            FloatingPointError: A logit that is added is not finite.
        """
        if self._sums.device.type == "cpu":
            lying = tile.float().contiguous()
            for inside, ring in self._parts(start):
                self._add_compiled(self._weights[ring], lying, inside)
        else:
            _require_finite(tile)
            self._add_blended(start, tile)

    def _add_blended(self, start: Shape, tile: torch.Tensor) -> None:
        blend = _BLENDS[self._kind]
        for inside, ring in self._parts(start):
            planes = (self._sums[ring], self._weights[ring])
            for each in zip(*planes, tile[inside], self._gaussian[inside], strict=True):
                blend(*each)

    def _add_compiled(
        self, weights: torch.Tensor, tile: torch.Tensor, inside: Slices
    ) -> None:
        """Add a part of a tile on the CPU; see `sums._add_tile`."""
        rows = as_bits(self._sums.movedim(self._sweep.axis, 0).flatten(0, 2))
        totals = as_bits(self._weights.movedim(self._sweep.axis, 0).flatten())
        low = np.array([part.start for part in inside])
        shape, steps = np.array(weights.shape), np.array(weights.stride())
        loop = tile_adder(str(rows.dtype), str(totals.dtype))

        def work(first: int, last: int) -> int:
            return loop(
                rows,
                totals,
                tile.numpy(),
                self._gaussian.numpy(),
                low,
                shape,
                weights.storage_offset(),
                steps,
                self._kind is Sums.MEANS,
                first,
                last,
            )

        if any(over_slices(work, int(shape[0]))):
            raise FloatingPointError(NOT_FINITE)

    def final_before(self, plane: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Hand on every plane before one, a few at a time, and forget them.

        Yields:
            Sums ``(z, y, x, K)`` and sums of weights ``(z, y, x)``, valid until the
            next ones are asked for; of `Sums.MEANS` the means, and the weight 1. A
            voxel without a tile has the weight 0. Along `Sweep.axis` planes lie one
            after the other in memory.
        """
        axis, depth = self._sweep.axis, self._sweep.slab[self._sweep.axis]
        plane = min(plane, self._sweep.high[axis])
        while self._head < plane:
            first = (self._head - self._sweep.low[axis]) % depth
            count = min(self._group, plane - self._head, depth - first)
            sums = self._sums.narrow(axis, first, count)
            weights = self._weights.narrow(axis, first, count)
            means = self._kind is Sums.MEANS
            yield sums, ((weights > 0) if means else weights).float()
            sums.zero_()
            weights.zero_()
            self._head += count

    def _parts(self, start: Shape) -> Iterator[tuple[Slices, Slices]]:
        """Yield parts of a tile and where they lie: two where the ring is closed."""
        sweep = self._sweep
        ends = (first + n for first, n in zip(start, sweep.tiling.patch, strict=True))
        low = [max(pair) for pair in zip(start, sweep.low, strict=True)]
        high = [min(pair) for pair in zip(ends, sweep.high, strict=True)]
        depth, base = sweep.slab[sweep.axis], sweep.low[sweep.axis]
        seam = base + ((low[sweep.axis] - base) // depth + 1) * depth
        for begin, end in (
            (low[sweep.axis], min(seam, high[sweep.axis])),
            (seam, high[sweep.axis]),
        ):
            if begin >= end:
                continue
            low[sweep.axis], high[sweep.axis] = begin, end
            origin = list(sweep.low)
            origin[sweep.axis] = begin - (begin - base) % depth
            yield _slices(low, high, start), _slices(low, high, origin)


def _require_finite(tile: torch.Tensor) -> None:
    """Raise unless every value is a number; both extremes keep a NaN."""
    low, high = tile.amin(), tile.amax()  # aminmax is slow on channels-last
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        raise FloatingPointError(NOT_FINITE)


def _add_sum(
    sums: torch.Tensor, weights: torch.Tensor, tile: torch.Tensor, new: torch.Tensor
) -> None:
    sums.addcmul_(tile.float(), new[..., None])
    weights += new


def _add_mean(
    means: torch.Tensor, weights: torch.Tensor, tile: torch.Tensor, new: torch.Tensor
) -> None:
    weights += new
    share = (new / weights)[..., None]
    means.copy_(means.float().lerp_(tile.float(), share))


def _add_as_nnunet(
    sums: torch.Tensor, weights: torch.Tensor, tile: torch.Tensor, new: torch.Tensor
) -> None:
    sums.copy_((tile.float() * new[..., None]).add_(sums))
    weights.copy_(weights.float().add_(new))


_BLENDS = {
    Sums.FULL: _add_sum,
    Sums.MEANS: _add_mean,
    Sums.NNUNET: _add_as_nnunet,
}


def _rows(starts: tuple[Shape, ...], axis: int) -> tuple[tuple[Shape, ...], ...]:
    ordered = sorted(starts, key=lambda start: start[axis])
    grouped = itertools.groupby(ordered, key=lambda start: start[axis])
    return tuple(tuple(row) for _, row in grouped)


def _slices(low: Sequence[int], high: Sequence[int], origin: Sequence[int]) -> Slices:
    z, y, x = (
        slice(a - first, b - first)
        for a, b, first in zip(low, high, origin, strict=True)
    )
    return z, y, x
