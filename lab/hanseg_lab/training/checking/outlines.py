"""Whether drawings lie where a CT has voxels and a patient tissue, each for itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from hanseg_lab.training.allowed import TISSUE_HU
from hanseg_lab.training.datasets.dataset import Drawing
from hanseg_lab.training.places import places_of_organs
from hanseg_shared.declaration import Label
from hanseg_shared.grid import Grid
from hanseg_shared.organs import organ
from hanseg_shared.volume import Mask, Volume

LARGEST_AIR_SHARE = 0.9
"""A drawing with more air than this is not where the patient is. Throats hold air, but
none of our organs is nothing else."""

LARGEST_OVERLAP = 0.1
"""Share of the smaller of two organs that may have been drawn as the other too."""

NEIGHBOURS = (
    {"Arytenoid", "Glottis", "Larynx_SG", "Cricopharyngeus", "Esophagus_S"},
    {"Lips", "Cavity_Oral", "BuccalMucosa"},
    {"Eye_AL", "Eye_PL"},
    {"Eye_AR", "Eye_PR"},
    {"Brainstem", "SpinalCord"},
)
"""Organs that lie in each other or have no agreed border; they may overlap at will."""

USUAL_FACTOR = 6.0
"""An organ this much larger or smaller than usual is pointed out."""

CHECKED_ML = 1.0
"""Size is judged of organs that are usually larger than this."""

Start = tuple[int, int, int]


def place_in_ct(drawing: Drawing, ct: Grid) -> Start | None:
    """Return the CT's voxel (x, y, z) at which a drawing begins; None if off its grid.

    The file may hold any part of the grid, as 3D Slicer saves segments.
    """
    return ct.offset_of(drawing.mask.grid)


def off_grid(drawing: Drawing, ct: Grid) -> str | None:
    """Return what is wrong with a drawing's place, if something is."""
    name, grid = drawing.label.name, drawing.mask.grid
    start = place_in_ct(drawing, ct)
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


def in_air(drawing: Drawing, ct: Volume) -> str | None:
    """Return that a drawing lies in air, if it does; it must lie inside the CT."""
    values = _under(drawing, ct)
    share = float((values < TISSUE_HU).mean())
    if share <= LARGEST_AIR_SHARE:
        return None
    return (
        f"{drawing.label.name} lies outside the patient: {share:.0%} of it is air "
        f"(below {TISSUE_HU:.0f} HU); check that it was drawn on this CT"
    )


def _under(drawing: Drawing, ct: Volume) -> np.ndarray:
    start = place_in_ct(drawing, ct.grid)
    assert start is not None
    z, y, x = (
        slice(i, i + n)
        for i, n in zip(start[::-1], drawing.mask.grid.shape, strict=True)
    )
    values: np.ndarray = ct.array[z, y, x][drawing.mask.array]
    return values


def unusual_size(drawing: Drawing) -> str | None:
    """Return that an organ is far larger or smaller than usual, if it is."""
    name = drawing.label.organ
    if name is None:
        return None
    usual = places_of_organs()[organ(name).label].mean_ml
    size = np.count_nonzero(drawing.mask.array) * drawing.mask.grid.voxel_ml
    if usual < CHECKED_ML or usual / USUAL_FACTOR <= size <= usual * USUAL_FACTOR:
        return None
    return f"{drawing.label.name} has {size:.1f} ml; about {usual:.0f} ml are usual"


def overlaps(drawings: Sequence[Drawing], ct: Grid) -> Iterator[tuple[str, bool]]:
    """Yield what overlaps, and whether it is more than can be meant.

    Args:
        drawings: All of a case, on the CT's grid.
        ct: That grid.
    """
    ours = [each for each in drawings if each.label.organs]
    for one, other in itertools.combinations(ours, 2):
        if {*one.label.organs} & {*other.label.organs}:
            continue  # declared so, as a lens in its orbit
        both = _common_voxels(one, other, ct)
        smaller = min((one, other), key=lambda d: np.count_nonzero(d.mask.array))
        share = both / np.count_nonzero(smaller.mask.array)
        if not both:
            continue
        told = f"{one.label.name} and {other.label.name} overlap in {both} voxels"
        meant = share <= LARGEST_OVERLAP or _are_neighbours(one.label, other.label)
        remedy = "either is allowed there" if meant else "decide whose they are"
        yield f"{told}, {share:.0%} of {smaller.label.name}; {remedy}", not meant


def _common_voxels(one: Drawing, other: Drawing, ct: Grid) -> int:
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
