"""Which planes show most of the organs of a label map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from hanseg_shared.organs import ORGANS
from hanseg_shared.pictures.planes import Direction, Plane
from hanseg_shared.volume import Volume

BIN_MM = 3.0
"""Planes this close are taken for one when the best is looked for."""

LEAST_DISTANCE_MM = 20.0
"""Two planes of one direction are at least so far apart."""


def choose_planes(labels: Volume, directions: Iterable[Direction]) -> list[Plane]:
    """Return a plane of each direction; each shows as many new organs as it can.

    Where there are no organs, planes go through the grid's middle.
    """
    index = np.array(np.nonzero(labels.array))
    points = labels.grid.index_to_world(index[::-1].T)
    label = labels.array[tuple(index)]
    shown = np.zeros(len(ORGANS) + 1, dtype=bool)
    planes: list[Plane] = []
    for direction in directions:
        at = float(labels.grid.centre[direction.value])
        if len(label):
            places = points[:, direction.value]
            taken = [plane.at_mm for plane in planes if plane.direction is direction]
            at = _best_place(places, label, shown, taken)
            shown[np.unique(label[np.abs(places - at) <= BIN_MM / 2])] = True
        planes.append(Plane(direction, at))
    return planes


def _best_place(
    places: npt.NDArray[np.float64],
    label: npt.NDArray[np.uint8],
    shown: npt.NDArray[np.bool_],
    taken: list[float],
) -> float:
    """Return the place with most organs that are not shown yet; area breaks ties.

    It keeps its distance from planes that are `taken`, if it can.
    """
    first = places.min()
    bins = ((places - first) / BIN_MM).astype(np.int64)
    count = int(bins.max()) + 1
    voxels = np.zeros((count, len(ORGANS) + 1))
    np.add.at(voxels, (bins, label), 1.0)
    new = (voxels[:, ~shown] > 0).sum(axis=1)
    known = (voxels[:, shown] > 0).sum(axis=1)
    score = new + 0.3 * known + voxels.sum(axis=1) / voxels.sum()
    middles = first + (np.arange(count) + 0.5) * BIN_MM
    for other in taken:
        score[np.abs(middles - other) < LEAST_DISTANCE_MM] -= len(ORGANS)
    score[voxels.sum(axis=1) == 0] = -np.inf
    best = int(score.argmax())
    inside = places[bins == best]
    return float(inside[np.abs(inside - middles[best]).argmin()])
