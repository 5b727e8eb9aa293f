"""3 x 3 x 3 convolutions with a quarter of the multiplications, on the CPU.

Of each plane 4 x 4 voxels at a time are computed from 36 products instead of 144:
Winograd's F(4 x 4, 3 x 3) (Lavin and Gray 2016, doi 10.1109/CVPR.2016.435; for 3D
images on processors, Budden et al. 2017, arXiv 1611.06565). Across planes it is a plain
sum of three. oneDNN, which PyTorch and OpenVINO compute with, does this for 2D images
only; here it is 1.2 to 2.8 times as fast (docs/lab/performance.md).

The result is float32's but for rounding: with features of deviation 1 it is off by up
to 1e-4, where two orders of a plain sum differ by 1e-6.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt
import torch

from hanseg_segmentation.compute.compiled import compiled, over_parts, teach, threads
from hanseg_segmentation.compute.winograd_code import (
    COLUMNS,
    ROWS,
    bring_in,
    multiply,
    take_out,
    teach_numba,
)

TILE = 4
"""Voxels along the edge of what is computed at a time."""

SEEN = TILE + 2
"""And of what it is computed from."""

NUMBERS = SEEN * SEEN
"""Products for each tile and pair of channels."""

TILES = 8
"""Tiles a thread has in hand: their numbers fit the processor's second cache."""

LANES = 16
"""Channels that are transformed at a time; half of them where they are no multiple."""

FLOAT = 4
"""Bytes of a float32."""

LEAST_ROW = 24
"""Input channels by planes of the kernel, of which a sum is made. With fewer,
transforming takes longer than it saves."""

LEAST_VOXELS = 2048
"""Below this the weights, which are four times as many afterwards, are not worth the
memory: such layers hold most of a network's weights and take little of its time."""

LEAST_PRODUCTS = 5e8
"""Products of a plain convolution below which starting threads takes too long."""

TASKS_A_THREAD = 8
"""Pieces a layer is cut into, so that threads end at about the same time."""

PARTS_A_TASK = 2
"""And parts of it that a piece has at least."""

WEIGHTS_TO_NUMBERS = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""The matrix G of F(4, 3)."""

SIGNATURE = (
    "void(float32[:,:,:,::1], float32[::1], float32[::1], float32[:,:,:,::1],"
    " float32[:,:,:,::1], float32[:,:,:,::1], int64, int64, int64, int64)"
)
"""Types `_convolve` is compiled for."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A layer's weights as they are multiplied with.

    Attributes:
        values: For each of the 36 numbers, and each block of `COLUMNS` outputs, a
            matrix ``(planes * inputs, columns)``; one after the other.
        bias: One for each output, ``(outputs,)``.
        inputs: Channels of the image.
        planes: Of the kernel, 1 or 3.
        widest: Columns of the widest block.
    """

    values: Floats
    bias: Floats
    inputs: int
    planes: int
    widest: int

    @classmethod
    def of(cls, weight: torch.Tensor, bias: torch.Tensor | None) -> Weights:
        """Return a layer's weights, transformed.

        Args:
            weight: ``(outputs, inputs, 1 or 3, 3, 3)``.
            bias: ``(outputs,)``, or None.
        """
        outputs, inputs, planes = weight.shape[:3]
        to = WEIGHTS_TO_NUMBERS
        kernels = weight.detach().double().cpu().numpy()
        numbers = np.einsum("ia,jb,ocpab->ijpco", to, to, kernels, optimize=True)
        matrices = numbers.reshape(NUMBERS, planes * inputs, outputs)
        widest = widest_columns()
        ends = np.cumsum([0, *_blocks(outputs, widest)])
        parts = [
            matrices[:, :, first:last].reshape(NUMBERS, -1)
            for first, last in itertools.pairwise(ends)
        ]
        shifts = np.zeros(outputs) if bias is None else bias.detach().cpu().numpy()
        return cls(
            np.concatenate(parts, axis=1).astype(np.float32).ravel(),
            np.ascontiguousarray(shifts, dtype=np.float32),
            inputs,
            planes,
            widest,
        )


def fits(images: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether images ``(N, C, D, H, W)`` and a layer's weights are worth it.

    The layer's stride must be 1, its padding half its kernel.
    """
    outputs, inputs, planes, *plane = weight.shape
    least = COLUMNS[-1]
    voxels = math.prod(images.shape[2:])
    return (
        plane == [3, 3]
        and planes in (1, 3)
        and inputs * planes >= LEAST_ROW
        and outputs % least == inputs % least == 0
        and voxels >= LEAST_VOXELS
        and voxels * weight.numel() >= LEAST_PRODUCTS
        and images.is_contiguous(memory_format=torch.channels_last_3d)
    )


def convolve(images: torch.Tensor, weights: Weights) -> torch.Tensor:
    """Return the convolution with zeros around the images, of the images' size.

    Args:
        images: float32 ``(N, C, D, H, W)``, channels-last in memory, on the CPU.
        weights: The layer's.

    Returns:
        float32 ``(N, K, D, H, W)``, channels-last in memory.
    """
    count, _, depth, height, width = images.shape
    found = torch.empty(
        (count, len(weights.bias), depth, height, width),
        memory_format=torch.channels_last_3d,
    )
    loop = _loop()
    tiles = math.ceil(height / TILE) * math.ceil(width / TILE)
    parts = math.ceil(depth / ROWS) * math.ceil(tiles / TILES)
    tasks = min(parts // PARTS_A_TASK, TASKS_A_THREAD * threads())
    tasks = max(tasks, min(parts, threads()))
    ends = [parts * task // tasks for task in range(tasks + 1)]
    rooms: SimpleQueue[_Room] = SimpleQueue()
    for _ in range(threads()):
        rooms.put(_Room.of(weights))
    for image, result in zip(_arrays(images), _arrays(found), strict=True):
        over_parts(_Work(loop, image, weights, result, rooms), ends)
    return found


@functools.cache
def widest_columns() -> int:
    """Return the most columns whose products this processor's registers hold."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return COLUMNS[0] if features.get("avx512f") else COLUMNS[-1]


def _arrays(images: torch.Tensor) -> list[Floats]:
    """Return each image's memory, ``(D, H, W, C)``."""
    return list(images.permute(0, 2, 3, 4, 1).numpy())


def _blocks(outputs: int, widest: int) -> list[int]:
    """Return how many columns each block of the outputs has; `_convolve` does alike."""
    blocks = []
    while outputs:
        blocks.append(max(n for n in COLUMNS if n <= min(outputs, widest)))
        outputs -= blocks[-1]
    return blocks


@dataclass(frozen=True, slots=True, eq=False)
class _Room:
    """A thread's memory for what it has in hand.

    Attributes:
        numbers: ``(36, tiles, planes, inputs)``.
        products: ``(36, tiles, rows, outputs)``.
    """

    numbers: Floats
    products: Floats

    @classmethod
    def of(cls, weights: Weights) -> _Room:
        planes = ROWS + weights.planes - 1
        numbers = (NUMBERS, TILES, planes, weights.inputs)
        products = (NUMBERS, TILES, ROWS, len(weights.bias))
        return cls(np.empty(numbers, np.float32), np.empty(products, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Computes some parts of an image's convolution, in room that is free."""

    loop: Callable[..., None]
    image: Floats
    weights: Weights
    result: Floats
    rooms: SimpleQueue[_Room]

    def __call__(self, first: int, last: int) -> None:
        room, weights = self.rooms.get(), self.weights
        try:
            self.loop(
                self.image,
                weights.values,
                weights.bias,
                self.result,
                room.numbers,
                room.products,
                weights.planes,
                weights.widest,
                first,
                last,
            )
        finally:
            self.rooms.put(room)


@functools.cache
def _loop() -> Callable[..., None]:
    teach_numba()
    teach(_copy_border, _transform_tile, _multiply_tiles, _copy_inside, _write_tile)
    return compiled(_convolve, SIGNATURE)


def _convolve(image, values, bias, result, numbers, products, taps, wide, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled, so loops are spelt out
    """Compute some parts of a layer: 8 tiles of 8 planes each.

    A tile's numbers lie plane after plane, so that the planes a result is made of are
    one row, and eight overlapping rows are multiplied at once.

    Args:
        image: ``(D, H, W, C)``.
        values: See `Weights`.
        bias: See there.
        result: ``(D, H, W, K)``, written.
        numbers: See `_Room`.
        products: See there.
        taps: Planes of the kernel.
        wide: Columns of the widest block of weights.
        first: The first part.
        last: The part after the last one.
    """
    _, height, width, _ = image.shape
    columns = (width + TILE - 1) // TILE
    tiles = columns * ((height + TILE - 1) // TILE)
    groups = (tiles + TILES - 1) // TILES
    seen = np.zeros((SEEN, SEEN, LANES), np.float32)
    made = np.empty((TILE, TILE, LANES), np.float32)
    for part in range(first, last):
        low = part // groups * ROWS
        start = part % groups * TILES
        count = min(TILES, tiles - start)
        for t in range(count):
            y = (start + t) // columns * TILE
            x = (start + t) % columns * TILE
            _transform_tile(image, numbers, seen, taps, t, low, y - 1, x - 1)
        _multiply_tiles(values, numbers, products, taps, wide, count)
        for t in range(count):
            y = (start + t) // columns * TILE
            x = (start + t) % columns * TILE
            _write_tile(result, products, bias, made, t, low, y, x)


def _transform_tile(image, numbers, seen, taps, t, low, y, x):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled
    """Transform what one tile is computed from, all its planes and channels.

    Args:
        image: ``(D, H, W, C)``.
        numbers: See `_Room`; those of tile `t` are written.
        seen: Room for one tile at the image's border, ``(6, 6, LANES)``.
        taps: Planes of the kernel.
        t: The tile's number in the part.
        low: First plane of the part's results.
        y: First row of what the tile sees; -1 at the border.
        x: First column.
    """
    depth, height, width, inputs = image.shape
    planes = ROWS + taps - 1
    step = FLOAT * TILES * planes * inputs
    lanes = LANES if inputs % LANES == 0 else LANES // 2
    inside = y >= 0 and x >= 0 and y + SEEN <= height and x + SEEN <= width
    for plane in range(planes):
        z = low + plane - taps // 2
        if z < 0 or z >= depth:
            numbers[:, t, plane, :] = 0
            continue
        to = np.int64(numbers.ctypes.data) + FLOAT * (t * planes + plane) * inputs
        for c in range(0, inputs, lanes):
            if inside:
                place = ((z * height + y) * width + x) * inputs + c
                at = np.int64(image.ctypes.data) + FLOAT * place
                row, column = FLOAT * width * inputs, FLOAT * inputs
            else:
                _copy_border(image, seen, lanes, z, y, x, c)
                at = np.int64(seen.ctypes.data)
                row, column = FLOAT * SEEN * LANES, FLOAT * LANES
            bring_in(lanes, at, row, column, to + FLOAT * c, step)


def _copy_border(image, seen, lanes, z, y, x, c):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled
    """Copy what a tile at the border sees of some channels, with zeros beyond it."""
    _, height, width, _ = image.shape
    for i in range(SEEN):
        for j in range(SEEN):
            there = 0 <= y + i < height and 0 <= x + j < width
            for lane in range(lanes):
                seen[i, j, lane] = image[z, y + i, x + j, c + lane] if there else 0


def _multiply_tiles(values, numbers, products, taps, wide, count):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled
    """Multiply the numbers of some tiles with the layer's weights.

    Args:
        values: See `Weights`.
        numbers: See `_Room`.
        products: See there; written.
        taps: Planes of the kernel.
        wide: Columns of the widest block of weights.
        count: How many tiles.
    """
    inputs, outputs = numbers.shape[3], products.shape[3]
    planes = ROWS + taps - 1
    step_in = FLOAT * TILES * planes * inputs
    step_out = FLOAT * TILES * ROWS * outputs
    at_numbers = np.int64(numbers.ctypes.data)
    at_products = np.int64(products.ctypes.data)
    for k in range(NUMBERS):
        matrix = np.int64(values.ctypes.data) + FLOAT * k * taps * inputs * outputs
        done = 0
        while done < outputs:
            rest = min(outputs - done, wide)
            block = 32 if rest >= 32 else 16 if rest >= 16 else 8
            for t in range(count):
                rows = at_numbers + k * step_in + FLOAT * t * planes * inputs
                to = at_products + k * step_out + FLOAT * (t * ROWS * outputs + done)
                multiply(
                    block,
                    rows,
                    FLOAT * inputs,
                    matrix,
                    taps * inputs,
                    to,
                    FLOAT * outputs,
                )
            matrix += FLOAT * taps * inputs * block
            done += block


def _write_tile(result, products, bias, made, t, low, y, x):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled
    """Transform one tile's products back and write its voxels, all planes and channels.

    Args:
        result: ``(D, H, W, K)``, written.
        products: See `_Room`.
        bias: One for each output.
        made: Room for one tile at the image's border, ``(4, 4, LANES)``.
        t: The tile's number in the part.
        low: First plane of the part's results.
        y: The tile's first row.
        x: The tile's first column.
    """
    depth, height, width, outputs = result.shape
    step = FLOAT * TILES * ROWS * outputs
    lanes = LANES if outputs % LANES == 0 else LANES // 2
    inside = y + TILE <= height and x + TILE <= width
    for plane in range(min(ROWS, depth - low)):
        for c in range(0, outputs, lanes):
            number = (t * ROWS + plane) * outputs + c
            found = np.int64(products.ctypes.data) + FLOAT * number
            shift = np.int64(bias.ctypes.data) + FLOAT * c
            if inside:
                place = (((low + plane) * height + y) * width + x) * outputs + c
                at = np.int64(result.ctypes.data) + FLOAT * place
                row, column = FLOAT * width * outputs, FLOAT * outputs
            else:
                at = np.int64(made.ctypes.data)
                row, column = FLOAT * TILE * LANES, FLOAT * LANES
            take_out(lanes, found, step, shift, at, row, column)
            if not inside:
                _copy_inside(made, result, lanes, low + plane, y, x, c)


def _copy_inside(made, result, lanes, z, y, x, c):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - compiled
    """Copy what lies inside the image of a tile at its border, some channels."""
    _, height, width, _ = result.shape
    for i in range(min(TILE, height - y)):
        for j in range(min(TILE, width - x)):
            for lane in range(lanes):
                result[z, y + i, x + j, c + lane] = made[i, j, lane]
