"""Where an MR has data, and what its air looks like.

A scanner or an export fills what it did not measure with one value: around a slab,
in the wedges that a correction of distortion leaves, in padded planes. Those voxels
are inside the image's box, but hold no data. The value need not be the darkest:
exports fill signed images with 0, and others with -1 or the largest number.

What was measured is convex (a box, turned or sheared), so it is found as a convex
hull. Two cases look alike and differ in how much of the hull is measured:

- Filled around the data: noise is everywhere inside, and the hull is the answer.
- Air blanked by a filter: only the head is left. The air was measured nevertheless,
  so the data reach to the image's box, except where the head itself is cut off by a
  plane: there the data end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from hanseg_registration.geometry.head import body_threshold
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.io.filling import fill_value
from hanseg_shared.volume import Mask, Volume

SMALLEST_FILLED_SHARE = 0.005
"""Less filling than this share of the volume is ignored."""

COARSE_VOXELS = 32
"""Approximate number, along an axis, of blocks in which strays are looked for and of
lines along which the measured part's surface is."""

CUT_AREA_MM2 = 3000.0
CUT_ANGLE_DEG = 8.0
CUT_DEPTH_MM = 2.0
CUT_DENSE_SHARE = 0.5
"""A head whose air was blanked is cut off where its hull has a face of at least this
area, flat to this angle, under which at least this share is measured at this depth.
Skulls are rounder, and under the faces that bridge hollows nothing is measured."""

FLAT_SHARE = 0.7
"""Share of the hull's surface that must be such flat faces for the hull to be the
border of what was measured, rather than a head's skin."""

AIR_STEP_MM = 3.0
"""Approximate distance of the voxels among which the air is looked for."""

BRIGHTEST_AIR = 0.4
"""Largest brightness of air, as a share of the body's."""


def data_mask(mr: Volume) -> Volume:
    """Return 1 where the MR has data and 0 where it was filled, as uint8."""
    everywhere = mr.with_array(np.ones(mr.grid.shape, dtype=np.uint8))
    fill = fill_value(mr)
    if fill is None:
        return everywhere
    measured = np.asarray(mr.array != fill)
    part = _Part.of(measured)
    if part is None:
        return everywhere
    inside = _find_data(part, measured, mr.grid)
    if inside.mean() > 1.0 - SMALLEST_FILLED_SHARE:
        return everywhere
    return mr.with_array(inside.view(np.uint8))


def background_value(mr: Volume, data: Volume) -> float:
    """Return the intensity of the MR's measured air, for where it has no data.

    It is the median of what is darker than the body among the data, so that no edge
    appears where the data end. Without such air, as of a head that was cut out, it is
    0, or the darkest value if that is negative.

    Args:
        mr: The MR.
        data: Not 0 where it has data; see `data_mask`.
    """
    steps = [max(1, int(AIR_STEP_MM / spacing)) for spacing in mr.grid.spacing[::-1]]
    every = tuple(slice(None, None, step) for step in steps)
    values = mr.array[every][data.array[every] != 0].astype(np.float64)
    if not values.size:
        return float(mr.array.flat[0])
    darkest = float(values.min())
    if values.max() == darkest:
        return darkest
    floor = min(darkest, 0.0)
    threshold = body_threshold(_as_volume(values))
    air = float(np.median(values[values <= threshold]))
    body = float(np.median(values[values >= threshold]))
    return air if air - floor <= BRIGHTEST_AIR * (body - floor) else floor


def replace_filling(mr: Volume, data: Volume, background: float) -> Volume:
    """Return the MR with its background wherever it has no data.

    The edge of a filling would otherwise be taken for anatomy, mix with the data at
    their border when they are resampled, and be handed on as if it were signal.

    Args:
        mr: The MR.
        data: Not 0 where it has data; see `data_mask`.
        background: See `background_value`.
    """
    if data.array.all():
        return mr
    filled = data.array == 0
    return mr.with_array(np.where(filled, np.float32(background), mr.array))


def _as_volume(values: npt.NDArray[np.float64]) -> Volume:
    return Volume(values.reshape(1, 1, -1), Grid((values.size, 1, 1)))


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The measured part of an image, strays left out.

    Attributes:
        blocks: Which blocks of voxels belong to it, or touch it; z y x.
        starts: The first voxel of each block, along z, y and x.
    """

    blocks: Mask
    starts: tuple[npt.NDArray[np.intp], ...]

    @classmethod
    def of(cls, measured: Mask) -> _Part | None:
        """Return the largest piece of what was measured; None if there is none."""
        starts = tuple(
            np.arange(0, n, max(1, n // COARSE_VOXELS)) for n in measured.shape
        )
        counts = np.add.reduceat(
            measured.view(np.uint8), starts[2], axis=2, dtype=np.uint8
        )
        counts = np.add.reduceat(counts, starts[1], axis=1, dtype=np.int64)
        counts = np.add.reduceat(counts, starts[0], axis=0)
        lengths = (
            np.diff(np.append(first, n))
            for first, n in zip(starts, measured.shape, strict=True)
        )
        z, y, x = lengths
        voxels = z[:, None, None] * y[:, None] * x
        pieces, count = ndimage.label(counts > 0.5 * voxels)
        if count == 0:
            return None
        largest = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
        return cls(
            ndimage.binary_dilation(largest, np.ones((3, 3, 3), dtype=bool)), starts
        )

    def surface(self, measured: Mask) -> npt.NDArray[np.float64]:
        """Return where the part begins and ends along a lattice of lines.

        The lines run along all three axes, one through each row of blocks and through
        the image's last rows. Returns voxels (z, y, x), shape ``(n, 3)``.
        """
        lattice = [
            np.unique(np.append(first, n - 1))
            for first, n in zip(self.starts, measured.shape, strict=True)
        ]
        found = []
        for axis in range(3):
            chosen = list(lattice)
            chosen[axis] = np.arange(measured.shape[axis])
            lines = measured[np.ix_(*chosen)] & self._at(chosen)
            found += _line_ends(lines, axis, chosen)
        return np.unique(np.concatenate(found), axis=0).astype(np.float64)

    def restrict(self, measured: Mask) -> Mask:
        """Return the measured voxels of the part."""
        whole = [np.arange(n) for n in measured.shape]
        return np.asarray(measured & self._at(whole))

    def _at(self, index: list[npt.NDArray[np.intp]]) -> Mask:
        """Return whether the voxels of a lattice belong to the part's blocks."""
        of_block = [
            np.searchsorted(first, at, side="right") - 1
            for first, at in zip(self.starts, index, strict=True)
        ]
        return np.asarray(self.blocks[np.ix_(*of_block)])


def _line_ends(
    lines: Mask, axis: int, index: list[npt.NDArray[np.intp]]
) -> list[npt.NDArray[np.intp]]:
    """Return the first and the last set voxel of each line along an axis, (n, 3)."""
    hit = lines.any(axis=axis)
    first = lines.argmax(axis=axis)
    last = lines.shape[axis] - 1 - np.flip(lines, axis=axis).argmax(axis=axis)
    across = [at for number, at in enumerate(index) if number != axis]
    places = [at[where] for at, where in zip(across, np.nonzero(hit), strict=True)]
    ends = []
    for along in (first[hit], last[hit]):
        columns = [*places[:axis], along, *places[axis:]]
        ends.append(np.stack(columns, axis=1))
    return ends


def _find_data(part: _Part, measured: Mask, grid: Grid) -> Mask:
    """Return where an image has data, given its measured part."""
    z, y, x = grid.spacing[::-1]
    spacing = (z, y, x)
    try:
        hull = ConvexHull(part.surface(measured) * spacing)
    except (QhullError, ValueError):  # flat
        return part.restrict(measured)
    cuts, share = _find_cuts(hull, measured, spacing)
    planes = hull.equations if share > FLAT_SHARE else hull.equations[cuts]
    inside = _find_enclosed(planes, measured.shape, spacing)
    return np.asarray(inside | part.restrict(measured))


def _find_enclosed(
    planes: npt.NDArray[np.float64], shape: tuple[int, ...], spacing: Vector
) -> Mask:
    """Return the voxels on the inner side of all planes, row by row.

    Args:
        planes: Rows (a, b, c, d) with a z + b y + c x + d <= 0 inside, in mm from the
            first voxel.
        shape: The image's shape, z y x.
        spacing: Its spacing, z y x.
    """
    nz, ny, nx = shape
    z = (np.arange(nz) * spacing[0])[:, None]
    y = np.arange(ny) * spacing[1]
    low = np.zeros((nz, ny))
    high = np.full((nz, ny), nx - 1.0)
    slack = 0.5 * min(spacing)
    for a, b, c, d in np.unique(planes.round(6), axis=0):
        rest = slack - d - a * z - b * y  # c x <= rest
        if abs(c) < 1e-6:
            high[rest < 0] = -1.0
        elif c > 0:
            np.minimum(high, rest / (c * spacing[2]), out=high)
        else:
            np.maximum(low, rest / (c * spacing[2]), out=low)
    x = np.arange(nx, dtype=np.int32)
    first = np.ceil(low - 1e-6).astype(np.int32)[..., None]
    last = np.floor(np.maximum(high, -1.0) + 1e-6).astype(np.int32)[..., None]
    return np.asarray((x >= first) & (x <= last))


def _find_cuts(
    hull: ConvexHull, measured: Mask, spacing: Vector
) -> tuple[npt.NDArray[np.intp], float]:
    """Return the hull's facets at which a plane ends what was measured.

    The second value is their share of the hull's surface.
    """
    corners = hull.points[hull.simplices]
    normals = hull.equations[:, :3]
    edges = corners[:, 1:] - corners[:, :1]
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2.0
    middles, step = corners.mean(axis=1), max(spacing)
    dense = areas * _density(corners, normals, measured, spacing)
    left = np.ones(len(areas), dtype=bool)
    cuts: list[int] = []
    for facet in areas.argsort()[::-1]:
        if not left[facet]:
            continue
        turned = normals @ normals[facet] < np.cos(np.radians(CUT_ANGLE_DEG))
        away = np.abs(middles @ normals[facet] + hull.equations[facet, 3]) > step
        alike = left & ~turned & ~away
        left &= ~alike
        area = areas[alike].sum()
        if area >= CUT_AREA_MM2 and dense[alike].sum() >= CUT_DENSE_SHARE * area:
            cuts += np.flatnonzero(alike).tolist()
    found = np.array(cuts, dtype=np.intp)
    return found, float(areas[found].sum() / areas.sum())


_BARYCENTRIC = (
    np.array([(4, 1, 1), (1, 4, 1), (1, 1, 4), (2, 2, 2), (1, 2.5, 2.5), (2.5, 1, 2.5)])
    / 6.0
)
"""Points of a facet under which the image is looked up: shares of its corners."""


def _density(
    corners: npt.NDArray[np.float64],
    normals: npt.NDArray[np.float64],
    measured: Mask,
    spacing: Vector,
) -> npt.NDArray[np.float64]:
    """Return the measured share under each facet, ``(n,)``.

    Args:
        corners: Of the facets, in mm, z y x, ``(n, 3, 3)``.
        normals: Their outward normals, ``(n, 3)``.
        measured: What was measured.
        spacing: Its spacing, z y x.
    """
    under = np.einsum("kc,ncd->nkd", _BARYCENTRIC, corners)
    depth = max(CUT_DEPTH_MM, *spacing)
    index = np.rint((under - depth * normals[:, None]) / spacing).astype(np.intp)
    z, y, x = np.moveaxis(np.clip(index, 0, np.array(measured.shape) - 1), -1, 0)
    return np.asarray(measured[z, y, x].mean(axis=1))
