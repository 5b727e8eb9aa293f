"""Checks of contours against the CT and each other: grid, air, size and overlap."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from hanseg_lab.declaration import Label
from hanseg_lab.training.allowed import TISSUE_HU
from hanseg_lab.training.datasets.dataset import Contour
from hanseg_lab.training.organ_places import places_of_organs
from hanseg_shared.grid import Grid
from hanseg_shared.organs import organ
from hanseg_shared.volume import Mask, Volume

LARGEST_AIR_SHARE = 0.9
"""A contour with a larger share of air is not inside the patient. Some organs hold air,
but none consists of it."""

LARGEST_OVERLAP = 0.1
"""Largest share of the smaller of two organs that may belong to the other as well."""

NEIGHBOURS = (
    {"Arytenoid", "Glottis", "Larynx_SG", "Cricopharyngeus", "Esophagus_S"},
    {"Lips", "Cavity_Oral", "BuccalMucosa"},
    {"Eye_AL", "Eye_PL"},
    {"Eye_AR", "Eye_PR"},
    {"Brainstem", "SpinalCord"},
)
"""Groups of organs within each other or without an agreed border; they may overlap."""

USUAL_FACTOR = 6.0
"""An organ larger or smaller than usual by this factor is reported."""

CHECKED_ML = 1.0
"""Only organs that are usually larger than this are checked for size."""

Start = tuple[int, int, int]


def place_in_ct(contour: Contour, ct: Grid) -> Start | None:
    """Return the CT's voxel (x, y, z) at which a contour begins; None if off its grid.

    The file may hold any part of the grid, as 3D Slicer saves segments.
    """
    return ct.offset_of(contour.mask.grid)


def off_grid(contour: Contour, ct: Grid) -> str | None:
    """Return what is wrong with a contour's position, or None."""
    name, grid = contour.label.name, contour.mask.grid
    start = place_in_ct(contour, ct)
    if start is None:
        return (
            f"{name} is not on the CT's grid: {ct.difference_of_part(grid)}; resample "
            "it to the CT"
        )
    ends = np.add(start, grid.size)
    if min(start) < 0 or bool((ends > ct.size).any()):
        return (
            f"{name} reaches outside the CT: voxels {start} to "
            f"{tuple(int(e) - 1 for e in ends)} of {ct.size}; crop it"
        )
    return None


def in_air(contour: Contour, ct: Volume) -> str | None:
    """Return a message if a contour inside the CT lies in air, else None."""
    values = _under(contour, ct)
    share = float((values < TISSUE_HU).mean())
    if share <= LARGEST_AIR_SHARE:
        return None
    return (
        f"{contour.label.name} lies outside the patient: {share:.0%} of it is air "
        f"(below {TISSUE_HU:.0f} HU); check that it was contoured on this CT"
    )


def _under(contour: Contour, ct: Volume) -> np.ndarray:
    start = place_in_ct(contour, ct.grid)
    assert start is not None
    z, y, x = (
        slice(i, i + n)
        for i, n in zip(start[::-1], contour.mask.grid.shape, strict=True)
    )
    values: np.ndarray = ct.array[z, y, x][contour.mask.array]
    return values


def unusual_size(contour: Contour) -> str | None:
    """Return a message if an organ is far larger or smaller than usual, else None."""
    name = contour.label.organ
    if name is None:
        return None
    usual = places_of_organs()[organ(name).label].mean_ml
    size = np.count_nonzero(contour.mask.array) * contour.mask.grid.voxel_ml
    if usual < CHECKED_ML or usual / USUAL_FACTOR <= size <= usual * USUAL_FACTOR:
        return None
    return f"{contour.label.name} has {size:.1f} ml; about {usual:.0f} ml are usual"


def overlaps(contours: Sequence[Contour], ct: Grid) -> Iterator[tuple[str, bool]]:
    """Yield each overlap, and whether it is too large to be intended.

    Args:
        contours: All of a case, on the CT's grid.
        ct: That grid.
    """
    ours = [each for each in contours if each.label.organs]
    for one, other in itertools.combinations(ours, 2):
        if {*one.label.organs} & {*other.label.organs}:
            continue  # declared to overlap, as a lens in its orbit
        both = _common_voxels(one, other, ct)
        smaller = min((one, other), key=lambda d: np.count_nonzero(d.mask.array))
        share = both / np.count_nonzero(smaller.mask.array)
        if not both:
            continue
        overlap = f"{one.label.name} and {other.label.name} overlap in {both} voxels"
        meant = share <= LARGEST_OVERLAP or _are_neighbours(one.label, other.label)
        remedy = "either is allowed there" if meant else "decide whose they are"
        yield f"{overlap}, {share:.0%} of {smaller.label.name}; {remedy}", not meant


def _common_voxels(one: Contour, other: Contour, ct: Grid) -> int:
    starts = np.array([place_in_ct(each, ct) for each in (one, other)])
    ends = starts + [each.mask.grid.size for each in (one, other)]
    low, high = starts.max(axis=0), ends.min(axis=0)
    if (high <= low).any():
        return 0
    first, second = (
        _part(each.mask.array, low - start, high - start)
        for each, start in zip((one, other), starts, strict=True)
    )
    return int(np.count_nonzero(first & second))


def _part(mask: Mask, low: np.ndarray, high: np.ndarray) -> Mask:
    """Return the part of a mask between two voxels (x, y, z)."""
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part: Mask = mask[z, y, x]
    return part


def _are_neighbours(one: Label, other: Label) -> bool:
    organs = {*one.organs, *other.organs, *one.also, *other.also}
    return any(organs <= group for group in NEIGHBOURS)
