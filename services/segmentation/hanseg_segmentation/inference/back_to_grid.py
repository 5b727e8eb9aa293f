"""From logits on the model's grid to labels on the CT's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from hanseg_segmentation.compute.compiled import over_slices
from hanseg_segmentation.compute.half_precision import Stored, as_bits
from hanseg_segmentation.compute.labels import voxel_labeller
from hanseg_segmentation.compute.winners import winner_finder
from hanseg_segmentation.inference.slab import Sweep
from hanseg_segmentation.inference.tiling import Shape
from hanseg_shared.errors import ModelError
from hanseg_shared.grid import Grid
from hanseg_shared.volume import LabelMap, Mask, Volume

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


class LabelWriter:
    """Writes the labels of a CT's voxels while the network's planes become final.

    The label is that of the channel whose logit, interpolated linearly, is largest, as
    if every channel had been resampled to the CT's grid. A CT's voxel is written once
    both planes around it are there; so the last plane is kept for the next ones.

    Attributes:
        labels: The labels so far, uint8 in the shape of the CT's grid; background
            where no plane came.
        seconds: What it has taken so far.
    """

    def __init__(
        self,
        grid: Grid,
        sweep: Sweep,
        *,
        network: Shape,
        label_of_channel: npt.NDArray[np.uint8],
        way: WayBack,
    ) -> None:
        """Make an empty label map.

        Args:
            grid: The CT's, of any orientation.
            sweep: In which order planes will come.
            network: Shape (z, y, x) of the network's grid, before it was padded.
            label_of_channel: The label of each channel, uint8 ``(K,)``, the first of
                which is the background's, 0.
            way: How the CT's voxels are looked up.
        """
        channels = len(label_of_channel)
        self.labels: LabelMap = np.zeros(grid.shape, dtype=np.uint8)
        self._grid, self._axis, self._table = grid, sweep.axis, label_of_channel
        self._matrix = np.ascontiguousarray(way.network_from_image[:3, :3])
        self._offset = np.ascontiguousarray(way.network_from_image[:3, 3])
        self._reach = way.reach
        self._nearest = -1 if way.nearest_axis is None else 2 - way.nearest_axis
        self._size = np.array(network[::-1], dtype=np.int64)
        self._low = np.array(sweep.low, dtype=np.int64) - sweep.tiling.first
        self._held = 0
        plane = [edge for axis, edge in enumerate(sweep.shape) if axis != sweep.axis]
        room = (1 + sweep.group(channels), *plane)
        self._before: _Planes | None = None
        self._winners = np.empty(room, dtype=np.uint8)
        self._voxels = np.zeros(channels, dtype=np.int64)
        self._chances = np.zeros(channels, dtype=np.float64)
        self.seconds = 0.0

    @property
    def volume(self) -> Volume:
        """The labels on their grid."""
        return Volume(self.labels, self._grid)

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """Mean probability of each channel over the network's voxels that it wins.

        NaN for a channel that wins none, ``(K,)``.
        """
        result = np.full(len(self._voxels), np.nan)
        np.divide(self._chances, self._voxels, out=result, where=self._voxels > 0)
        return result

    def take(self, sums: torch.Tensor, weights: torch.Tensor) -> None:
        """Take the next planes; see `sliding_window.PlaneSink`.

        Raises:
            ModelError: A mean that is its voxel's largest is not finite: the sums were
                too large for half precision.
        """
        started = time.perf_counter()
        planes = _Planes(
            as_bits(sums.movedim(self._axis, 0).contiguous().cpu()),
            weights.movedim(self._axis, 0).contiguous().cpu().numpy(),
        )
        new = slice(self._held, self._held + len(planes.sums))
        self._find(planes, self._winners[new])
        self._write(planes, self._winners[: new.stop])
        self._before = planes.last()
        self._winners[0] = self._winners[new.stop - 1]
        self._low[self._axis] += new.stop - 1
        self._held = 1
        self.seconds += time.perf_counter() - started

    def _find(self, planes: _Planes, winners: npt.NDArray[np.uint8]) -> None:
        """Find the winners, and count how sure they are."""
        shape = (-1, 1, winners.shape[-1])
        sums = planes.sums.reshape(*shape, len(self._table))
        weights, found = planes.weights.reshape(shape), winners.reshape(shape)
        counts = np.zeros((len(sums), len(self._table)), dtype=np.int64)
        chances = np.zeros(counts.shape, dtype=np.float64)
        loop = winner_finder(str(planes.sums.dtype))

        def work(first: int, last: int) -> None:
            loop(sums, weights, found, counts, chances, first, last)

        over_slices(work, len(sums))
        if np.isnan(chances[:, 0]).any():
            raise ModelError(
                "the network's answers are too large for half precision, or are no"
                " numbers: its weights do not fit its plan, or are damaged. Where exact"
                " mode alone fails, fast mode adds up means, which are smaller"
            )
        self._voxels += counts.sum(axis=0)
        self._chances += chances.sum(axis=0)

    def _write(self, planes: _Planes, winners: npt.NDArray[np.uint8]) -> None:
        """Write the labels of the CT's voxels that lie among these planes."""
        held = np.zeros(3, dtype=np.int64)
        held[self._axis] = self._held
        before = self._before or _Planes(planes.sums[:0], planes.weights[:0])
        arrays = (before.sums, before.weights, planes.sums, planes.weights, winners)
        *logits, channels = (np.moveaxis(each, 0, self._axis) for each in arrays)
        shown = _spans(channels != 0)
        low = np.ascontiguousarray(self._low[::-1])
        loop = voxel_labeller(str(planes.sums.dtype))

        def work(first: int, last: int) -> None:
            loop(
                *logits,
                held,
                channels,
                shown,
                low,
                self._size,
                self._table,
                self._matrix,
                self._offset,
                self._reach,
                self._nearest,
                self.labels,
                first,
                last,
            )

        over_slices(work, len(self.labels))


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """Planes along a sweep's axis, which is the first of both arrays.

    Attributes:
        sums: Sums of logits, ``(planes, ..., K)``.
        weights: Sums of weights, ``(planes, ...)``.
    """

    sums: Stored
    weights: npt.NDArray[np.float32]

    def last(self) -> _Planes:
        """Return a copy of the last one."""
        return _Planes(self.sums[-1:].copy(), self.weights[-1:].copy())


def _spans(mask: Mask) -> npt.NDArray[np.int64]:
    """Return the first and last voxel of each row that is set, ``(z, y, 2)``."""
    count = mask.shape[-1]
    first, last = mask.argmax(axis=-1), count - 1 - mask[..., ::-1].argmax(axis=-1)
    empty = ~mask.any(axis=-1)
    first[empty], last[empty] = count, -1
    return np.stack([first, last], axis=-1)
