"""An MR on the CT's grid, computed slab by slab to save memory.

Only the box of the CT that the MR reaches is computed. ITK's own resampling holds the
result twice while it is copied out, and evaluates a spline at every voxel, which takes
minutes for a large CT. On the CT's grid a spline is a product of three small matrices
(see `Deformation.on_grid`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.motions import Motion, apply, inverse, to_transform
from hanseg_shared.grid import Grid
from hanseg_shared.itk import Interpolation, to_image
from hanseg_shared.volume import Volume, Voxels

SLAB_VOXELS = 2_000_000
"""Voxels of the result that are computed at a time; at least a slice."""


def resample_onto_grid(
    mr: Volume,
    grid: Grid,
    *,
    pose: Motion,
    deformation: Deformation | None = None,
    interpolation: Interpolation = Interpolation.LINEAR,
    background: float = 0.0,
) -> Volume:
    """Sample an MR at every voxel of the CT's grid.

    Args:
        mr: The MR, or where it has data.
        grid: The CT's.
        pose: ``mr_from_ct``, in mm LPS.
        deformation: What happens to a point of the CT before the pose; on the CT's
            axes.
        interpolation: Linear for images, nearest for masks.
        background: The value where the MR's box does not reach.

    Returns:
        A volume on `grid`: float32 if interpolated linearly, else of the MR's type.
    """
    image = to_image(mr)
    if interpolation is Interpolation.LINEAR:
        image = sitk.Cast(image, sitk.sitkFloat32)
    kind = sitk.GetArrayViewFromImage(image).dtype
    if deformation is None:
        start, part = _find_reached_box(grid, mr.grid, pose)
    else:
        start, part = (0, 0, 0), grid
    result = np.full(grid.shape, background, dtype=kind)
    x, y, z = (slice(a, a + n) for a, n in zip(start, part.size, strict=True))
    reached = result[z, y, x]
    for first, slab in _split_into_slabs(part):
        if deformation is None:
            sampled = _resample_rigidly(image, slab, pose, interpolation, background)
        else:
            field = _displacement_field(slab, pose, deformation)
            sampled = _warp(image, slab, field, interpolation, background)
        last = first + slab.size[2]
        reached[first:last] = sitk.GetArrayViewFromImage(sampled)
    return Volume(result, grid)


def _find_reached_box(
    grid: Grid, mr: Grid, pose: Motion
) -> tuple[tuple[int, int, int], Grid]:
    """Return the box of a CT's grid that an MR reaches: its first voxel and its grid.

    The MR's box is extended by a voxel on every side. Where it does not reach the CT,
    a single voxel is returned, which it does not reach either.
    """
    beyond = [(-1, n) for n in mr.size]
    corners = mr.index_to_world(list(itertools.product(*beyond)))
    index = grid.world_to_index(apply(inverse(pose), corners))
    last = np.array(grid.size) - 1
    low = np.clip(np.floor(index.min(axis=0)), 0, last).astype(int).tolist()
    high = np.clip(np.ceil(index.max(axis=0)), 0, last).astype(int).tolist()
    start = (low[0], low[1], low[2])
    x, y, z = (b - a + 1 for a, b in zip(low, high, strict=True))
    return start, grid.crop(start, (x, y, z))


def _split_into_slabs(grid: Grid) -> Iterator[tuple[int, Grid]]:
    """Yield the number of the first slice of each slab, and its grid."""
    x, y, slices = grid.size
    thick = max(1, SLAB_VOXELS // (x * y))
    for first in range(0, slices, thick):
        yield first, grid.crop((0, 0, first), (x, y, min(thick, slices - first)))


def _resample_rigidly(
    image: sitk.Image,
    slab: Grid,
    pose: Motion,
    interpolation: Interpolation,
    background: float,
) -> sitk.Image:
    return sitk.Resample(
        image,
        slab.size,
        to_transform(pose),
        interpolation.value,
        slab.origin,
        slab.spacing,
        np.array(slab.direction).ravel().tolist(),
        background,
        image.GetPixelID(),
    )


def _displacement_field(slab: Grid, pose: Motion, deformation: Deformation) -> Voxels:
    """Return the displacement of each voxel's centre into the MR, ``(z, y, x, 3)``."""
    displaced = deformation.on_grid(slab)
    away = (pose - np.eye(4)) @ slab.world_from_index
    x, y, z = (np.arange(n, dtype=np.float64) for n in slab.size)
    field = np.empty((*slab.shape, 3))
    for axis in range(3):
        turned = np.tensordot(pose[axis, :3], displaced, axes=1)
        along = away[axis]
        turned += (along[2] * z + along[3])[:, None, None]
        turned += (along[1] * y)[:, None] + along[0] * x
        field[..., axis] = turned
    return field


def _warp(
    image: sitk.Image,
    slab: Grid,
    field: Voxels,
    interpolation: Interpolation,
    background: float,
) -> sitk.Image:
    displacement = sitk.GetImageFromArray(field, isVector=True)
    direction = np.array(slab.direction).ravel().tolist()
    displacement.SetOrigin(slab.origin)
    displacement.SetSpacing(slab.spacing)
    displacement.SetDirection(direction)
    return sitk.Warp(
        image,
        displacement,
        interpolation.value,
        slab.size,
        slab.origin,
        slab.spacing,
        direction,
        background,
    )
