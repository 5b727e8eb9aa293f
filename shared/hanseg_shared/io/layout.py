"""Where a file keeps its voxels: offset, encoding, data type and number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hanseg_shared.grid import Matrix, Vector

Size = tuple[int, int, int]


class Encoding(Enum):
    """How a file's bytes become voxels."""

    RAW = "raw"
    """As they are, from the offset on."""

    GZIP_FILE = "gzip file"
    """The whole file, header included, is a gzip stream; the offset is within it."""

    DEFLATED = "deflated"
    """A gzip or zlib stream begins at the offset."""


class Geometry(NamedTuple):
    """Where a header puts voxels, in mm LPS; its direction may be rounded."""

    spacing: Vector
    origin: Vector
    direction: Matrix


@dataclass(frozen=True, slots=True)
class VoxelLayout:
    """What a header says about the voxels, before anything of them is read.

    Attributes:
        size: Number of voxels along x, y, z.
        dtype: Type of one stored voxel, with its byte order.
        encoding: How bytes become voxels.
        offset: Where the voxels begin, in bytes; see `Encoding`.
        slope: A voxel's value is ``stored * slope + intercept``.
        intercept: See `slope`.
        geometry: Where the voxels are, if this header's parser says it.
        remarks: What a person should know of where they lie, though nothing is refused.
    """

    size: Size
    dtype: np.dtype[np.generic]
    encoding: Encoding
    offset: int
    slope: float = 1.0
    intercept: float = 0.0
    geometry: Geometry | None = None
    remarks: tuple[str, ...] = ()

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.size)

    @property
    def expected_bytes(self) -> int:
        """Number of bytes of all voxels, decoded."""
        return self.voxels * self.dtype.itemsize

    @property
    def is_scaled(self) -> bool:
        """Whether stored numbers differ from values."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    def values(self, stored: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return values from stored numbers, in the machine's byte order."""
        native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        if not self.is_scaled:
            return native
        scaled: npt.NDArray[np.float64] = native * np.float64(self.slope)
        return scaled + self.intercept
