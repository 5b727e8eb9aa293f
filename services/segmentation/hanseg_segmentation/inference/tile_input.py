"""What the network is shown: tiles, cut from images that need not exist at its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float32

from hanseg_segmentation.inference.slab import Sweep
from hanseg_segmentation.inference.tiling import Shape, shape_of

ChannelVoxels = Float32[np.ndarray, "channel z y x"]


class Source(Protocol):
    """Normalised images on the network's grid, of which a part can be had.

    Attributes:
        shape: The grid's shape ``(z, y, x)``, before it is padded.
        air: What stands for air in each channel, beyond the border.
    """

    @property
    def shape(self) -> Shape: ...  # noqa: D102

    @property
    def air(self) -> tuple[float, ...]: ...  # noqa: D102

    def part(self, low: Shape, high: Shape) -> ChannelVoxels:
        """Return the channels ``(C, z, y, x)`` from `low` to before `high`."""


@dataclass(frozen=True, slots=True, eq=False)
class WholeInput:
    """Channels that are there already; small, as those of a coarse model are.

    Attributes:
        channels: ``(C, z, y, x)``.
        air: See `Source`.
    """

    channels: ChannelVoxels
    air: tuple[float, ...]

    @property
    def shape(self) -> Shape:
        """The grid's shape."""
        z, y, x = self.channels.shape[1:]
        return z, y, x

    def part(self, low: Shape, high: Shape) -> ChannelVoxels:
        """Return a view of a part."""
        z, y, x = (slice(a, b) for a, b in zip(low, high, strict=True))
        return self.channels[:, z, y, x]


class RowInput:
    """The input under the tiles of one row after the other.

    The next row needs half of the planes again, so that each is made once.
    """

    def __init__(self, source: Source, sweep: Sweep) -> None:
        """Make room for a row: as deep as a tile, as wide as all of them."""
        self._source, self._axis, self._tiling = source, sweep.axis, sweep.tiling
        starts = np.array(sweep.tiling.starts)
        self._low = starts.min(axis=0)
        high = starts.max(axis=0) + sweep.tiling.patch
        high[sweep.axis] = self._low[sweep.axis] + sweep.tiling.patch[sweep.axis]
        shape = (len(source.air), *(high - self._low).tolist())
        self._voxels = torch.empty(shape)
        self._filled = False

    def tiles(self, starts: Sequence[Shape]) -> torch.Tensor:
        """Return tiles as a batch ``(N, C, z, y, x)``, channels last in memory.

        Args:
            starts: First voxel of each, all in one row, which is none before those
                asked for so far.
        """
        self._move_to(starts[0][self._axis])
        tiles = torch.stack([self._voxels[:, *self._slices(each)] for each in starts])
        return tiles.contiguous(memory_format=torch.channels_last_3d)

    def _slices(self, start: Shape) -> list[slice]:
        low = [int(first) for first in np.array(start) - self._low]
        return [
            slice(first, first + edge)
            for first, edge in zip(low, self._tiling.patch, strict=True)
        ]

    def _move_to(self, plane: int) -> None:
        """Make the planes from this one on those that are held."""
        depth = self._tiling.patch[self._axis]
        moved = plane - int(self._low[self._axis])
        if self._filled and not moved:
            return
        kept = max(0, depth - moved) if self._filled else 0
        if kept:
            again = self._voxels.narrow(1 + self._axis, depth - kept, kept).clone()
            self._voxels.narrow(1 + self._axis, 0, kept).copy_(again)
        self._low[self._axis] = plane
        self._filled = True
        self._fill(self._voxels.narrow(1 + self._axis, kept, depth - kept), kept)

    def _fill(self, target: torch.Tensor, first: int) -> None:
        """Write the planes from `first` on; what is beyond the border is air."""
        corner = self._low - self._tiling.first
        corner[self._axis] += first
        end = corner + target.shape[1:]
        low = np.clip(corner, 0, self._source.shape)
        high = np.clip(end, 0, self._source.shape)
        if (low > corner).any() or (high < end).any():
            target[:] = torch.tensor(self._source.air)[:, None, None, None]
        if (low < high).all():
            part = self._source.part(shape_of(low), shape_of(high))
            z, y, x = (
                slice(int(a), int(b))
                for a, b in zip(low - corner, high - corner, strict=True)
            )
            target[:, z, y, x] = torch.from_numpy(np.ascontiguousarray(part))
