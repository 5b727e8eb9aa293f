"""What fills an image's border: padding that a scanner or an export wrote there.

A scanner or an export fills what it did not measure with one value: outside the scan's
circle, around a slab, in padded planes. The value need not be the darkest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_shared.volume import Volume

SMALLEST_FLAT_SHARE = 0.02
"""Share of the image's faces that must be flat, all of one value, to be a filling."""

LARGEST_STRAY_SHARE = 0.7
"""Of a filling's voxels on a face, so many may have a neighbour of another value:
the values of noise nearly all have one, those of a filling hardly ever."""

Face = npt.NDArray[np.generic]


def fill_value(image: Volume) -> float | None:
    """Return the value that fills a part of the image's border, None without one."""
    found = fill_values(image)
    return found[0] if found else None


def fill_values(image: Volume) -> tuple[float, ...]:
    """Return the values that fill parts of the image's border, the widest first.

    NaN is none of them: it equals nothing.
    """
    faces = [image.array.take(at, axis=axis) for axis in range(3) for at in (0, -1)]
    candidates = {_most_frequent(face) for face in faces} | {float(image.array.min())}
    flat = {value: _flat_voxels(faces, value) for value in sorted(candidates)}
    enough = SMALLEST_FLAT_SHARE * max(face.size for face in faces)
    found = [value for value in flat if flat[value] >= enough]
    return tuple(sorted(found, key=lambda value: flat[value], reverse=True))


def _most_frequent(face: Face) -> float:
    values, counts = np.unique(face, return_counts=True)
    return float(values[counts.argmax()])


def _flat_voxels(faces: list[Face], value: float) -> int:
    """Return how many border voxels of a value have no neighbour of another.

    0 if they are few among those of that value: then it is noise that has it.
    """
    equal = [face == value for face in faces]
    flat = sum(int(ndimage.binary_erosion(e, border_value=1).sum()) for e in equal)
    found = sum(int(e.sum()) for e in equal)
    return flat if flat > (1.0 - LARGEST_STRAY_SHARE) * found else 0
