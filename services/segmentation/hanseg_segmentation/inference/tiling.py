"""Which tiles a volume is cut into, and how much each voxel of a tile counts."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from hanseg_shared.volume import Mask

Shape = tuple[int, int, int]

STEP = 0.5
"""Distance of neighbouring tiles, as a share of their edge (Isensee et al. 2021,
doi 10.1038/s41592-020-01008-z)."""

GAUSSIAN_SHARE = 1 / 8
"""Deviation of the tile's weights, as a share of its edge (same source)."""

SMALLEST_WEIGHT = 1e-3
"""Weight of a tile's corners, so that no voxel's sum of weights is lost in rounding."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles over a volume, indexed z, y, x.

    Attributes:
        shape: The volume's shape after it was padded to hold a tile.
        patch: A tile's shape.
        starts: First voxel of each tile.
    """

    shape: Shape
    patch: Shape
    starts: tuple[Shape, ...]

    def slices(self, start: Shape) -> tuple[slice, slice, slice]:
        """Return the part of the volume under the tile at `start`."""
        z, y, x = (
            slice(first, first + edge)
            for first, edge in zip(start, self.patch, strict=True)
        )
        return z, y, x


def plan_tiles(
    shape: Shape, *, patch: Shape, worth: Mask, step: float = STEP
) -> Tiling:
    """Return the tiles that cover a volume and hold something worth a look.

    Args:
        shape: The volume's shape, (z, y, x).
        patch: A tile's shape; the volume is padded at its end where it is smaller.
        worth: Voxels that are not air, of that shape. Tiles without any are left
            out; the network would see nothing in them.
        step: Largest distance of neighbouring tiles, as a share of their edge.
    """
    padded = tuple(max(n, edge) for n, edge in zip(shape, patch, strict=True))
    z, y, x = padded
    zs, ys, xs = (_starts(n, edge, step) for n, edge in zip(padded, patch, strict=True))
    tiling = Tiling((z, y, x), patch, tuple(itertools.product(zs, ys, xs)))
    kept = tuple(start for start in tiling.starts if worth[tiling.slices(start)].any())
    return Tiling(tiling.shape, patch, kept)


def gaussian_weights(patch: Shape) -> Float32[np.ndarray, "z y x"]:
    """Return how much each voxel of a tile counts: 1 in the middle, little outside."""
    profiles = []
    for edge in patch:
        distance = np.arange(edge) - (edge - 1) / 2
        profiles.append(np.exp(-0.5 * (distance / (edge * GAUSSIAN_SHARE)) ** 2))
    z, y, x = profiles
    weights = z[:, None, None] * y[None, :, None] * x[None, None, :]
    return np.maximum(weights / weights.max(), SMALLEST_WEIGHT).astype(np.float32)


def _starts(size: int, edge: int, step: float) -> list[int]:
    """Return evenly spread first voxels of tiles that cover an axis."""
    steps = math.ceil((size - edge) / (edge * step))
    if steps <= 0:
        return [0]
    return [round(i * (size - edge) / steps) for i in range(steps + 1)]
