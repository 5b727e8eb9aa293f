"""Volumes as SimpleITK images, and resampling between grids.

ITK, like everything here, works in LPS millimetres, so nothing is flipped.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813

from hanseg_shared.grid import Grid, Matrix, Vector
from hanseg_shared.volume import Volume


class Interpolation(Enum):
    """How a value between voxel centres is found."""

    NEAREST = sitk.sitkNearestNeighbor
    """The nearest voxel's value: for labels and masks."""

    LINEAR = sitk.sitkLinear
    """Trilinear: for images."""


def grid_of(image: sitk.Image) -> Grid:
    """Return the grid of a three-dimensional image."""
    sx, sy, sz = image.GetSize()
    dx, dy, dz = image.GetSpacing()
    ox, oy, oz = image.GetOrigin()
    return Grid(
        (sx, sy, sz), (dx, dy, dz), (ox, oy, oz), matrix_rows(image.GetDirection())
    )


def matrix_rows(direction: tuple[float, ...]) -> Matrix:
    """Return ITK's nine direction cosines as three rows."""
    rows: list[Vector] = []
    for start in (0, 3, 6):
        a, b, c = direction[start : start + 3]
        rows.append((a, b, c))
    return rows[0], rows[1], rows[2]


def to_image(volume: Volume) -> sitk.Image:
    """Return a copy of the volume as a SimpleITK image; masks become uint8."""
    array = volume.array
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(volume.grid.spacing)
    image.SetOrigin(volume.grid.origin)
    image.SetDirection([cosine for row in volume.grid.direction for cosine in row])
    return image


def from_image(image: sitk.Image) -> Volume:
    """Return a copy of a three-dimensional scalar image as a volume."""
    return Volume(sitk.GetArrayFromImage(image), grid_of(image))


def resample(
    volume: Volume,
    grid: Grid,
    *,
    transform: sitk.Transform | None = None,
    interpolation: Interpolation = Interpolation.LINEAR,
    background: float = 0.0,
) -> Volume:
    """Sample a volume at every voxel of another grid.

    Args:
        volume: What is sampled.
        grid: Where it is sampled.
        transform: Maps points of `grid` to points of `volume`, in mm LPS, as ITK
            does; identity if None.
        interpolation: How values between voxels are found.
        background: The value where `volume` has no data.

    Returns:
        A volume on `grid`: labels and masks (nearest) keep their integer type, masks
        as uint8; interpolated integers become float32, since ITK would cut off their
        fractions and so darken the image by half a unit on average.
    """
    image = to_image(volume)
    blended = interpolation is not Interpolation.NEAREST
    integer = volume.array.dtype.kind in "iub"
    direction = [cosine for row in grid.direction for cosine in row]
    sampled = sitk.Resample(
        image,
        grid.size,
        transform if transform is not None else sitk.Transform(3, sitk.sitkIdentity),
        interpolation.value,
        grid.origin,
        grid.spacing,
        direction,
        background,
        sitk.sitkFloat32 if blended and integer else image.GetPixelID(),
    )
    return from_image(sampled)


def matrix_of(transform: sitk.Transform) -> npt.NDArray[np.float64] | None:
    """Return a linear transform as a homogeneous 4 x 4 matrix; None if it deforms.

    The matrix maps points as the transform does, in mm LPS.
    """
    if not transform.IsLinear():
        return None
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    for axis, unit in enumerate(np.eye(3).tolist()):
        matrix[:3, axis] = np.array(transform.TransformPoint(unit)) - origin
    return matrix
