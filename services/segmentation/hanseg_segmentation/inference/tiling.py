"""Which tiles a volume is cut into, and how much each voxel of a tile counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32
from scipy import ndimage

from hanseg_shared.volume import Mask

Shape = tuple[int, int, int]

STEP = 0.5
"""Distance of neighbouring tiles, as a share of their edge (Isensee et al. 2021,
doi 10.1038/s41592-020-01008-z)."""

GAUSSIAN_SHARE = 1 / 8
"""Deviation of the tile's weights, as a share of its edge (same source)."""

NNUNET_PEAK = 10.0
"""nnU-Net's weight in the middle of a tile (its ``value_scaling_factor``)."""

SMALLEST_WEIGHT = 1e-7
"""Weight of a tile's corners, so that no voxel is without: about what nnU-Net's half
precision leaves of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """Which blocks of a volume are worth a look.

    Attributes:
        blocks: One value for each block, ``(z, y, x)``.
        edges: Voxels along each axis of a block, not always a whole number; the last
            ones may be smaller.
    """

    blocks: Mask
    edges: tuple[float, float, float]

    def any_between(self, low: Sequence[int], high: Sequence[int]) -> bool:
        """Whether a block is worth a look among voxels from `low` to before `high`."""
        part = tuple(
            slice(int(max(first, 0) // edge), math.ceil(last / edge))
            for first, last, edge in zip(low, high, self.edges, strict=True)
        )
        return bool(self.blocks[part].any())

    def between(self, low: Sequence[int], high: Sequence[int]) -> Mask:
        """Return which voxels from `low` to before `high` are worth a look.

        Those outside the volume are as its border.
        """
        blocks = (
            np.clip(np.arange(first, last) // edge, 0, count - 1).astype(np.int64)
            for first, last, edge, count in zip(
                low, high, self.edges, self.blocks.shape, strict=True
            )
        )
        return self.blocks[np.ix_(*blocks)]

    def box(self, shape: Shape) -> tuple[Shape, Shape]:
        """Return the first voxels of what is worth a look, and one after the last ones.

        All of a volume of that shape if nothing is.
        """
        if not self.blocks.any():
            return (0, 0, 0), shape
        spans = [
            span_of(np.moveaxis(self.blocks, axis, 0), edge, size)
            for axis, (edge, size) in enumerate(zip(self.edges, shape, strict=True))
        ]
        return shape_of(low for low, _ in spans), shape_of(high for _, high in spans)


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles over a volume, indexed z, y, x.

    Attributes:
        shape: The volume's shape after it was padded to hold a tile.
        patch: A tile's shape.
        starts: First voxel of each tile.
        first: Where the volume's own first voxel lies after the padding.
        box: First voxel of what is asked for, and one after its last, before the
            padding; what lies outside counts as background. None asks for everything.
        channels: Output channels of the organs that can lie in each tile, by its
            start; None where any can lie in all.
        worth_of: Where the organ of an output channel can lie, before the padding;
            a channel that is not named can be anywhere.
    """

    shape: Shape
    patch: Shape
    starts: tuple[Shape, ...]
    first: Shape = (0, 0, 0)
    box: tuple[Shape, Shape] | None = None
    channels: Mapping[Shape, frozenset[int]] | None = None
    worth_of: Mapping[int, Worth] = field(default_factory=dict)

    def channels_of(self, starts: Iterable[Shape]) -> frozenset[int] | None:
        """Return the channels of the organs that can lie in any of some tiles."""
        if self.channels is None:
            return None
        return frozenset().union(*(self.channels[start] for start in starts))

    def outside(self, start: Shape, channels: int) -> Mask | None:
        """Return where in a tile no organ of a channel can lie, ``(K, z, y, x)``.

        Args:
            start: The tile's first voxel.
            channels: How many there are.

        Returns:
            None where each can lie anywhere.
        """
        if not self.worth_of:
            return None
        found = np.zeros((channels, *self.patch), dtype=bool)
        for channel, worth in self.worth_of.items():
            np.logical_not(worth.between(*self.span(start)), out=found[channel])
        return found

    def slices(self, start: Shape) -> tuple[slice, slice, slice]:
        """Return the part of the volume under the tile at `start`."""
        z, y, x = (
            slice(first, first + edge)
            for first, edge in zip(start, self.patch, strict=True)
        )
        return z, y, x

    def span(self, start: Shape) -> tuple[list[int], list[int]]:
        """Return a tile's first and last corner in the volume before it was padded."""
        low = [begin - first for begin, first in zip(start, self.first, strict=True)]
        high = [first + edge for first, edge in zip(low, self.patch, strict=True)]
        return low, high


def shape_of(values: Iterable[int]) -> Shape:
    """Return three numbers as a shape."""
    z, y, x = (int(value) for value in values)
    return z, y, x


def span_of(blocks: Mask, edge: float, size: int) -> tuple[int, int]:
    """Return the first voxel of what is set along the first axis, and one after it.

    Args:
        blocks: Of any number of axes; something is set.
        edge: Voxels of a block along the first one.
        size: Voxels there are; the last block may be smaller.
    """
    held = np.flatnonzero(blocks.any(axis=tuple(range(1, blocks.ndim))))
    return int(held[0] * edge), min(size, math.ceil((held[-1] + 1) * edge))


def plan_tiles(
    shape: Shape,
    *,
    patch: Shape,
    worth: Worth | None,
    step: float = STEP,
    centred: bool = False,
) -> Tiling:
    """Return the tiles that cover a volume and hold something worth a look.

    Args:
        shape: The volume's shape, (z, y, x).
        patch: A tile's shape; the volume is padded at its end where it is smaller.
        worth: What is not air. Tiles of nothing else are left out; the network would
            see nothing in them. None keeps every tile.
        step: Largest distance of neighbouring tiles, as a share of their edge.
        centred: Whether a small volume is padded on both sides, as nnU-Net does.
    """
    padded = tuple(max(n, edge) for n, edge in zip(shape, patch, strict=True))
    z, y, x = padded
    zs, ys, xs = (
        spread_starts(0, n, edge=edge, step=step, size=n)
        for n, edge in zip(padded, patch, strict=True)
    )
    tiling = Tiling((z, y, x), patch, tuple(itertools.product(zs, ys, xs)))
    if centred:
        z, y, x = ((n - own) // 2 for n, own in zip(padded, shape, strict=True))
        tiling = replace(tiling, first=(z, y, x))
    if worth is None:
        return tiling
    kept = (each for each in tiling.starts if worth.any_between(*tiling.span(each)))
    return replace(tiling, starts=tuple(kept))


def gaussian_weights(patch: Shape) -> Float32[np.ndarray, "z y x"]:
    """Return how much each voxel of a tile counts: 1 in the middle, little outside.

    The middle of an even edge is the second of both middle voxels, as in nnU-Net.
    """
    profiles = []
    for edge in patch:
        distance = np.arange(edge) - edge // 2
        profiles.append(np.exp(-0.5 * (distance / (edge * GAUSSIAN_SHARE)) ** 2))
    z, y, x = profiles
    weights = z[:, None, None] * y[None, :, None] * x[None, None, :]
    return np.maximum(weights, SMALLEST_WEIGHT).astype(np.float32)


def nnunet_weights(patch: Shape) -> Float32[np.ndarray, "z y x"]:
    """Return the weights of nnU-Net's predictor, bit by bit, as float32.

    They are those of its ``compute_gaussian``: a filtered point, `NNUNET_PEAK` in the
    middle, in half precision, where what is too small becomes the smallest that is not.
    """
    z, y, x = (_filter_point(edge) for edge in patch)
    exact = z[:, None, None] * y[None, :, None] * x[None, None, :]
    weights = (exact / (exact.max() / NNUNET_PEAK)).astype(np.float16)
    weights[weights == 0] = weights[weights > 0].min()
    return weights.astype(np.float32)


def _filter_point(edge: int) -> npt.NDArray[np.float64]:
    point = np.zeros(edge)
    point[edge // 2] = 1.0
    filtered: npt.NDArray[np.float64] = ndimage.gaussian_filter1d(
        point, edge * GAUSSIAN_SHARE, mode="constant"
    )
    return filtered


def spread_starts(
    low: int, high: int, *, edge: int, step: float, size: int
) -> list[int]:
    """Return evenly spread first voxels of tiles that cover a part of an axis.

    Args:
        low: First voxel of the part.
        high: One after its last voxel.
        edge: Voxels of a tile.
        step: Largest distance of neighbouring tiles, as a share of their edge.
        size: Voxels of the axis. A single tile lies about the part's middle, as far as
            the axis reaches.
    """
    steps = math.ceil((high - low - edge) / (edge * step))
    if steps <= 0:
        middle = (low + high - edge) // 2
        return [max(0, min(middle, size - edge))]
    return [low + round(i * (high - low - edge) / steps) for i in range(steps + 1)]
