"""Volumes made small enough to register: centred, shrunk, and on LPS axes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from hanseg_shared.grid import Grid, Points, Vector
from hanseg_shared.itk import from_image, resample, to_image
from hanseg_shared.volume import Volume


def centre_at_origin(volume: Volume) -> Volume:
    """Return the volume moved so that its grid's centre is the point (0, 0, 0).

    The new origin is computed without the old one, so that two volumes that differ
    only in their origins become identical, to the last bit.
    """
    grid = volume.grid
    at_zero = Grid(grid.size, grid.spacing, direction=grid.direction)
    x, y, z = (-float(v) for v in at_zero.centre)
    return Volume(
        volume.array, Grid(grid.size, grid.spacing, (x, y, z), grid.direction)
    )


def shrink(volume: Volume, spacing_mm: float) -> Volume:
    """Return the volume with voxels averaged in blocks, up to about `spacing_mm`.

    An axis whose voxels are already larger than half of `spacing_mm` is left alone,
    so nothing is interpolated and hardly any detail that the spacing could show is
    lost.
    """
    factors = [max(1, int(spacing_mm / s + 1e-3)) for s in volume.grid.spacing]
    factors = [min(f, n) for f, n in zip(factors, volume.grid.size, strict=True)]
    if max(factors) == 1:
        return volume
    return from_image(sitk.BinShrink(to_image(volume), factors))


def as_float(volume: Volume) -> Volume:
    """Return the volume with 32-bit floating-point voxels."""
    return volume.with_array(volume.array.astype(np.float32, copy=False))


def resample_to_lps(volume: Volume, spacing_mm: float, *, background: float) -> Volume:
    """Return the whole volume on an LPS-aligned grid of cubes of `spacing_mm`."""
    small = as_float(shrink(volume, spacing_mm))
    cube: Vector = (spacing_mm, spacing_mm, spacing_mm)
    grid = Grid.axis_aligned(small.grid.corners(), spacing=cube)
    return resample(small, grid, background=background)


def crop_to_box(
    volume: Volume, low: Points, high: Points, *, margin_mm: float
) -> Volume:
    """Return the voxels that cover a box of the patient (mm LPS) and a margin.

    The voxels stay where they are; nothing is interpolated.
    """
    box = Grid.axis_aligned([low, high], spacing=(1.0, 1.0, 1.0), margin_mm=margin_mm)
    index = volume.grid.world_to_index(box.corners())
    last = np.array(volume.grid.size) - 1
    first = np.clip(np.floor(index.min(axis=0)), 0, last).astype(int)
    final = np.clip(np.ceil(index.max(axis=0)), 0, last).astype(int)
    x, y, z = (slice(a, b + 1) for a, b in zip(first, final, strict=True))
    start = (int(first[0]), int(first[1]), int(first[2]))
    size = tuple(int(n) for n in final - first + 1)
    grid = volume.grid.crop(start, (size[0], size[1], size[2]))
    return Volume(np.ascontiguousarray(volume.array[z, y, x]), grid)


def look_up(
    volume: Volume, points: Points
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return a volume's values at points in mm LPS, and which points lie in it."""
    index = volume.grid.world_to_index(points)
    limits = np.array(volume.grid.size) - 0.5
    inside = np.all((index >= -0.5) & (index <= limits), axis=1)
    values = ndimage.map_coordinates(
        volume.array, index[:, ::-1].T, order=1, mode="nearest", output=np.float64
    )
    return values, np.asarray(inside, dtype=np.bool_)
