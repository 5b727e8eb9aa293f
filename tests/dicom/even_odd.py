"""The fill of polygons at voxel centres, the plain way: rays to the right, counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def windings(
    polygons: Sequence[npt.NDArray[np.float64]], shape: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return crossings and windings of polygons around each voxel's centre.

    Args:
        polygons: Columns and rows, shape ``(n, 2)`` each.
        shape: Rows and columns of the slice.

    Returns:
        How many edges a ray from the centre to the right crosses, and how often the
        polygons wind around the centre: odd, or not zero, is inside.
    """
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    crossings, turns = (np.zeros(shape, dtype=np.int64) for _ in range(2))
    for polygon in polygons:
        ends = np.roll(polygon, -1, axis=0)
        for (x0, y0), (x1, y1) in zip(polygon, ends, strict=True):
            if y0 == y1:
                continue
            right = x0 + (rows - y0) * (x1 - x0) / (y1 - y0) > columns
            down = (y0 <= rows) & (rows < y1) & right
            up = (y1 <= rows) & (rows < y0) & right
            crossings += down | up
            turns += down.astype(np.int64) - up
    return crossings, turns
