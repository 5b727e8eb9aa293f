"""Whether organs of the left lie left of those of the right."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hanseg_lab.declaration import Label
from hanseg_lab.training.datasets.dataset import Contour
from hanseg_shared.organs import Side, counterpart, organ

LEAST_MIDLINE = 2
"""Fewest organs on the midline, or pairs about it, that show where it is."""

CLEARLY_MM = 5.0
"""A single organ this far across the midline is on the wrong side."""

Centres = Mapping[str, npt.NDArray[np.float64]]


def wrong_sides(contours: Sequence[Contour]) -> Iterator[str]:
    """Yield the contours on the patient's wrong side.

    A pair is compared with itself; an organ whose counterpart has no contour, with the
    midline, if other organs show where that is.
    """
    labels = {each.label.name: each.label for each in contours if each.label.organs}
    centres = {each.label.name: centre(each) for each in contours}
    pairs = list(_pairs(labels.values()))
    for left, right in pairs:
        apart = float(centres[left][0] - centres[right][0])
        if apart < 0:
            yield (
                f"{left} lies {-apart:.0f} mm further to the patient's right than "
                f"{right}; exchange them, or correct the CT's direction"
            )
    middle = _midline(labels.values(), pairs, centres)
    if middle is None:
        return
    paired = {name for pair in pairs for name in pair}
    for name, label in labels.items():
        side = side_of(label)
        across = (middle - float(centres[name][0])) * (1 if side is Side.LEFT else -1)
        if side is not Side.NONE and name not in paired and across > CLEARLY_MM:
            yield f"{name} lies {across:.0f} mm beyond the midline, on the wrong side"


def centre(contour: Contour) -> npt.NDArray[np.float64]:
    """Return a contour's centroid in mm LPS, ``(3,)``."""
    index = np.argwhere(contour.mask.array).mean(axis=0)[::-1]
    return contour.mask.grid.index_to_world(index)


def side_of(label: Label) -> Side:
    """Return the side on which all of a label's organs lie."""
    sides = {organ(name).side for name in label.organs}
    return sides.pop() if len(sides) == 1 else Side.NONE


def _pairs(labels: Collection[Label]) -> Iterator[tuple[str, str]]:
    """Yield the names of labels that are each other's mirror image, left first."""
    by_organs = {frozenset(each.organs): each for each in labels}
    for organs, label in by_organs.items():
        if side_of(label) is Side.LEFT:
            twins = [counterpart(organ(name)) for name in organs]
            twin = by_organs.get(frozenset(t.name for t in twins if t is not None))
            if twin is not None:
                yield label.name, twin.name


def _midline(
    labels: Collection[Label], pairs: Sequence[tuple[str, str]], centres: Centres
) -> float | None:
    """Return the midline's x in mm, or None if too few organs show it."""
    middle = [
        float(centres[each.name][0]) for each in labels if side_of(each) is Side.NONE
    ]
    middle += [float(centres[a][0] + centres[b][0]) / 2 for a, b in pairs]
    return float(np.median(middle)) if len(middle) >= LEAST_MIDLINE else None
