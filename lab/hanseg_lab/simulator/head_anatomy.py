"""What a CT shows of a patient: body without couch, brain, spinal canal and metal.

HU alone do not determine a T1 image: brain and muscle have the same HU, a couch has HU
but no signal. The position matters too; it is found here on a coarse grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.itk import resample
from hanseg_shared.volume import Mask, Volume

Floats = npt.NDArray[np.float32]

COARSE_MM = 2.5
"""Edge of the cubes on which the anatomy is found."""

AIR_HU = -1000.0
"""The value outside a CT."""

BODY_HU = -300.0
"""Above it a voxel is patient, couch or mask."""

BONE_HU = 220.0
"""Above it a voxel is bone, a tooth or metal (or a vessel full of contrast medium)."""

SOFT_HU = (-30.0, 110.0)
"""Brain, cord, cerebrospinal fluid and muscle."""

METAL_HU = 2500.0
"""Above it is metal; enamel ends near 2300 HU."""

BODY_CORE_MM = 25.0
"""The patient's trunk and head are thicker than this; a couch is not."""

THINNEST_PART_MM = 7.0
"""Parts that stick out (a nose, a chin) are the patient's if thicker than this."""

LONGEST_PART_MM = 25.0
"""How far such a part may reach from the core's surface."""

SMALLEST_BODY_ML = 300.0
"""A smaller body is not a patient."""

SMALLEST_BRAIN_ML = 120.0
"""A smaller region is not the brain but muscle or tongue between bones."""

BRAIN_DEPTH_MM = 14.0
"""Brain reaches so deep behind bone; what the foramen magnum leads to does not."""

CANAL_RADIUS_MM = 22.0
"""Vertebra surrounds the spinal canal within this distance on four sides."""

REPEATED_MM = 40.0
"""How far the last slice of a body that the CT cuts off is repeated."""

CUT_AREA_CM2 = 45.0
"""A body that ends with a larger cross-section was cut off by the CT's edge."""


LONGEST_STUMP_MM = 50.0
"""How far what a contour left of a body may stick out of where it was cut."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadAnatomy:
    """Positions on a coarse LPS-aligned grid, in mm.

    Where the CT's edge cuts the body off, its last slice is repeated `REPEATED_MM`
    further, so that the MR shows no cut through the patient.

    Attributes:
        grid: The coarse grid, without slices that show no body.
        body: The patient, with inner air, without couch, mask and head rest.
        brain_depth: Distance of brain voxels from the brain's edge; 0 outside, float32.
        canal_depth: The same of the spinal canal.
        metal_distance: Distance from the nearest metal, float32; infinite without.
        bottom_mm, top_mm: First and last z at which the CT shows the body.
        bottom_cut, top_cut: Whether the body goes on beyond them.
    """

    grid: Grid
    body: Mask
    brain_depth: Floats
    canal_depth: Floats
    metal_distance: Floats
    bottom_mm: float
    top_mm: float
    bottom_cut: bool
    top_cut: bool

    @property
    def vertex_shown(self) -> bool:
        """Whether the CT reaches over the top of the head."""
        return not self.top_cut

    def middle(self, low_mm: float, high_mm: float) -> tuple[float, float]:
        """Return x and y, in mm, of the body's middle between two heights."""
        origin, step = self.grid.origin[2], self.grid.spacing[2]
        first, last = (round((z - origin) / step) for z in (low_mm, high_mm))
        part = self.body[max(0, first) : max(1, last + 1)]
        part = part if part.any() else self.body
        _, y, x = (float(v) for v in np.median(np.argwhere(part), axis=0))
        point = self.grid.index_to_world((x, y, 0))
        return float(point[0]), float(point[1])

    def points(self, step: int = 3) -> npt.NDArray[np.float64]:
        """Return every `step`-th voxel of the body within the CT, mm LPS, (n, 3)."""
        points = self.grid.index_to_world(np.argwhere(self.body)[::step, ::-1])
        shown = (points[:, 2] >= self.bottom_mm) & (points[:, 2] <= self.top_mm)
        return points[shown]

    def repeat_ends(self, hu: Floats, grid: Grid) -> Floats:
        """Return HU on an LPS-aligned grid with slices repeated where body is cut."""
        z = grid.origin[2] + np.arange(grid.size[2]) * grid.spacing[2]
        low = self.bottom_mm if self.bottom_cut else -np.inf
        high = self.top_mm if self.top_cut else np.inf
        real = np.flatnonzero((z >= low) & (z <= high))
        if len(real) == 0:
            return hu
        return hu[np.clip(np.arange(len(z)), real[0], real[-1])]


def find_anatomy(ct: Volume) -> HeadAnatomy:
    """Find body, brain, spinal canal and metal in a CT in HU.

    Raises:
        ImageContentError: There is no body in it.
    """
    spacing = (COARSE_MM, COARSE_MM, COARSE_MM)
    grid = Grid.axis_aligned(ct.grid.corners(), spacing=spacing)
    source = Volume(ct.array.astype(np.float32), ct.grid)
    hu = resample(source, grid, background=AIR_HU).array
    body = find_body(hu > BODY_HU)
    low, high, bottom_cut, top_cut = _span(body)
    hu, body = hu[low : high + 1], body[low : high + 1]
    bone = (hu > BONE_HU) & body
    brain = _brain(hu, body, bone)
    metal = (_highest(source, grid)[low : high + 1] > METAL_HU) & body
    found = (body, _depth(brain), _depth(_canal(hu, body, bone, brain)))
    distance = np.full(body.shape, np.inf, np.float32)
    distance = _distance(metal) if metal.any() else distance
    below = _padding(bottom_cut)
    z = grid.origin[2] + low * COARSE_MM
    body, brain_depth, canal_depth, distance = (
        _extend_ends(part, bottom_cut=bottom_cut, top_cut=top_cut)
        for part in (*found, distance)
    )
    x0, y0, _ = grid.origin
    return HeadAnatomy(
        Grid(body.shape[::-1], spacing, (x0, y0, z - below * COARSE_MM)),
        body,
        brain_depth,
        canal_depth,
        distance,
        z,
        z + (high - low) * COARSE_MM,
        bottom_cut,
        top_cut,
    )


def _padding(cut: bool) -> int:
    """Return how many slices are added at an end: repeated ones, or a few of air."""
    return round(REPEATED_MM / COARSE_MM) if cut else 2


def _extend_ends(
    part: npt.NDArray[np.generic], *, bottom_cut: bool, top_cut: bool
) -> npt.NDArray[Any]:
    """Repeat the first and last slice where the body is cut off, else add air."""
    for end, cut in ((0, bottom_cut), (1, top_cut)):
        width = [(0, 0)] * 3
        width[0] = (_padding(cut), 0) if end == 0 else (0, _padding(cut))
        part = np.pad(part, width, mode="edge" if cut else "constant")
    return part


def find_body(dense: Mask) -> Mask:
    """Return the patient among all that is denser than air, on a coarse grid.

    Raises:
        ImageContentError: There is none.
    """
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in dense])
    depth = _depth(np.pad(filled, ((0, 0), (1, 1), (1, 1))))[:, 1:-1, 1:-1]
    core, count = ndimage.label(depth > BODY_CORE_MM / 2)
    sizes = np.bincount(core.ravel())[1:]
    if count == 0 or sizes.max() * COARSE_MM**3 / 1000 < SMALLEST_BODY_ML / 8:
        raise ImageContentError("the CT shows no body to simulate an MR of")
    from_core = _distance(core == 1 + int(sizes.argmax()))
    parts = _distance(depth > THINNEST_PART_MM / 2) <= THINNEST_PART_MM / 2
    reach = from_core <= BODY_CORE_MM / 2 + LONGEST_PART_MM
    kept, _ = ndimage.label(filled & parts & reach)
    patient: Mask = kept == np.bincount(kept[from_core == 0]).argmax()
    return patient


def _span(body: Mask) -> tuple[int, int, bool, bool]:
    """Return the longest run of slices with body, and whether its ends are cuts."""
    area = body.sum(axis=(1, 2)) * COARSE_MM**2 / 100
    runs, _ = ndimage.label(area > 8.0)
    run = np.flatnonzero(runs == 1 + int(np.bincount(runs)[1:].argmax()))
    low, high = int(run[0]), int(run[-1])
    low += _count_stump_slices(area[low : high + 1])
    high -= _count_stump_slices(area[low : high + 1][::-1])
    return low, high, bool(area[low] > CUT_AREA_CM2), bool(area[high] > CUT_AREA_CM2)


def _count_stump_slices(area: npt.NDArray[np.float64]) -> int:
    """Return how many slices at the beginning show a rest of a body that was cut.

    CTs cropped to contours may end in a stump; a head or a neck grows more slowly.
    """
    first = area[: round(LONGEST_STUMP_MM / COARSE_MM) + 2]
    grown = first[2:] - first[:-2]
    jumps = np.flatnonzero((grown > CUT_AREA_CM2) & (grown > 0.3 * first[2:]))
    return int(jumps[-1]) + 2 if len(jumps) else 0


def _brain(hu: Floats, body: Mask, bone: Mask) -> Mask:
    """Return what lies deep behind bone on all four sides of an axial slice."""
    soft = body & (hu > SOFT_HU[0]) & (hu < SOFT_HU[1])
    core = (_distance(~soft) > BRAIN_DEPTH_MM) & _find_enclosed(bone, None)
    parts, count = ndimage.label(core)
    if count == 0:
        return np.zeros_like(body)
    core = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    near = _distance(core) <= BRAIN_DEPTH_MM + 2 * COARSE_MM
    found, _ = ndimage.label(soft & near & _find_enclosed(bone, None))
    brain: Mask = found == np.bincount(found[core]).argmax()
    if brain.sum() * COARSE_MM**3 / 1000 < SMALLEST_BRAIN_ML:
        return np.zeros_like(body)
    return brain


def _canal(hu: Floats, body: Mask, bone: Mask, brain: Mask) -> Mask:
    """Return the soft voxels that vertebrae surround."""
    soft = body & (hu > SOFT_HU[0]) & (hu < BONE_HU)
    inside = soft & ~brain & _find_enclosed(bone, round(CANAL_RADIUS_MM / COARSE_MM))
    parts, _ = ndimage.label(ndimage.binary_opening(inside))
    if not parts.any():
        return np.zeros_like(body)
    canal: Mask = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    return ndimage.binary_dilation(canal) & inside


def _find_enclosed(bone: Mask, reach: int | None) -> Mask:
    """Return the voxels with bone to the left, right, front and back.

    Args:
        bone: Bone, indexed z, y, x.
        reach: How many voxels away it may be; any number if None.
    """
    found = np.ones(bone.shape, bool)
    for axis in (1, 2):
        for step in (1, -1):
            seen = np.flip(bone, axis) if step < 0 else bone
            index = np.arange(bone.shape[axis]).reshape([-1, 1] if axis == 1 else [-1])
            last = np.maximum.accumulate(np.where(seen, index, -10_000), axis=axis)
            limit = 9_000 if reach is None else reach
            beside = index - last <= limit
            found &= np.flip(beside, axis) if step < 0 else beside
    return found


def _highest(ct: Volume, grid: Grid) -> Floats:
    """Return the highest HU near every coarse voxel: metal may be small."""
    size = [max(1, round(COARSE_MM / s)) for s in ct.grid.spacing[::-1]]
    highest = ndimage.maximum_filter(ct.array, size)
    return resample(Volume(highest, ct.grid), grid, background=AIR_HU).array


def _depth(mask: Mask) -> Floats:
    """Return every voxel's distance, in mm, from what is outside a mask."""
    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    depth: npt.NDArray[np.float64] = ndimage.distance_transform_edt(
        mask, sampling=COARSE_MM
    )
    return depth.astype(np.float32)


def _distance(mask: Mask) -> Floats:
    """Return every voxel's distance, in mm, from a mask."""
    return _depth(~mask)
