"""Volumes on evenly spaced planes, made of slices that are not: linear along z."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hanseg_shared.io.dicom.planes import Planes

Slices = npt.NDArray[np.generic]


def resample_slices(
    slices: Slices, positions_mm: Sequence[float], planes: Planes
) -> Slices:
    """Return what lies on planes, linear between the slices; whole numbers rounded.

    Args:
        slices: Of shape (slices, rows, columns).
        positions_mm: Where they are along z, ascending.
        planes: Between the first slice and the last.

    Returns:
        Of shape (planes, rows, columns), of the slices' type.
    """
    positions = np.asarray(positions_mm, dtype=np.float64) - positions_mm[0]
    resampled = np.empty((planes.count, *slices.shape[1:]), dtype=slices.dtype)
    whole = slices.dtype.kind in "iu"
    for k in range(planes.count):
        z = min(k * planes.spacing_mm, float(positions[-1]))
        above = int(np.clip(np.searchsorted(positions, z), 1, len(positions) - 1))
        gap = positions[above] - positions[above - 1]
        share = np.float32((z - positions[above - 1]) / gap)
        plane = slices[above - 1] * (1 - share) + slices[above] * share
        resampled[k] = np.rint(plane) if whole else plane
    return resampled
