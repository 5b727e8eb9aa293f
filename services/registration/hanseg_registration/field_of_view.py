"""Where an MR has data, and what it says where there is nothing.

A scanner or an export fills what it did not measure with one value: around a slab,
in the wedges that a correction of distortion leaves, in padded planes. Those voxels
are inside the image's box, yet they are no data. What was measured is convex (a box,
turned or sheared), so a voxel is left out if it holds the fill value, is joined to
the image's border through such voxels, and lies outside the convex hull of the rest
(specks of noise in the filling aside).
Air that a filter set to the fill value next to the head stays in by the same rule,
as far as the head's hull reaches.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from hanseg_registration.head import body_threshold
from hanseg_registration.sampling import as_float, shrunk
from hanseg_shared.volume import Mask, Volume

SMALLEST_FILLED_SHARE = 0.005
"""Less filled border than this share of the volume is not worth leaving out."""

COARSE_VOXELS = 32
"""Voxels along an axis of the lattice that the hull is computed on, about."""


def data_mask(mr: Volume) -> Volume:
    """Return 1 where the MR has data and 0 where it was filled, as uint8."""
    filled = _joined_to_border(mr.array == _fill_value(mr))
    if filled.mean() < SMALLEST_FILLED_SHARE:
        return mr.with_array(np.ones(mr.grid.shape, dtype=np.uint8))
    measured = _largest_piece(~filled)
    return mr.with_array((measured | _hull(measured)).astype(np.uint8))


def background_value(mr: Volume) -> float:
    """Return the intensity of the MR's measured air, for where it has no data.

    It is the median of what is darker than the body and not filled, so that no
    edge appears where the data end; the fill value itself if all air was filled.
    """
    coarse = as_float(shrunk(mr, 4.0))
    fill = _fill_value(mr)
    if not float(mr.array.max()) > fill:
        return fill
    air = coarse.array[(coarse.array < body_threshold(coarse)) & (coarse.array != fill)]
    return float(np.median(air)) if len(air) else fill


def _fill_value(mr: Volume) -> float:
    """Return the darkest value: what scanners write where they did not measure."""
    return float(mr.array.min())


def _joined_to_border(filled: Mask) -> Mask:
    labels, count = ndimage.label(filled)
    if count == 0:
        return filled
    faces = [labels.take(edge, axis=axis) for axis in range(3) for edge in (0, -1)]
    touching = np.unique(np.concatenate([face.ravel() for face in faces]))
    return np.isin(labels, touching[touching > 0])


def _largest_piece(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + np.bincount(labels.ravel())[1:].argmax())


def _hull(measured: Mask) -> Mask:
    """Return about the convex hull of a mask; the mask itself if it is flat.

    How far a voxel lies beyond the hull is computed on every few voxels and
    interpolated between them: beside a single face that is exact.
    """
    steps = [max(1, n // COARSE_VOXELS) for n in measured.shape]
    every = tuple(slice(None, None, step) for step in steps)
    shell = measured[every] & ~ndimage.binary_erosion(measured[every])
    try:
        hull = ConvexHull(np.argwhere(shell) * steps)
    except (QhullError, ValueError):
        return measured
    beyond = _beyond(hull.equations, shell.shape, steps)
    fine = ndimage.affine_transform(
        beyond,
        1.0 / np.array(steps),
        output_shape=measured.shape,
        order=1,
        mode="nearest",
    )
    return np.asarray(fine <= 0.5)


def _beyond(
    planes: npt.NDArray[np.float64], shape: tuple[int, ...], steps: list[int]
) -> npt.NDArray[np.float32]:
    """Return how many voxels each lattice point lies beyond the nearest plane.

    Args:
        planes: Rows (a, b, c, d) with a z + b y + c x + d <= 0 inside, in voxels.
        shape: The lattice's shape, z y x.
        steps: Its steps in voxels, z y x.
    """
    z, y, x = (
        np.arange(n, dtype=np.float32) * step
        for n, step in zip(shape, steps, strict=True)
    )
    furthest = np.full(shape, -np.inf, dtype=np.float32)
    for a, b, c, d in planes.astype(np.float32):
        plane = (a * z + d)[:, None, None] + (b * y)[:, None] + c * x
        np.maximum(furthest, plane, out=furthest)
    return furthest
