"""From images to network input exactly as nnU-Net v2 does it.

nnU-Net (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z) crops an image (see
`nnunet_frame`), normalises it, and only then resamples it by cubic splines; where
slices are much thicker than wide, slice by slice, the nearest one between them. The
same voxels come out here, but each axis' spline is one fixed matrix (see `splines`),
and only the part that is asked for is ever made: at 0.5 mm the whole would be the
largest array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32
from scipy import ndimage

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.nnunet_frame import ImageFrame, Slices
from hanseg_segmentation.inference.splines import (
    AxisOperator,
    cubic_operator,
    nearest_index,
    resample_last_axis,
    resample_plane,
)
from hanseg_segmentation.inference.tile_input import ChannelVoxels
from hanseg_segmentation.inference.tiling import Shape
from hanseg_segmentation.packages.package import ModelPackage, MrNormalisation, ZScore
from hanseg_shared.volume import Mask, Voxels

FloatVoxels = Float32[np.ndarray, "z y x"]
FloatLine = npt.NDArray[np.float32]

SMALLEST_DEVIATION = 1e-8
"""An image without contrast is divided by this, not by zero; nnU-Net's."""


@dataclass(frozen=True, slots=True, eq=False)
class ChannelImage:
    """One image on its way into the network: oriented and cropped, not yet resampled.

    Attributes:
        voxels: A view of the image, of any type.
        low: Values below count as this.
        high: Values above count as this.
        mean: What becomes 0.
        deviation: What becomes 1 above the mean.
        where: Voxels outside become 0 whatever they are; None for everywhere.
    """

    voxels: Voxels
    low: float = -np.inf
    high: float = np.inf
    mean: float = 0.0
    deviation: float = 1.0
    where: Mask | None = None

    def part(self, index: tuple[slice | int, ...]) -> npt.NDArray[np.float32]:
        """Return a part of the normalised image, float32."""
        values = self.voxels[index].astype(np.float32)
        np.clip(values, self.low, self.high, out=values)
        values -= np.float32(self.mean)
        values /= np.float32(max(self.deviation, SMALLEST_DEVIATION))
        if self.where is not None:
            values[~self.where[index]] = 0.0
        return values

    def bounds(self, axis: int) -> tuple[FloatLine, FloatLine]:
        """Return the smallest and the largest normalised value of each slice."""
        lows, highs = [], []
        for number in range(self.voxels.shape[axis]):
            index = (slice(None),) * axis + (number,)
            if self.where is None:
                low, high = self._extremes(self.voxels[index])
            else:
                plane = self.part(index)
                low, high = plane.min(), plane.max()
            lows.append(low)
            highs.append(high)
        return np.array(lows, np.float32), np.array(highs, np.float32)

    def _extremes(self, plane: Voxels) -> tuple[np.float32, np.float32]:
        """Return a plane's, without normalising it: that keeps the order of values."""
        ends = np.array([plane.min(), plane.max()])
        low, high = replace(self, voxels=ends, where=None).part((slice(None),))
        return low, high


class ImageInput:
    """An image set as a network's input, of which parts are made when asked for.

    See `tile_input.Source`.
    """

    def __init__(
        self,
        shape: Shape,
        channels: Sequence[ChannelImage | None],
        separate: int | None,
    ) -> None:
        """Take images that are oriented and cropped alike.

        Args:
            shape: To how many voxels they are resampled.
            channels: One for each of the network's; None for an image that is missing.
            separate: The axis along which the nearest slice is taken; None to
                interpolate along all of them.
        """
        self.shape, self.air = shape, (0.0,) * len(channels)
        self._channels = [
            None if each is None else _resample(each, shape, separate)
            for each in channels
        ]

    def part(self, low: Shape, high: Shape) -> ChannelVoxels:
        """Return the channels ``(C, z, y, x)`` from `low` to before `high`."""
        shape = tuple(b - a for a, b in zip(low, high, strict=True))
        result = np.zeros((len(self._channels), *shape), dtype=np.float32)
        for channel, target in zip(self._channels, result, strict=True):
            if channel is not None:
                channel.write(target, low)
        return result


def image_input(
    frame: ImageFrame, images: CaseImages, package: ModelPackage
) -> ImageInput:
    """Return the network's input, ``(C, *frame.shape)``.

    Args:
        frame: From `place_in`.
        images: The case's; a channel whose image is missing is 0.
        package: Names the channels and how they are normalised.
    """
    channels = [_channel(name, frame, images, package) for name in package.channels]
    return ImageInput(frame.shape, channels, frame.separate_axis)


def _channel(
    name: str, frame: ImageFrame, images: CaseImages, package: ModelPackage
) -> ChannelImage | None:
    image = images.of_channel(name)
    if image is None:
        return None
    voxels = frame.orient(image.array)
    if name == "ct":
        plan = package.normalisation.ct
        return ChannelImage(
            voxels, plan.low_hu, plan.high_hu, plan.mean_hu, plan.std_hu
        )
    if name == "field_of_view":
        return ChannelImage(voxels, low=0.0, high=1.0)
    return _mr_channel(voxels, frame, images, package)


def _mr_channel(
    voxels: Voxels, frame: ImageFrame, images: CaseImages, package: ModelPackage
) -> ChannelImage:
    plan = package.normalisation.mr
    if isinstance(plan, MrNormalisation):
        inside = _field_of_view(frame, images)
        tissue = inside & (frame.orient(images.ct.array) > plan.tissue_above_hu)
        mean, deviation = _moments(voxels, tissue if tissue.any() else inside)
        reach = plan.clip_sd * deviation
        return ChannelImage(voxels, mean - reach, mean + reach, mean, deviation, inside)
    where = _scope(plan, frame, images, package)
    mean, deviation = _moments(voxels, where)
    return ChannelImage(voxels, mean=mean, deviation=deviation, where=where)


def _scope(
    plan: ZScore, frame: ImageFrame, images: CaseImages, package: ModelPackage
) -> Mask | None:
    """Return where a z-score is taken; None for everywhere."""
    if plan.scope == "image":
        return None
    if plan.scope == "field_of_view":
        return _field_of_view(frame, images)
    nonzero = np.zeros(frame.cropped_shape, dtype=bool)
    for name in package.channels:
        image = images.of_channel(name)
        if image is not None:
            nonzero |= frame.orient(image.array) != 0
    filled: Mask = ndimage.binary_fill_holes(nonzero)
    return filled


def _field_of_view(frame: ImageFrame, images: CaseImages) -> Mask:
    if images.field_of_view is None:
        raise AssertionError("unreachable: an MR has a field of view")
    inside: Mask = frame.orient(images.field_of_view.array) != 0
    return inside


def _moments(voxels: Voxels, where: Mask | None) -> tuple[float, float]:
    """Return mean and deviation over a mask, plane by plane; 0 and 1 over nothing."""
    count, total, squares = 0, 0.0, 0.0
    for values in _planes(voxels, where):
        count += values.size
        total += float(values.sum())
    if count == 0:
        return 0.0, 1.0
    mean = total / count
    for values in _planes(voxels, where):
        squares += float(((values - mean) ** 2).sum())
    return mean, float(np.sqrt(squares / count))


def _planes(voxels: Voxels, where: Mask | None) -> Iterator[npt.NDArray[np.float64]]:
    for number, plane in enumerate(voxels):
        inside = plane if where is None else plane[where[number]]
        yield inside.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _AsItIs:
    """An image whose voxels are the network's."""

    channel: ChannelImage

    def write(self, target: FloatVoxels, low: Shape) -> None:
        """Write the part of `target`'s shape that begins at `low`."""
        target[:] = self.channel.part(_slices(low, target.shape))


@dataclass(frozen=True, slots=True, eq=False)
class _Cubic:
    """An image that is resampled by cubic splines along all axes.

    No value leaves the range of the image's own, `low` to `high`.
    """

    channel: ChannelImage
    shape: Shape
    low: float
    high: float

    def write(self, target: FloatVoxels, low: Shape) -> None:
        """Write the part of `target`'s shape that begins at `low`.

        In slabs along the middle axis, of which two fit beside the result.
        """
        through, along, across = _operators(self.channel, self.shape, target, low)
        for rows, used, matrix in along.blocks:
            first = along.source.start
            source = slice(first + used.start, first + used.stop)
            slab = self.channel.part((through.source, source, across.source))
            slab = np.matmul(matrix, resample_last_axis(slab, across))
            flat = slab.reshape(len(slab), -1)
            for planes, wanted, weights in through.blocks:
                part = (weights @ flat[wanted]).reshape(-1, *slab.shape[1:])
                np.clip(part, self.low, self.high, out=target[planes, rows])


@dataclass(frozen=True, slots=True, eq=False)
class _SliceBySlice:
    """An image that is resampled in its slices across `axis`, and the nearest taken.

    No value leaves the range of its slice's own, `low` to `high`.
    """

    channel: ChannelImage
    shape: Shape
    axis: int
    low: FloatLine
    high: FloatLine

    def write(self, target: FloatVoxels, low: Shape) -> None:
        """Write the part of `target`'s shape that begins at `low`."""
        operators = list(_operators(self.channel, self.shape, target, low))
        del operators[self.axis]
        written = np.moveaxis(target, self.axis, 0)
        size, count = self.channel.voxels.shape[self.axis], self.shape[self.axis]
        begin = low[self.axis]
        sources = nearest_index(size, count)[begin : begin + len(written)]
        for source in np.unique(sources):
            index: list[slice | int] = [each.source for each in operators]
            index.insert(self.axis, int(source))
            plane = self.channel.part(tuple(index))
            resampled = resample_plane(plane, *operators)
            np.clip(resampled, self.low[source], self.high[source], out=resampled)
            for number in np.flatnonzero(sources == source):
                written[number] = resampled


def _resample(
    channel: ChannelImage, shape: Shape, separate: int | None
) -> _AsItIs | _Cubic | _SliceBySlice:
    """Return an image on its way to a shape, as nnU-Net brings it there."""
    if channel.voxels.shape == shape:
        return _AsItIs(channel)
    lows, highs = channel.bounds(separate or 0)
    if separate is None:
        return _Cubic(channel, shape, float(lows.min()), float(highs.max()))
    return _SliceBySlice(channel, shape, separate, lows, highs)


def _operators(
    channel: ChannelImage, shape: Shape, target: FloatVoxels, low: Shape
) -> tuple[AxisOperator, AxisOperator, AxisOperator]:
    """Return what resamples each axis of a part, which begins at `low`."""
    z, y, x = (
        cubic_operator(size, count, first, first + edge)
        for size, count, first, edge in zip(
            channel.voxels.shape, shape, low, target.shape, strict=True
        )
    )
    return z, y, x


def _slices(low: Shape, shape: tuple[int, ...]) -> Slices:
    z, y, x = (slice(a, a + n) for a, n in zip(low, shape, strict=True))
    return z, y, x
