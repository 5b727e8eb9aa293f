"""Where an MR has data, and what it says where there is nothing.

A scanner or an export fills what it did not measure with one value: around a slab,
in the wedges that a correction of distortion leaves, in padded planes. Those voxels
are inside the image's box, yet they are no data. What was measured is convex (a box,
turned or sheared), so a voxel is left out if it holds the fill value, is joined to
the image's border through such voxels, and lies outside the convex hull of the rest.
Air that a filter set to the fill value next to the head stays in by the same rule,
as far as the head's hull reaches.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from hanseg_registration.head import body_threshold
from hanseg_registration.sampling import as_float, shrunk
from hanseg_shared.volume import Mask, Volume

SMALLEST_FILLED_SHARE = 0.005
"""Less filled border than this share of the volume is not worth leaving out."""

HULL_POINTS = 20_000
"""Measured voxels the convex hull is made of: enough for a hull within a voxel."""


def data_mask(mr: Volume) -> Volume:
    """Return 1 where the MR has data and 0 where it was filled, as uint8."""
    filled = _joined_to_border(mr.array == _fill_value(mr))
    if filled.mean() < SMALLEST_FILLED_SHARE:
        return mr.with_array(np.ones(mr.grid.shape, dtype=np.uint8))
    outside = filled & ~_hull(~filled)
    return mr.with_array((~outside).astype(np.uint8))


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


def _hull(measured: Mask) -> Mask:
    """Return the voxels in the convex hull of a mask; the mask itself if it is flat."""
    steps = [max(1, n // 128) for n in measured.shape]
    every = tuple(slice(None, None, step) for step in steps)
    index = np.argwhere(measured[every] & ~_inner(measured[every])) * steps
    if len(index) > HULL_POINTS:
        rows = np.linspace(0, len(index) - 1, HULL_POINTS).astype(int)
        index = index[rows]
    try:
        hull = ConvexHull(index)
    except (QhullError, ValueError):
        return measured
    planes = np.unique(np.round(hull.equations, 6), axis=0)
    return _inside_planes(planes, measured.shape)


def _inner(mask: Mask) -> Mask:
    return ndimage.binary_erosion(mask)


def _inside_planes(planes: np.ndarray, shape: tuple[int, ...]) -> Mask:
    """Return the voxels, z y x, on the inner side of every plane (a, b, c, d)."""
    inside = np.ones(shape, dtype=bool)
    y, x = np.mgrid[: shape[1], : shape[2]].astype(np.float32)
    for k in range(shape[0]):
        for a, b, c, d in planes.astype(np.float32):
            inside[k] &= b * y + c * x <= 0.5 - d - a * k
            if not inside[k].any():
                break
    return inside
