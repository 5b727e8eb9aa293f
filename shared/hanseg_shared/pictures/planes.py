"""Planes through a patient: which way they are cut, and what lies in their pixels.

Planes are the patient's, whatever way the images are stored, and in radiological
convention: the patient's right is on the left of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from jaxtyping import Shaped
from scipy import ndimage

from hanseg_shared.grid import Grid, Matrix, Vector
from hanseg_shared.itk import Interpolation
from hanseg_shared.volume import Volume

PIXEL_MM = 0.8
"""Pixel edge of the planes that are sampled, unless another is asked for."""

MIDDLE_MM = 5.0
"""A sagittal plane this near to the patient's middle lies on neither side."""

OUTER_FACE = 0.5 + 1e-6
"""A voxel reaches so far from its centre, in voxels, rounding included."""

Pixels = Shaped[np.ndarray, "rows columns"]


class Direction(Enum):
    """Which way a plane is cut; the value is the LPS axis it is perpendicular to."""

    AXIAL = 2
    CORONAL = 1
    SAGITTAL = 0

    @property
    def across(self) -> int:
        """The LPS axis from left to right in the picture."""
        return 1 if self is Direction.SAGITTAL else 0

    @property
    def down(self) -> int:
        """The LPS axis along the picture's vertical."""
        return 1 if self is Direction.AXIAL else 2

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """What lies at the left, right, top and bottom of the picture."""
        left, right = ("A", "P") if self is Direction.SAGITTAL else ("R", "L")
        top, bottom = ("A", "P") if self is Direction.AXIAL else ("S", "I")
        return left, right, top, bottom


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane to be shown.

    Attributes:
        direction: Which way it is cut.
        at_mm: Its place on the axis it is perpendicular to, LPS.
    """

    direction: Direction
    at_mm: float

    def side(self, middle_mm: float) -> str:
        """Return on which side of the patient a sagittal plane lies.

        Words to put behind a title, such as ``, left side``; nothing for other planes.
        """
        if self.direction is not Direction.SAGITTAL:
            return ""
        off = self.at_mm - middle_mm  # towards the patient's left
        if abs(off) < MIDDLE_MM:
            return ", middle"
        return ", left side" if off > 0 else ", right side"

    def grid(self, low: Vector, high: Vector, *, pixel_mm: float = PIXEL_MM) -> Grid:
        """Return the plane's pixels, one voxel thick, over the box `low` to `high`.

        The first index axis runs to the right of the picture. The second runs down it
        in an axial plane, and up it in the others.
        """
        u, v = self.direction.across, self.direction.down
        origin = list(low)
        origin[self.direction.value] = self.at_mm
        columns = np.eye(3)[[u, v]]
        normal = np.cross(columns[0], columns[1])
        rows = np.stack((*columns, normal), axis=1)
        size = [
            int(np.ceil((high[axis] - low[axis]) / pixel_mm)) + 1 for axis in (u, v)
        ]
        x, y, z = origin
        return Grid(
            (size[0], size[1], 1), (pixel_mm, pixel_mm, 1.0), (x, y, z), _matrix(rows)
        )


def sample_plane(
    volume: Volume,
    pixels: Grid,
    *,
    interpolation: Interpolation = Interpolation.LINEAR,
    background: float = 0.0,
) -> Pixels:
    """Return what a volume shows in a plane's pixels.

    Only the plane is computed: nothing of the size of the volume is copied.

    Args:
        volume: What is sampled; up to half a voxel beyond its outer centres it has
            the value of the nearest.
        pixels: The plane, one voxel thick.
        interpolation: How values between voxels are found.
        background: The value where the volume has none.

    Returns:
        Values of shape ``(rows, columns)``: float32, or the volume's own type for
        `Interpolation.NEAREST`.
    """
    nearest = interpolation is Interpolation.NEAREST
    array = volume.array
    if array.dtype in (np.bool_, np.float16):
        array = array.astype(np.uint8 if array.dtype == np.bool_ else np.float32)
    columns, rows, _ = pixels.size
    index = np.linalg.inv(volume.grid.world_from_index) @ pixels.world_from_index
    values = ndimage.affine_transform(
        array,
        index[2::-1, 2::-1],
        offset=index[2::-1, 3],
        output_shape=(1, rows, columns),
        output=array.dtype if nearest else np.float32,
        order=0 if nearest else 1,
        mode="nearest",
        prefilter=False,
    )[0]
    values[_outside(index, volume.grid, rows, columns)] = background
    return values


def _outside(
    index: npt.NDArray[np.float64], grid: Grid, rows: int, columns: int
) -> npt.NDArray[np.bool_]:
    """Return which pixels lie in no voxel, shape ``(rows, columns)``.

    Args:
        index: Homogeneous 4 x 4 matrix from pixels (column, row, 0) to voxels (x, y, z)
            of a grid.
        grid: The voxels.
        rows: Rows of the plane.
        columns: Columns of the plane.
    """
    outside = np.zeros((rows, columns), dtype=bool)
    for size, (per_column, per_row, _, first) in zip(
        grid.size, index[:3].tolist(), strict=True
    ):
        place = first + per_row * np.arange(rows)[:, np.newaxis]
        place = place + per_column * np.arange(columns)
        outside |= (place < -OUTER_FACE) | (place > size - 1 + OUTER_FACE)
    return outside


def _matrix(values: npt.NDArray[np.float64]) -> Matrix:
    rows: list[Vector] = []
    for row in values.tolist():
        x, y, z = row
        rows.append((x, y, z))
    return rows[0], rows[1], rows[2]
