"""Voxels on a grid: an array that never travels without its geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Shaped, UInt8

from hanseg_shared.errors import GridMismatchError
from hanseg_shared.grid import Grid

Voxels = Shaped[np.ndarray, "z y x"]
Mask = Bool[np.ndarray, "z y x"]
LabelMap = UInt8[np.ndarray, "z y x"]


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Voxels, indexed z, y, x, on a `Grid`.

    Raises:
        GridMismatchError: The array's shape is not the grid's.
    """

    array: Voxels
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise GridMismatchError(
                f"array of shape {self.array.shape} on a grid of {self.grid.shape}"
            )

    def with_array(self, array: npt.NDArray[np.generic]) -> Volume:
        """Return another volume of the same grid."""
        return Volume(array, self.grid)

    def __repr__(self) -> str:
        return f"Volume({self.array.dtype}, {self.grid!r})"
