"""Sets of labels as bits: what a voxel may be when not every organ has a contour.

Bit ``k`` stands for label ``k``; bit 0 is the background. A voxel of a fully known
case has one bit; a voxel outside all contours has the background's bit and the bits
of all organs that have no contour in that case.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt

from hanseg_shared.organs import (
    BACKGROUND,
    ORGANS,
    Side,
    counterpart,
    mirrored_labels,
    organ,
)

CLASSES = len(ORGANS) + 1
"""Background and 30 organs."""

ONLY_BACKGROUND = 1 << BACKGROUND

EVERYTHING = (1 << CLASSES) - 1
"""The set of all labels: such a voxel has no influence on training."""

_HALF_BITS, _HALF = 16, 0xFFFF
"""A set's 31 bits are looked up in two halves."""

Bits = npt.NDArray[np.int32]


def bits_of(names: Iterable[str]) -> int:
    """Return the set of the organs of these names."""
    return sum(1 << organ(name).label for name in names)


def channels_of_organs(*, merged_sides: bool) -> dict[str, int]:
    """Return the output channel of each organ: its label, or one for a pair."""
    if not merged_sides:
        return {each.name: each.label for each in ORGANS}
    channels: dict[str, int] = {}
    for each in ORGANS:
        left = counterpart(each) if each.side is Side.RIGHT else None
        shared = None if left is None else channels[left.name]
        channels[each.name] = shared or max(channels.values(), default=0) + 1
    return channels


def merge_sets(sets: Bits) -> Bits:
    """Return the sets of channels that sets of labels are, where sides are merged."""
    low, high = _merging_tables()
    merged: Bits = low[sets & _HALF] | high[(sets >> _HALF_BITS) & _HALF]
    return merged


def merge_sizes(sizes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return sizes by channel from sizes by label, where sides are merged.

    A pair of which one size is unknown, which is 0, has an unknown size.
    """
    channels = channels_of_organs(merged_sides=True)
    merged = np.zeros(max(channels.values()) + 1, np.float32)
    unknown = {n for name, n in channels.items() if not sizes[organ(name).label]}
    for name, channel in channels.items():
        if channel not in unknown:
            merged[channel] += sizes[organ(name).label]
    return merged


@cache
def _merging_tables() -> tuple[Bits, Bits]:
    """Return the merged sets of all sets of the lower, and the upper, 16 labels."""
    channels = {BACKGROUND: BACKGROUND}
    for name, channel in channels_of_organs(merged_sides=True).items():
        channels[organ(name).label] = channel
    halves = np.arange(_HALF + 1, dtype=np.int32)
    tables = np.zeros((2, _HALF + 1), np.int32)
    for label, channel in channels.items():
        table = tables[label // _HALF_BITS]
        table |= ((halves >> (label % _HALF_BITS)) & 1) << channel
    return tables[0], tables[1]


def mirror_sets(sets: Bits) -> Bits:
    """Return the sets with left and right labels exchanged."""
    table = mirrored_labels()
    result = np.zeros_like(sets)
    for label in range(CLASSES):
        result |= ((sets >> label) & 1) << int(table[label])
    return result
