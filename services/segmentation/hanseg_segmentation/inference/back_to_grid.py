"""From logits on the model's grid to labels on the CT's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.inference.kernels import kernels, over_slices
from hanseg_segmentation.inference.sliding_window import LogitSums, Weights
from hanseg_shared.grid import Grid
from hanseg_shared.volume import LabelMap, Volume

CENTRES_ONLY = 1e-6
"""Share of a voxel by which rounding may put a point beyond the outermost centres."""

TO_THE_FACES = 0.5
"""How far a voxel reaches beyond its centre, in voxels."""


@dataclass(frozen=True, slots=True, eq=False)
class WayBack:
    """How voxels of a CT are looked up among the network's.

    Attributes:
        network_from_image: Homogeneous matrix from the CT's indices (x, y, z) to the
            network's, 4 x 4.
        reach: How far beyond the outermost centres these count, in voxels.
        nearest_axis: The network's array axis along which the nearest voxel is taken;
            None to interpolate along all.
    """

    network_from_image: npt.NDArray[np.float64]
    reach: float = CENTRES_ONLY
    nearest_axis: int | None = None

    @classmethod
    def between(cls, ct: Grid, network: Grid) -> Self:
        """Return the way by position in the patient."""
        return cls(np.linalg.inv(network.world_from_index) @ ct.world_from_index)


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """What a network says about each voxel of the model's grid.

    Attributes:
        values: Mean logits, float32 ``(z, y, x, K)``; may be larger than `grid` at
            the end of an axis, where the volume was padded to hold a tile.
        winners: The largest channel of each voxel, uint8 ``(z, y, x)``.
        grid: Where they are.
        confidence: Mean probability of each channel over the voxels it wins, ``(K,)``;
            NaN for a channel that wins none.
    """

    values: npt.NDArray[np.float32]
    winners: npt.NDArray[np.uint8]
    grid: Grid
    confidence: npt.NDArray[np.float64]


def finish(sums: LogitSums, weights: Weights, grid: Grid) -> Logits:
    """Return mean logits and winners of a network's sums.

    Args:
        sums: Weighted sums of logits; overwritten by their means, since a second
            array of that size would be the largest of the whole job.
        weights: Sums of weights; 0 where no tile was run: background.
        grid: Where the sums are.
    """
    winners = np.empty(weights.shape, dtype=np.uint8)
    counts = np.zeros((len(sums), sums.shape[-1]), dtype=np.int64)
    chances = np.zeros(counts.shape, dtype=np.float64)

    def work(first: int, last: int) -> None:
        kernels().finish_logits(sums, weights, winners, counts, chances, first, last)

    over_slices(work, len(sums))
    voxels = counts.sum(axis=0)
    confidence = np.full(len(voxels), np.nan)
    np.divide(chances.sum(axis=0), voxels, out=confidence, where=voxels > 0)
    return Logits(sums, winners, grid, confidence)


def labels_on(
    grid: Grid,
    logits: Logits,
    *,
    label_of_channel: npt.NDArray[np.uint8],
    way: WayBack | None = None,
) -> Volume:
    """Return the label of every voxel of a CT's grid, of any orientation.

    It is the label of the channel whose logit, interpolated linearly, is largest, as
    if every channel had been resampled to the CT's grid.

    Args:
        grid: The CT's.
        logits: On the model's grid.
        label_of_channel: The label of each channel, uint8 ``(K,)``.
        way: How the CT's voxels are looked up; None goes by their positions.

    Returns:
        A uint8 volume on `grid`; background outside the model's grid.
    """
    result: LabelMap = np.empty(grid.shape, dtype=np.uint8)
    way = way or WayBack.between(grid, logits.grid)
    matrix = np.ascontiguousarray(way.network_from_image[:3, :3])
    offset = np.ascontiguousarray(way.network_from_image[:3, 3])
    nearest = -1 if way.nearest_axis is None else 2 - way.nearest_axis
    x, y, z = logits.grid.size
    values = logits.values[:z, :y, :x]
    winners = logits.winners[:z, :y, :x]

    def work(first: int, last: int) -> None:
        kernels().label_voxels(
            values,
            winners,
            label_of_channel,
            matrix,
            offset,
            way.reach,
            nearest,
            result,
            first,
            last,
        )

    over_slices(work, len(result))
    return Volume(result, grid)
