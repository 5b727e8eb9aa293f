"""Where the slices of a volume are padding, and whether it is padding at all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LARGEST_STRAY_SHARE = 0.7
"""Of the padding of a volume, so many voxels may have a neighbour that is none. Those
of a value that is measured nearly all do; padding lies in areas."""

AIR_HU = -850.0
"""No tissue is darker: what is padding in a CT below this changes nothing but air."""

Array = npt.NDArray[np.generic]
Padded = npt.NDArray[np.bool_]


class Padding:
    """Which voxels of a volume have a padding value, kept as bits.

    Args:
        shape: Of a slice: rows, columns.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._bits: dict[int, npt.NDArray[np.uint8]] = {}
        self._voxels = 0
        self._strays = 0

    def __bool__(self) -> bool:
        return bool(self._bits)

    def add(self, index: int, padded: Padded) -> None:
        """Keep where a slice is padded."""
        self._bits[index] = np.packbits(padded)
        voxels = int(padded.sum())
        self._voxels += voxels
        self._strays += voxels - int(_without_border(padded).sum())

    def is_measured(self, hu: Array) -> bool:
        """Whether a CT's padding value is one that tissue has, strewn over it.

        Some exports declare 0 as padding though 0 is water's value: taken at their
        word, they would riddle the patient with air.
        """
        if self._strays <= LARGEST_STRAY_SHARE * self._voxels:
            return False
        lowest = min(float(hu[k][self._where(k)].min()) for k in self._bits)
        return lowest > AIR_HU

    def fill(self, array: Array, value: float) -> None:
        """Set all padded voxels of an array of slices to a value."""
        for k in self._bits:
            array[k][self._where(k)] = value

    def _where(self, index: int) -> Padded:
        rows, columns = self._shape
        flat = np.unpackbits(self._bits[index], count=rows * columns)
        return flat.reshape(self._shape).view(np.bool_)


def _without_border(padded: Padded) -> Padded:
    """Return which voxels have no neighbour in their slice that is not padded."""
    inner = padded.copy()
    inner[1:] &= padded[:-1]
    inner[:-1] &= padded[1:]
    inner[:, 1:] &= padded[:, :-1]
    inner[:, :-1] &= padded[:, 1:]
    return inner
