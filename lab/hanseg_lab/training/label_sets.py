"""Sets of labels as bits: what a voxel may be when not every organ has a contour.

Bit ``k`` stands for label ``k``; bit 0 is the background. A voxel of a fully known
case has one bit; a voxel outside all contours has the background's bit and the bits
of all organs that have no contour in that case.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from hanseg_shared.organs import BACKGROUND, ORGANS, mirrored_labels, organ

CLASSES = len(ORGANS) + 1
"""Background and 30 organs."""

ONLY_BACKGROUND = 1 << BACKGROUND

EVERYTHING = (1 << CLASSES) - 1
"""The set of all labels: such a voxel has no influence on training."""

Bits = npt.NDArray[np.int32]


def bits_of(names: Iterable[str]) -> int:
    """Return the set of the organs of these names."""
    return sum(1 << organ(name).label for name in names)


def mirror_sets(sets: Bits) -> Bits:
    """Return the sets with left and right labels exchanged."""
    table = mirrored_labels()
    result = np.zeros_like(sets)
    for label in range(CLASSES):
        result |= ((sets >> label) & 1) << int(table[label])
    return result
