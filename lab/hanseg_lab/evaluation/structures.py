"""Structures that are scored: an organ, or several of our organs as one.

A structure of several organs, such as a whole eye, is named as its organs in order of
the labels, joined by ``+``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hanseg_shared.metrics.surface import lattice_offset
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume

JOIN = "+"
"""Between the organs of a structure."""


def structure(organs: Iterable[str]) -> str:
    """Return the name of some organs together.

    Raises:
        OptionError: One is no organ of ours.
    """
    return JOIN.join(sorted(set(organs), key=lambda name: organ(name).label))


def organs_in(name: str) -> tuple[str, ...]:
    """Return the organs of a structure."""
    return tuple(name.split(JOIN))


def label_order(name: str) -> tuple[int, ...]:
    """Return a key that sorts structures in order of their labels.

    Raises:
        OptionError: It holds something that is no organ of ours.
    """
    return tuple(organ(each).label for each in organs_in(name))


def in_label_order(names: Iterable[str]) -> list[str]:
    """Return structures in order of their labels, each once."""
    return sorted(set(names), key=label_order)


def with_structures_of(
    masks: Mapping[str, Volume], other: Mapping[str, Volume]
) -> dict[str, Volume]:
    """Return masks with the organs joined that are one structure in others.

    Args:
        masks: By structure.
        other: The masks that they are compared with.
    """
    result = dict(masks)
    for name in other:
        parts = [result[each] for each in organs_in(name) if each in result]
        if name in result or not parts:
            continue
        for each in organs_in(name):
            result.pop(each, None)
        result[name] = _union(parts)
    return result


def _union(masks: Sequence[Volume]) -> Volume:
    """Return where any of some masks on one lattice is.

    Raises:
        GridMismatchError: They are not on one lattice.
    """
    first = masks[0]
    starts = [np.array(lattice_offset(first.grid, mask.grid)) for mask in masks]
    stops = [
        start + mask.array.shape for start, mask in zip(starts, masks, strict=True)
    ]
    low, high = np.min(starts, axis=0), np.max(stops, axis=0)
    array = np.zeros(tuple(high - low), dtype=np.bool_)
    for start, stop, mask in zip(starts, stops, masks, strict=True):
        place = tuple(
            slice(*ends) for ends in zip(start - low, stop - low, strict=True)
        )
        array[place] |= mask.array
    z, y, x = (int(n) for n in low)
    depth, height, width = array.shape
    return Volume(array, first.grid.crop((x, y, z), (width, height, depth)))
