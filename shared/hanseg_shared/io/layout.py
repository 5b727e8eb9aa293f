"""Where a file keeps its voxels: offset, encoding, data type and number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

Size = tuple[int, int, int]
Affine = tuple[tuple[float, ...], ...]


class Encoding(Enum):
    """How a file's bytes become voxels."""

    RAW = "raw"
    """As they are, from the offset on."""

    GZIP_FILE = "gzip file"
    """The whole file, header included, is a gzip stream; the offset is within it."""

    DEFLATED = "deflated"
    """A gzip or zlib stream begins at the offset."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a header says about the voxels, before anything of them is read.

    Attributes:
        size: Number of voxels along x, y, z.
        dtype: Type of one stored voxel, with its byte order.
        encoding: How bytes become voxels.
        offset: Where the voxels begin, in bytes; see `Encoding`.
        slope: A voxel's value is ``stored * slope + intercept``.
        intercept: See `slope`.
        geometries: Where a header that says it twice puts the voxels: names, and the
            three rows of matrices that map (x, y, z, 1) to mm LPS.
    """

    size: Size
    dtype: np.dtype[np.generic]
    encoding: Encoding
    offset: int
    slope: float = 1.0
    intercept: float = 0.0
    geometries: tuple[tuple[str, Affine], ...] = ()

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
