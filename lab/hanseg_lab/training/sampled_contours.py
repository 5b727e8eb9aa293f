"""Contours of a real case on the sample's grid, and the patient's position by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hanseg_lab.declaration import Label
from hanseg_lab.training.courses import AXIS_ORGANS
from hanseg_shared.grid import Grid, Points
from hanseg_shared.volume import Mask

LARGEST_CORD_MM2 = 600.0
"""A contour with a larger mean area is neither cord nor canal, and is not used."""


@dataclass(frozen=True, slots=True, eq=False)
class SampledContour:
    """The contour of a label, on the sample's grid.

    Attributes:
        label: The label.
        mask: Its voxels.
    """

    label: Label
    mask: Mask


def origin_of(contours: Sequence[SampledContour], grid: Grid) -> Points | None:
    """Return the brain stem's centroid, in mm LPS, x midway between the parotids.

    None if one of the three has no contour.

    Args:
        contours: All contours.
        grid: The grid of its masks.
    """
    places = {
        each.label.organ: np.argwhere(each.mask).mean(axis=0)[::-1]
        for each in contours
        if each.label.organ in {"Brainstem", "Parotid_L", "Parotid_R"}
        and each.mask.any()
    }
    if len(places) < 3:
        return None
    index = places["Brainstem"].copy()
    index[0] = (places["Parotid_L"][0] + places["Parotid_R"][0]) / 2
    return grid.index_to_world(index)


def axes_from(origin: Points, grid: Grid) -> tuple[Points, ...]:
    """Return the places (x, y, z) of a grid's voxels along its axes, from a point.

    Args:
        origin: The point, in mm LPS.
        grid: A grid along the patient's axes.
    """
    return tuple(
        np.arange(n) * s + o - c
        for n, s, o, c in zip(grid.size, grid.spacing, grid.origin, origin, strict=True)
    )


def middle_of_cord(
    contours: Sequence[SampledContour], x: Points, y: Points
) -> Points | None:
    """Return the middle of cord and brain stem at each level, NaN where none is.

    None if the cord has no contour, or one that is too large to be a cord.

    Args:
        contours: All contours.
        x: Places of the masks' columns in mm.
        y: Places of their rows.

    Returns:
        Shape ``(levels, 2)``: x, y.
    """
    masks = {each.label.organ: each.mask for each in contours if each.mask.any()}
    cord = masks.get("SpinalCord")
    if cord is None:
        return None
    counts = cord.sum(axis=(1, 2))
    if counts[counts > 0].mean() * (x[1] - x[0]) * (y[1] - y[0]) > LARGEST_CORD_MM2:
        return None
    whole = np.logical_or.reduce([masks[name] for name in AXIS_ORGANS if name in masks])
    counts = whole.sum(axis=(1, 2))
    shown = counts > 0
    middle = np.full((len(whole), 2), np.nan)
    middle[shown, 0] = (whole.sum(axis=1) @ x)[shown] / counts[shown]
    middle[shown, 1] = (whole.sum(axis=2) @ y)[shown] / counts[shown]
    return middle
