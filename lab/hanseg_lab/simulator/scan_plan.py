"""How a simulated MR is planned: its plane, voxels, reach, header and the pose.

The patient lies in the MR scanner turned by up to 25 degrees against the CT, and the
scanner counts from an origin of its own, up to 1200 mm away (HaN-Seg: 1096 mm).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from hanseg_lab.simulator.head_anatomy import HeadAnatomy
from hanseg_shared.grid import Grid, Matrix, Points, Vector

LARGEST_ROTATION_DEG = 25.0
"""How far the patient may be turned between the scanners."""

LARGEST_ORIGIN_MM = 1200.0
"""Bound of each coordinate of the MR's first voxel."""

IN_PLANE_SPACING_MM = (0.5, 0.9)
"""Finest and coarsest pixels."""

SLICE_SPACINGS_MM = (1.7, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0, 6.0)
"""Slice distances to choose from: most of HaN-Seg's are 3 mm, a quarter 1.7 mm."""

LARGEST_MATRIX = 400
"""Most pixels along a row or column."""

MOST_SLICES = 120
"""Most slices; thicker ones are chosen where more would be needed."""

HEAD_LENGTH_MM = 250.0
"""How far below the vertex an MR of the head looks."""

OBLIQUE_TILT_DEG = 6.0
"""Standard deviation of the angles by which oblique slices miss the patient's axes."""


class Reach(StrEnum):
    """How much of the head an MR covers across its slices."""

    WHOLE_HEAD = "whole_head"
    """All of it, as far as the CT shows it."""

    LONG_SLAB = "long_slab"
    """100 to 160 mm."""

    SHORT_SLAB = "short_slab"
    """60 to 100 mm."""


class SlicePlane(Enum):
    """The plane of the slices; columns are the row, column and slice directions."""

    AXIAL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    CORONAL = ((1, 0, 0), (0, 0, 1), (0, -1, 0))
    SAGITTAL = ((0, 0, -1), (1, 0, 0), (0, -1, 0))

    @property
    def direction(self) -> npt.NDArray[np.float64]:
        """The directions as a matrix, shape (3, 3)."""
        return np.array(self.value, np.float64)

    @property
    def across(self) -> int:
        """The patient's axis (x 0, y 1, z 2) that crosses the slices."""
        return int(np.abs(self.direction[:, 2]).argmax())


_SLAB_MM = {Reach.LONG_SLAB: (100.0, 160.0), Reach.SHORT_SLAB: (60.0, 100.0)}

_WHOLE_MM = ((165.0, 200.0), (200.0, 245.0), (HEAD_LENGTH_MM - 40.0, HEAD_LENGTH_MM))
"""Extent of a whole head along x, y and z, smallest and largest."""


@dataclass(frozen=True, slots=True, eq=False)
class ScanPlan:
    """Where the MR's voxels are, and where the patient is in its coordinates.

    Attributes:
        grid: The MR's grid, in the MR scanner's coordinates.
        mr_from_ct: Homogeneous 4 x 4 matrix from points of the CT to points of the
            MR, mm LPS: the rigid part of the truth.
        plane: The plane nearest to the slices.
        oblique: Whether the slices follow the patient's axes, not the scanner's.
        reach: How much of the head they cover: a long slab that was asked for
            becomes a short one, or a thinner one yet, where the CT shows too little.
        rotation_deg: The angle of the pose.
    """

    grid: Grid
    mr_from_ct: npt.NDArray[np.float64]
    plane: SlicePlane
    oblique: bool
    reach: Reach
    rotation_deg: float

    @property
    def ct_from_mr(self) -> npt.NDArray[np.float64]:
        """The inverse of `mr_from_ct`."""
        return np.linalg.inv(self.mr_from_ct).astype(np.float64)

    @property
    def label(self) -> str:
        """The orientation in a word: ``axial``, ``oblique sagittal`` and so on."""
        return f"{'oblique ' if self.oblique else ''}{self.plane.name.lower()}"


def draw_plan(
    anatomy: HeadAnatomy, reach: Reach | None, rng: np.random.Generator
) -> ScanPlan:
    """Return a random plan of a scan; `reach` is random as well if None."""
    reach = rng.choice(list(Reach)) if reach is None else reach
    plane = list(SlicePlane)[rng.choice(3, p=(0.6, 0.2, 0.2))]
    oblique = bool(rng.random() < 0.35)
    angle = float(rng.uniform(0, LARGEST_ROTATION_DEG))
    axis = rng.standard_normal(3)
    turn = Rotation.from_rotvec(np.deg2rad(angle) * axis / np.linalg.norm(axis))
    tilt = Rotation.from_euler("xyz", rng.normal(0, OBLIQUE_TILT_DEG, 3), degrees=True)
    direction = (
        (turn * tilt).as_matrix() @ plane.direction if oblique else plane.direction
    )

    target, extent = _field(anatomy, plane, Reach(reach), rng)
    if reach == Reach.LONG_SLAB and extent[plane.across] < _SLAB_MM[Reach.LONG_SLAB][0]:
        reach = Reach.SHORT_SLAB  # the CT shows too little for more
    size, spacing = _voxels(np.abs(plane.direction).T @ extent, rng)
    origin = rng.uniform(-LARGEST_ORIGIN_MM, LARGEST_ORIGIN_MM, 3)
    grid = Grid(size, spacing, _vector(origin), _matrix(direction))
    mr_from_ct = np.eye(4)
    mr_from_ct[:3, :3] = turn.as_matrix()
    mr_from_ct[:3, 3] = grid.centre - mr_from_ct[:3, :3] @ target
    return ScanPlan(grid, mr_from_ct, plane, oblique, Reach(reach), angle)


def _field(
    anatomy: HeadAnatomy, plane: SlicePlane, reach: Reach, rng: np.random.Generator
) -> tuple[Points, Points]:
    """Return the centre, in mm of the CT, and the extent of the field of view."""
    extent = np.array([rng.uniform(*limits) for limits in _WHOLE_MM])
    if reach is not Reach.WHOLE_HEAD:
        extent[plane.across] = rng.uniform(*_SLAB_MM[reach])
    top = anatomy.top_mm + (rng.uniform(0, 15) if anatomy.vertex_shown else -5.0)
    bottom = max(anatomy.bottom_mm, top - HEAD_LENGTH_MM)
    extent[2] = min(extent[2], top - bottom)
    z = rng.uniform(bottom + extent[2] / 2, top - extent[2] / 2)
    x, y = anatomy.middle(z - extent[2] / 2, z + extent[2] / 2)
    centre = np.array((x, y, z))
    centre[:2] += rng.uniform(-8, 8, 2)
    if plane is SlicePlane.CORONAL:  # a slab may lie before or behind the middle
        centre[1] += rng.uniform(-0.5, 0.5) * max(0.0, 200.0 - extent[1])
    return centre, extent


def _voxels(
    extent: Points, rng: np.random.Generator
) -> tuple[tuple[int, int, int], Vector]:
    """Return size and spacing for extents along rows, columns and slices."""
    across = max(float(rng.choice(SLICE_SPACINGS_MM)), extent[2] / MOST_SLICES)
    in_plane = float(rng.uniform(*IN_PLANE_SPACING_MM))
    columns, rows = (min(LARGEST_MATRIX, round(e / in_plane)) for e in extent[:2])
    slices = max(2, round(extent[2] / across))
    return (columns, rows, slices), (in_plane, in_plane, across)


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _matrix(values: npt.NDArray[np.float64]) -> Matrix:
    return _vector(values[0]), _vector(values[1]), _vector(values[2])
