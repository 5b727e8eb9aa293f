"""Whether a mask that was read back is the mask that was written."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hanseg_shared.dicom.scanline import Part
from hanseg_shared.errors import OutputError

SMALL_ML = 0.1
"""Below this volume a single voxel counts for much."""

LEAST_DICE = 0.999
"""Of a structure. The contours of this product give 1.000 for all that was tried."""

LEAST_DICE_OF_SMALL = 0.98
"""Of a structure below `SMALL_ML`."""

MOST_SHIFT_VOXELS = 0.02
"""How far apart the centres of gravity may be along each axis."""

MOST_SHIFT_OF_SMALL = 0.1
"""The same below `SMALL_ML`, where one voxel of fifty moves the centre so far."""

LEAST_SIDED = 0.5
"""Share of the voxels that tell a mask from its mirror image which must be right: of a
mirrored one none is, however nearly symmetric the structure may be."""

AXES = ("from slice to slice", "from row to row", "from column to column")

Mask = npt.NDArray[np.bool_]


def require_same_mask(
    name: str, found: Part | None, wanted: Part, *, voxel_ml: float
) -> None:
    """Raise unless two masks of a stack of slices agree.

    Args:
        name: The structure, for messages.
        found: What was read back.
        wanted: What should have been written; it has voxels.
        voxel_ml: Of a voxel, in ml.

    Raises:
        OutputError: The slices, the overlap, the place or the sides differ.
    """
    if found is None or not found.array.any():
        raise OutputError(f"{name} reads back empty, but its mask is not")
    first = min(found.start[0], wanted.start[0])
    one, other = _on_one_box(found, wanted)
    _require_slices(name, one, other, first)
    small = int(np.count_nonzero(other)) * voxel_ml < SMALL_ML
    _require_overlap(name, one, other, voxel_ml, small=small)
    _require_centre(name, one, other, small=small)
    _require_sides(name, one, other)


def _on_one_box(one: Part, other: Part) -> tuple[Mask, Mask]:
    """Return two masks on the smallest box that holds both."""
    starts = np.array([one.start, other.start])
    stops = starts + np.array([one.array.shape, other.array.shape])
    low, high = starts.min(axis=0), stops.max(axis=0)
    pair = []
    for part in (one, other):
        z, y, x = (int(n) for n in np.array(part.start) - low)
        if part.array.shape == tuple(high - low):
            pair.append(part.array)
            continue
        whole = np.zeros(tuple(high - low), dtype=np.bool_)
        Part(part.array, (z, y, x)).put_into(whole)
        pair.append(whole)
    return pair[0], pair[1]


def _require_slices(name: str, found: Mask, wanted: Mask, first: int) -> None:
    has, needs = found.any(axis=(1, 2)), wanted.any(axis=(1, 2))
    lost, extra = np.flatnonzero(needs & ~has), np.flatnonzero(has & ~needs)
    if len(lost):
        raise OutputError(
            f"{name} reads back without slice {first + lost[0]} of the CT "
            f"({len(lost)} of {needs.sum()} slices are lost, and none may be)"
        )
    if len(extra):
        raise OutputError(
            f"{name} reads back on slice {first + extra[0]} of the CT, where its mask "
            f"is empty ({len(extra)} slices too many, and none may be)"
        )


def _require_overlap(
    name: str, found: Mask, wanted: Mask, voxel_ml: float, *, small: bool
) -> None:
    common = int(np.count_nonzero(found & wanted))
    counts = int(np.count_nonzero(found)), int(np.count_nonzero(wanted))
    dice = 2 * common / sum(counts)
    limit = LEAST_DICE_OF_SMALL if small else LEAST_DICE
    if dice < limit:
        raise OutputError(
            f"{name} reads back with a Dice of {dice:.4f} to its mask, and at least "
            f"{limit} is needed ({counts[0] * voxel_ml:.3f} ml instead of "
            f"{counts[1] * voxel_ml:.3f} ml)"
        )


def _require_centre(name: str, found: Mask, wanted: Mask, *, small: bool) -> None:
    limit = MOST_SHIFT_OF_SMALL if small else MOST_SHIFT_VOXELS
    for axis, along in enumerate(AXES):
        shift = abs(_centre(found, axis) - _centre(wanted, axis))
        if shift > limit:
            raise OutputError(
                f"{name} reads back {shift:.3f} voxels away {along}, and at most "
                f"{limit} is allowed"
            )


def _centre(mask: Mask, axis: int) -> float:
    """Return where a mask's centre of gravity is along an axis, in voxels."""
    others = tuple(each for each in range(3) if each != axis)
    weights = mask.sum(axis=others, dtype=np.float64)
    return float(weights @ np.arange(len(weights)) / weights.sum())


def _require_sides(name: str, found: Mask, wanted: Mask) -> None:
    """Raise if the voxels that tell a mask from its mirror image are the mirrored ones.

    Two masks that overlap well may still be each other's mirror images, if the
    structure is nearly symmetric.
    """
    box = tuple(
        slice(int(places.min()), int(places.max()) + 1)
        for places in (
            np.flatnonzero(wanted.any(axis=others))
            for others in ((1, 2), (0, 2), (0, 1))
        )
    )
    found, wanted = found[box], wanted[box]
    right = found == wanted
    for axis, along in enumerate(AXES):
        telling = wanted != np.flip(wanted, axis)
        count = int(np.count_nonzero(telling))
        if not count:
            continue
        share = int(np.count_nonzero(right & telling)) / count
        if share < LEAST_SIDED:
            raise OutputError(
                f"{name} reads back mirrored {along}: of the {count} voxels that tell "
                f"it from its mirror image {share:.0%} are right, and at least "
                f"{LEAST_SIDED:.0%} must be"
            )
