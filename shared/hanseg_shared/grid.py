"""Where voxels are: sampling grids in the patient's LPS space, in millimetres.

LPS is DICOM's patient coordinate system (PS3.3 C.7.6.2.1.1): +x to the patient's
left, +y to the back (posterior), +z to the head (superior).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_shared.affine import (
    Matrix34,
    apart_mm,
    apart_voxels,
    differences,
    nearest_rotation,
    orientation_of,
    shear_degrees,
)
from hanseg_shared.errors import GridMismatchError, ImageContentError

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]
Points = npt.NDArray[np.float64]

IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

ORTHONORMAL_TOLERANCE = 1e-6
"""Largest deviation of ``D D^T`` from identity: the rounding of 32-bit numbers."""

_EXACT = 1e-12
"""A direction that deviates less from a rotation is left as it is."""

SAME_GRID_VOXELS = 0.1
"""Grids are the same if no voxel of one lies farther from its place in the other than
this share of a voxel: rounded headers do so much, and no measure can tell."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular grid of voxel centres.

    Attributes are in x, y, z order, as in DICOM and ITK. An array sampled on the
    grid is indexed z, y, x; see `shape`.

    Attributes:
        size: Number of voxels along each index axis.
        spacing: Distance between neighbouring voxel centres, in mm.
        origin: Position of the centre of voxel (0, 0, 0), in mm LPS.
        direction: Rows of the matrix whose columns are the index axes' unit vectors.

    Raises:
        ImageContentError: The size or spacing is not positive and finite, or the
            direction is not orthonormal.
    """

    size: tuple[int, int, int]
    spacing: Vector = (1.0, 1.0, 1.0)
    origin: Vector = (0.0, 0.0, 0.0)
    direction: Matrix = IDENTITY

    def __post_init__(self) -> None:
        if any(n < 1 for n in self.size):
            raise ImageContentError(f"size must be positive, got {self.size}")
        if not all(math.isfinite(s) and s > 0 for s in self.spacing):
            raise ImageContentError(
                f"spacing must be positive and finite, got {self.spacing}"
            )
        if not all(math.isfinite(o) for o in self.origin):
            raise ImageContentError(f"origin must be finite, got {self.origin}")
        matrix = np.array(self.direction, dtype=np.float64)
        deviation = np.abs(matrix @ matrix.T - np.eye(3)).max()
        if not deviation <= ORTHONORMAL_TOLERANCE:  # also catches NaN
            raise ImageContentError(
                f"direction must be orthonormal, got {self.direction}"
            )

    @classmethod
    def nearest(
        cls,
        size: tuple[int, int, int],
        *,
        spacing: Vector,
        origin: Vector,
        direction: Matrix,
    ) -> Grid:
        """Return the grid that a header means whose direction cosines are rounded.

        The direction becomes the nearest rotation (or mirrored rotation); spacing and
        first voxel stay as they are.

        Raises:
            ImageContentError: The direction is no rounded rotation: a voxel would move
                by more than `SAME_GRID_VOXELS`.
        """
        stated = np.column_stack([np.array(direction) * np.array(spacing), origin])
        if not np.isfinite(stated).all() or min(spacing) <= 0:
            return cls(size, spacing, origin, direction)  # refuses it
        matrix = np.array(direction, dtype=np.float64)
        _require_unit_columns(matrix)
        if np.abs(matrix @ matrix.T - np.eye(3)).max() > _EXACT:
            matrix = nearest_rotation(matrix)
        grid = cls(size, spacing, origin, _matrix(matrix))
        apart = apart_mm(size, grid.affine, stated) / min(spacing)
        if apart > SAME_GRID_VOXELS:
            raise ImageContentError(
                _not_rigid(np.array(direction, dtype=np.float64), apart)
            )
        return grid

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (z, y, x) of an array sampled on this grid."""
        x, y, z = self.size
        return z, y, x

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.size)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return math.prod(self.spacing) / 1000.0

    @property
    def extent(self) -> Vector:
        """Edge lengths in mm, from outer voxel face to outer voxel face."""
        x, y, z = (n * s for n, s in zip(self.size, self.spacing, strict=True))
        return x, y, z

    @property
    def centre(self) -> Points:
        """Position of the grid's geometrical centre in mm LPS, shape ``(3,)``."""
        return self.index_to_world((np.array(self.size) - 1) / 2.0)

    @property
    def orientation(self) -> str:
        """Nearest anatomical direction of each index axis, such as ``LPS``."""
        return orientation_of(self.direction)

    @property
    def affine(self) -> Matrix34:
        """The 3 x 4 matrix that maps indices (x, y, z, 1) to mm LPS."""
        return self.world_from_index[:3]

    @property
    def world_from_index(self) -> npt.NDArray[np.float64]:
        """Homogeneous 4 x 4 matrix that maps indices (x, y, z) to mm LPS."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(self.direction) * np.array(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    def index_to_world(self, index: npt.ArrayLike) -> Points:
        """Return positions in mm LPS of voxel indices (x, y, z), shape ``(..., 3)``."""
        scaled = np.asarray(index, dtype=np.float64) * self.spacing
        return scaled @ np.array(self.direction).T + self.origin

    def world_to_index(self, points: npt.ArrayLike) -> Points:
        """Return continuous voxel indices (x, y, z) of mm LPS positions."""
        offset = np.asarray(points, dtype=np.float64) - self.origin
        return offset @ np.linalg.inv(np.array(self.direction)).T / self.spacing

    def corners(self) -> Points:
        """Return the eight outermost voxel centres in mm LPS, shape ``(8, 3)``."""
        last = [(0, n - 1) for n in self.size]
        return self.index_to_world(list(itertools.product(*last)))

    def crop(self, start: tuple[int, int, int], size: tuple[int, int, int]) -> Grid:
        """Return the part that begins at voxel `start` (x, y, z) with `size` voxels."""
        origin = self.index_to_world(start)
        return Grid(size, self.spacing, _vector(origin), self.direction)

    def is_same(self, other: Grid) -> bool:
        """Whether both grids put every voxel in the same place.

        Differences below `SAME_GRID_VOXELS`, over the whole image, do not matter.
        """
        if self.size != other.size:
            return False
        return apart_voxels(self.size, self.affine, other.affine) <= SAME_GRID_VOXELS

    def offset_of(self, part: Grid) -> tuple[int, int, int] | None:
        """Return the voxel (x, y, z) of this grid at which another one begins.

        It may reach beyond this grid. None if its voxels are not this grid's, thought
        to go on: if it is rotated, has other spacing or lies between them.
        """
        start = self._nearest_voxel(part)
        return start if self.crop(start, part.size).is_same(part) else None

    def difference_of_part(self, part: Grid) -> str:
        """Return why another grid's voxels are not this one's; see `offset_of`."""
        return self.crop(self._nearest_voxel(part), part.size).difference_of(part)

    def _nearest_voxel(self, part: Grid) -> tuple[int, int, int]:
        """Return the voxel, perhaps outside this grid, nearest to a part's first."""
        x, y, z = (round(float(i)) for i in self.world_to_index(part.origin))
        return x, y, z

    def require_same(self, other: Grid, *, what: str) -> None:
        """Raise `GridMismatchError` unless `other`, the grid of `what`, is the same."""
        if not self.is_same(other):
            raise GridMismatchError(
                f"{what} is not on the grid: {self.difference_of(other)}"
            )

    def difference_of(self, other: Grid) -> str:
        """Return in what another grid differs from this one, and by how much."""
        if self.size != other.size:
            sizes = ("x".join(map(str, grid.size)) for grid in (other, self))
            return "it has {} voxels, not {}".format(*sizes)
        apart = apart_mm(self.size, self.affine, other.affine)
        parts = differences(self.size, self.affine, other.affine)
        return (
            f"its voxels lie up to {apart:.3g} mm "
            f"({apart / min(self.spacing):.3g} voxels) away ({'; '.join(parts)})"
        )

    @classmethod
    def axis_aligned(
        cls, points: npt.ArrayLike, *, spacing: Vector, margin_mm: float = 0.0
    ) -> Grid:
        """Return the LPS-aligned grid that covers `points` (mm LPS) and a margin."""
        low = np.min(np.reshape(points, (-1, 3)), axis=0) - margin_mm
        high = np.max(np.reshape(points, (-1, 3)), axis=0) + margin_mm
        counts = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
        slack = (counts - 1) * np.array(spacing) - (high - low)
        x, y, z = (int(n) for n in counts)
        return cls((x, y, z), spacing, _vector(low - slack / 2))

    def __repr__(self) -> str:
        size = "x".join(str(n) for n in self.size)
        spacing = "x".join(f"{s:.4g}" for s in self.spacing)
        origin = ", ".join(f"{o:.1f}" for o in self.origin)
        return f"Grid({size} at {spacing} mm, {self.orientation}, from ({origin}))"


def _require_unit_columns(direction: npt.NDArray[np.float64]) -> None:
    """Refuse a direction that is none by far, before anything is computed with it."""
    largest = np.abs(direction).max(axis=0)
    if not (largest.min() >= 0.5 and largest.max() <= 2.0):
        raise ImageContentError(
            "direction must be orthonormal, but the largest numbers of its columns are "
            "({:.3g}, {:.3g}, {:.3g}), not near 1; ".format(*largest)
            + "save the image again with its direction cosines"
        )


def _not_rigid(direction: npt.NDArray[np.float64], apart: float) -> str:
    """Say why a direction is no rounded rotation; `apart` in voxels."""
    lengths = np.linalg.norm(direction, axis=0)
    if np.abs(lengths - 1.0).max() > math.sin(math.radians(shear_degrees(direction))):
        fault = "its columns have the lengths ({:.5g}, {:.5g}, {:.5g})".format(*lengths)
    else:
        fault = f"its axes are sheared by {shear_degrees(direction):.3g} degrees"
    return (
        f"direction must be orthonormal, but {fault}: the nearest rectangular grid "
        f"lies up to {apart:.2g} voxels away, and at most {SAME_GRID_VOXELS} are taken "
        "for rounding; write the direction cosines with more digits, or resample the "
        "image onto a rectangular grid"
    )


def _matrix(values: npt.NDArray[np.float64]) -> Matrix:
    first, second, third = values
    return _vector(first), _vector(second), _vector(third)


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
