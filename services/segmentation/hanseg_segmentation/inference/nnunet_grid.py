"""From images to network input exactly as nnU-Net v2 does it, and the way back.

nnU-Net (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z) works on the image's own
axes: it crops to what is not 0, normalises, and only then resamples by cubic splines;
where slices are much thicker than wide, slice by slice, the nearest one between them.
The same voxels come out here, but each axis' spline is one fixed matrix, and only the
part that is asked for is ever made: at 0.5 mm the whole would be the largest array.

Images are turned to the nearest axes of the patient first, by flips and permutations,
so that left is left however a scanner stored it: towards the sides that the model's
``orientation`` names. Arrays are in the network's order of axes, which is (z, y, x)
unless the model's ``transpose`` says otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32
from scipy import ndimage

from hanseg_segmentation.inference.tile_input import ChannelVoxels
from hanseg_segmentation.inference.tiling import Shape, Worth
from hanseg_segmentation.packages.package import (
    LPS,
    PATIENT_AXES,
    ModelPackage,
    MrNormalisation,
    ZScore,
)
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.volume import Mask, Volume, Voxels

FloatVoxels = Float32[np.ndarray, "z y x"]
FloatLine = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]
Slices = tuple[slice, slice, slice]
T = TypeVar("T")

SMALLEST_DEVIATION = 1e-8
"""An image without contrast is divided by this, not by zero; nnU-Net's."""

SPLINE_MARGIN = 12
"""Voxels by which the edge is continued before the spline is fitted; SciPy's."""

NEGLIGIBLE_WEIGHT = 1e-8
"""Weights of a spline below this are left out: its influence falls to a quarter from
voxel to voxel, so that a block of a matrix is narrow."""

ROWS_AT_ONCE = 96
"""Voxels along an axis that are resampled together."""

BLOCK = 4
"""Edge, in voxels of the image, of the blocks that are air or not."""


@dataclass(frozen=True, slots=True)
class ImageFrame:
    """Where the network's voxels lie in an image.

    Attributes:
        axes: Axis of the image's array (z, y, x) = (0, 1, 2) along each network axis.
        flipped: Whether the network's axis runs against the image's.
        box: What the crop leaves of the turned image.
        shape: Number of the network's voxels along its axes.
        spacing_mm: Of the turned image, along the network's axes.
        model_spacing_mm: Of the model, along the network's axes.
        image_shape: Of the turned image, before the crop.
        separate_above: Where images are resampled slice by slice; see `ModelPackage`.
        separate_above_back: The same for logits.
    """

    axes: Shape
    flipped: tuple[bool, bool, bool]
    box: Slices
    shape: Shape
    spacing_mm: Vector
    model_spacing_mm: Vector
    image_shape: Shape
    separate_above: float | None
    separate_above_back: float | None

    @property
    def cropped_shape(self) -> Shape:
        """Number of voxels that the crop leaves of the turned image."""
        z, y, x = (part.stop - part.start for part in self.box)
        return z, y, x

    @property
    def separate_axis(self) -> int | None:
        """The network's axis along which images are not interpolated, if any."""
        return separate_axis(
            self.spacing_mm, self.model_spacing_mm, above=self.separate_above
        )

    @property
    def separate_axis_back(self) -> int | None:
        """The network's axis along which logits are not interpolated, if any."""
        return separate_axis(
            self.model_spacing_mm, self.spacing_mm, above=self.separate_above_back
        )

    def turned(self, array: Voxels) -> Voxels:
        """Return a view of an image's array, turned and cropped."""
        return _turned(array, self.axes, self.flipped)[self.box]

    @property
    def network_from_image(self) -> Matrix:
        """Homogeneous matrix from image indices (x, y, z) to the network's.

        The network's are in the reverse of its order of axes, so that they are
        (x, y, z) where nothing is transposed. Voxels' faces, not their centres, meet
        at the borders of the crop, as in scikit-image's ``resize``.
        """
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1.0
        for axis in range(3):
            scale = self.shape[axis] / self.cropped_shape[axis]
            first = self.box[axis].start
            row, column = 2 - axis, 2 - self.axes[axis]
            if self.flipped[axis]:
                matrix[row, column] = -scale
                first = first - (self.image_shape[axis] - 1)
            else:
                matrix[row, column] = scale
            matrix[row, 3] = (0.5 - first) * scale - 0.5
        return matrix

    def grid(self, image: Grid) -> Grid:
        """Return where the network's voxels are; not always right-handed."""
        matrix = image.world_from_index @ np.linalg.inv(self.network_from_image)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        direction = matrix[:3, :3] / spacing
        z, y, x = self.shape
        rows = tuple(tuple(float(value) for value in row) for row in direction)
        return Grid((x, y, z), _three(spacing), _three(matrix[:3, 3]), rows)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """One image on its way into the network: turned and cropped, not yet resampled.

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


def place_in(grid: Grid, images: Sequence[Voxels], package: ModelPackage) -> ImageFrame:
    """Return where a network's voxels lie in images that share a grid.

    Args:
        grid: The images', of any orientation.
        images: Every image that the network sees; what is 0 in all is cropped away.
        package: The model.

    Raises:
        ImageContentError: All images hold nothing but 0.
    """
    turned_axes, flips = _turned_axes(grid, package.orientation)
    axes = _three_of(turned_axes[axis] for axis in package.transpose)
    flipped = _three_of(flips[axis] for axis in package.transpose)
    turned = [_turned(image, axes, flipped) for image in images]
    box = _nonzero_box(turned)
    spacing = _three(np.array([grid.spacing[2 - axis] for axis in axes]))
    model = _three(np.array([package.spacing_mm[2 - a] for a in package.transpose]))
    shape = _three_of(
        max(1, round(s / m * (part.stop - part.start)))
        for s, m, part in zip(spacing, model, box, strict=True)
    )
    image_shape: Shape = _three_of(turned[0].shape)
    return ImageFrame(
        axes,
        flipped,
        box,
        shape,
        spacing,
        model,
        image_shape,
        package.separate_above,
        package.separate_above_back,
    )


class ImageInput:
    """An image set as a network's input, of which parts are made when asked for.

    See `tile_input.Source`.
    """

    def __init__(
        self, shape: Shape, channels: Sequence[Channel | None], separate: int | None
    ) -> None:
        """Take images that are turned and cropped alike.

        Args:
            shape: To how many voxels they are resampled.
            channels: One for each of the network's; None for an image that is missing.
            separate: The axis along which the nearest slice is taken; None to
                interpolate along all of them.
        """
        self.shape, self.air = shape, (0.0,) * len(channels)
        self._channels = [
            None if each is None else _resampled(each, shape, separate)
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
    frame: ImageFrame,
    ct: Volume,
    mr: Volume | None,
    field_of_view: Volume | None,
    *,
    package: ModelPackage,
) -> ImageInput:
    """Return the network's input, ``(C, *frame.shape)``.

    Args:
        frame: From `place_in`.
        ct: In HU.
        mr: On the CT's grid; None leaves its channel 0.
        field_of_view: Not 0 where the MR has data; None together with `mr`.
        package: Names the channels and how they are normalised.
    """
    given = {"ct": ct, "mr": mr, "field_of_view": field_of_view}
    channels = [
        None
        if given[name] is None
        else _channel(name, frame, ct, mr, field_of_view, package)
        for name in package.channels
    ]
    return ImageInput(frame.shape, channels, frame.separate_axis)


def worth_above(frame: ImageFrame, ct: Volume, hu: float) -> Worth:
    """Return where a CT has voxels above some HU, on the network's grid.

    Blocks next to such a voxel count as well, since a spline reaches two voxels far.
    """
    voxels = frame.turned(ct.array)
    counts = [-(-edge // BLOCK) for edge in voxels.shape]
    blocks = np.zeros(counts, dtype=bool)
    for number in range(len(voxels)):
        plane = np.zeros((counts[1] * BLOCK, counts[2] * BLOCK), dtype=bool)
        plane[: voxels.shape[1], : voxels.shape[2]] = voxels[number] > hu
        tiles = plane.reshape(counts[1], BLOCK, counts[2], BLOCK)
        blocks[number // BLOCK] |= tiles.any(axis=(1, 3))
    around = ndimage.binary_dilation(blocks, np.ones((3, 3, 3), dtype=bool))
    z, y, x = (
        BLOCK * new / old
        for new, old in zip(frame.shape, frame.cropped_shape, strict=True)
    )
    return Worth(around, (z, y, x))


def separate_axis(current: Vector, new: Vector, *, above: float | None) -> int | None:
    """Return the axis that nnU-Net does not interpolate along; None if there is none.

    It is the axis of the largest spacing of the first of both whose spacings are
    further apart than `above`, None for never; two such axes are none.
    """
    if above is None:
        return None
    for spacing in (current, new):
        if max(spacing) / min(spacing) > above:
            largest = [axis for axis in range(3) if max(spacing) / spacing[axis] == 1]
            return largest[0] if len(largest) == 1 else None
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """What resamples a part of an axis: blocks of a matrix, which is narrow.

    Attributes:
        source: The voxels that it takes.
        blocks: Rows and columns, counted from the first of each part, and the matrix.
    """

    source: slice
    blocks: tuple[tuple[slice, slice, npt.NDArray[np.float32]], ...]


@functools.lru_cache(maxsize=16)
def cubic_operator(size: int, count: int, first: int, last: int) -> Resampling:
    """Return what resamples an axis of `size` voxels to `count`, by cubic splines.

    The faces of the outermost voxels meet, and the edge is continued, as in SciPy's
    ``zoom(order=3, mode="nearest", grid_mode=True)``.

    Args:
        size: Voxels there are.
        count: Voxels wanted.
        first: The first one of the part.
        last: One after its last one.
    """
    matrix = _cubic_matrix(size, count)[first:last]
    parts = []
    for begin in range(0, len(matrix), ROWS_AT_ONCE):
        rows = slice(begin, min(begin + ROWS_AT_ONCE, len(matrix)))
        used = np.flatnonzero((np.abs(matrix[rows]) > NEGLIGIBLE_WEIGHT).any(axis=0))
        parts.append((rows, int(used[0]), int(used[-1]) + 1))
    low, high = min(part[1] for part in parts), max(part[2] for part in parts)
    return Resampling(
        slice(low, high),
        tuple(
            (rows, slice(a - low, b - low), np.ascontiguousarray(matrix[rows, a:b]))
            for rows, a, b in parts
        ),
    )


def nearest_index(size: int, count: int) -> npt.NDArray[np.intp]:
    """Return which of `size` slices each of `count` is, as nnU-Net's ``order_z=0``."""
    scale = float(size) / count
    at = scale * (np.arange(count) + 0.5) - 0.5
    return np.clip(np.floor(at + 0.5), 0, size - 1).astype(np.intp)


def _channel(
    name: str,
    frame: ImageFrame,
    ct: Volume,
    mr: Volume | None,
    field_of_view: Volume | None,
    package: ModelPackage,
) -> Channel:
    if name == "ct":
        plan = package.normalisation.ct
        return Channel(
            frame.turned(ct.array),
            plan.low_hu,
            plan.high_hu,
            plan.mean_hu,
            plan.std_hu,
        )
    if mr is None or field_of_view is None:
        raise AssertionError(f"there is no image for the channel {name}")
    if name == "field_of_view":
        return Channel(frame.turned(field_of_view.array), low=0.0, high=1.0)
    return _mr_channel(frame, ct, mr, field_of_view, package)


def _mr_channel(
    frame: ImageFrame,
    ct: Volume,
    mr: Volume,
    field_of_view: Volume,
    package: ModelPackage,
) -> Channel:
    plan = package.normalisation.mr
    voxels = frame.turned(mr.array)
    if isinstance(plan, MrNormalisation):
        inside = frame.turned(field_of_view.array) != 0
        tissue = inside & (frame.turned(ct.array) > plan.tissue_above_hu)
        mean, deviation = _moments(voxels, tissue if tissue.any() else inside)
        reach = plan.clip_sd * deviation
        return Channel(voxels, mean - reach, mean + reach, mean, deviation, inside)
    where = _scope(plan, frame, ct, mr, field_of_view, package)
    mean, deviation = _moments(voxels, where)
    return Channel(voxels, mean=mean, deviation=deviation, where=where)


def _scope(
    plan: ZScore,
    frame: ImageFrame,
    ct: Volume,
    mr: Volume,
    field_of_view: Volume,
    package: ModelPackage,
) -> Mask | None:
    """Return where a z-score is taken; None for everywhere."""
    if plan.scope == "image":
        return None
    if plan.scope == "field_of_view":
        inside: Mask = frame.turned(field_of_view.array) != 0
        return inside
    given = {"ct": ct, "mr": mr, "field_of_view": field_of_view}
    nonzero = np.zeros(frame.cropped_shape, dtype=bool)
    for name in package.channels:
        nonzero |= frame.turned(given[name].array) != 0
    filled: Mask = ndimage.binary_fill_holes(nonzero)
    return filled


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

    channel: Channel

    def write(self, target: FloatVoxels, low: Shape) -> None:
        """Write the part of `target`'s shape that begins at `low`."""
        target[:] = self.channel.part(_slices(low, target.shape))


@dataclass(frozen=True, slots=True, eq=False)
class _Cubic:
    """An image that is resampled by cubic splines along all axes.

    No value leaves the range of the image's own, `low` to `high`.
    """

    channel: Channel
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
            slab = np.matmul(matrix, _along_last(slab, across))
            flat = slab.reshape(len(slab), -1)
            for planes, wanted, weights in through.blocks:
                part = (weights @ flat[wanted]).reshape(-1, *slab.shape[1:])
                np.clip(part, self.low, self.high, out=target[planes, rows])


@dataclass(frozen=True, slots=True, eq=False)
class _SliceBySlice:
    """An image that is resampled in its slices across `axis`, and the nearest taken.

    No value leaves the range of its slice's own, `low` to `high`.
    """

    channel: Channel
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
            resampled = _resample_plane(plane, *operators)
            np.clip(resampled, self.low[source], self.high[source], out=resampled)
            for number in np.flatnonzero(sources == source):
                written[number] = resampled


def _resampled(
    channel: Channel, shape: Shape, separate: int | None
) -> _AsItIs | _Cubic | _SliceBySlice:
    """Return an image on its way to a shape, as nnU-Net brings it there."""
    if channel.voxels.shape == shape:
        return _AsItIs(channel)
    lows, highs = channel.bounds(separate or 0)
    if separate is None:
        return _Cubic(channel, shape, float(lows.min()), float(highs.max()))
    return _SliceBySlice(channel, shape, separate, lows, highs)


def _operators(
    channel: Channel, shape: Shape, target: FloatVoxels, low: Shape
) -> tuple[Resampling, Resampling, Resampling]:
    """Return what resamples each axis of a part, which begins at `low`."""
    z, y, x = (
        cubic_operator(size, count, first, first + edge)
        for size, count, first, edge in zip(
            channel.voxels.shape, shape, low, target.shape, strict=True
        )
    )
    return z, y, x


def _resample_plane(
    plane: npt.NDArray[np.float32], along: Resampling, across: Resampling
) -> npt.NDArray[np.float32]:
    wide = _along_last(plane, across)
    result = np.empty((along.blocks[-1][0].stop, wide.shape[1]), dtype=np.float32)
    for rows, used, matrix in along.blocks:
        np.matmul(matrix, wide[used], out=result[rows])
    return result


def _along_last(
    values: npt.NDArray[np.float32], operator: Resampling
) -> npt.NDArray[np.float32]:
    count = operator.blocks[-1][0].stop
    result = np.empty((*values.shape[:-1], count), dtype=np.float32)
    for rows, used, matrix in operator.blocks:
        np.matmul(values[..., used], matrix.T, out=result[..., rows])
    return result


@functools.lru_cache(maxsize=6)
def _cubic_matrix(size: int, count: int) -> npt.NDArray[np.float32]:
    """Return the whole matrix ``(count, size)`` of `cubic_operator`."""
    if size == count:
        return np.eye(size, dtype=np.float32)
    unit = np.pad(np.eye(size), ((SPLINE_MARGIN, SPLINE_MARGIN), (0, 0)), mode="edge")
    knots = ndimage.spline_filter1d(unit, order=3, axis=0, mode="nearest")
    at = (np.arange(count) + 0.5) * (size / count) - 0.5 + SPLINE_MARGIN
    first = np.floor(at).astype(np.intp) - 1
    matrix = np.zeros((count, size))
    for step in range(4):
        matrix += _cubic_weight(at - (first + step))[:, None] * knots[first + step]
    return matrix.astype(np.float32)


def _cubic_weight(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the cubic B-spline at some distance from its knot."""
    away = np.abs(distance)
    near = 2 / 3 - away**2 + away**3 / 2
    return np.where(away < 1, near, np.maximum(2 - away, 0) ** 3 / 6)


def _turned_axes(grid: Grid, orientation: str) -> tuple[Shape, tuple[bool, bool, bool]]:
    """Return the image's axes that are turned to z, y and x, and their flips.

    Args:
        grid: The image's.
        orientation: Towards which sides x, y and z are to run, such as ``RAS``.
    """
    nearest = _nearest_axes(grid)
    axes, flips = [0, 0, 0], [False, False, False]
    for number, side in enumerate(orientation):
        own, against = nearest[PATIENT_AXES[side]]
        axes[2 - number] = 2 - own
        flips[2 - number] = against != (side not in LPS)
    return _three_of(axes), _three_of(flips)


def _nearest_axes(grid: Grid) -> dict[str, tuple[int, bool]]:
    """Return the image's axis nearest to each of the patient's, and if it runs against.

    The pair that agrees best is chosen first, as ITK's ``DICOMOrient`` and nibabel's
    ``io_orientation`` do.
    """
    direction = np.array(grid.direction)
    left = np.abs(direction)
    found = {}
    for _ in range(3):
        patient, own = np.unravel_index(int(left.argmax()), left.shape)
        found["xyz"[patient]] = (int(own), bool(direction[patient, own] < 0))
        left[patient, :] = left[:, own] = -1.0
    return found


def _turned(array: Voxels, axes: Shape, flipped: tuple[bool, bool, bool]) -> Voxels:
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flipped)
    turned: Voxels = array.transpose(axes)[steps]
    return turned


def _nonzero_box(images: Sequence[Voxels]) -> Slices:
    """Return the box around everything that is not 0 in every image."""
    box = []
    for axis, size in enumerate(images[0].shape):
        first = _first_nonzero(images, axis, range(size))
        if first is None:
            raise ImageContentError("the CT holds nothing but 0: it shows nothing")
        last = _first_nonzero(images, axis, range(size - 1, -1, -1))
        box.append(slice(first, first + 1 if last is None else last + 1))
    z, y, x = box
    return z, y, x


def _first_nonzero(images: Sequence[Voxels], axis: int, numbers: range) -> int | None:
    for number in numbers:
        index = (slice(None),) * axis + (number,)
        if any(image[index].any() for image in images):
            return number
    return None


def _slices(low: Shape, shape: tuple[int, ...]) -> Slices:
    z, y, x = (slice(a, a + n) for a, n in zip(low, shape, strict=True))
    return z, y, x


def _three(values: npt.NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _three_of(values: Iterable[T]) -> tuple[T, T, T]:
    one, two, three = values
    return one, two, three
