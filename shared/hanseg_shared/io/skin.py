"""The patient's outline to the voxel: shells and masks that touch the skin taken off.

Around a roughly known body, dense voxels belong to the patient if

1. a ball of `SHELL_MM` fits in where they are (shells of couch and head rest and
   thermoplastic masks are thinner, also where one ends at the skin), or
2. they are a small thin part that is attached to these: an ear, a nostril, a lip.
   Shells and masks reach further than `LARGEST_THIN_PART_MM`.

What lies flat on the skin without air between cannot be told from skin: a couch's top
layer stays under the patient where it is touched, and ends a voxel beside it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hanseg_shared.grid import Grid
from hanseg_shared.io.morphology import depth_in, fill_slices, voxels_near
from hanseg_shared.volume import Mask

SHELL_MM = 8.0
"""Thinner than this are shells and masks (2 to 5 mm, blurred), and ears."""

LARGEST_THIN_PART_MM = 80.0
"""An ear, a nostril or a lip is no longer than this; a shell or a mask is."""

REACH_MM = 30.0
"""So far from the rough body its parts reach: an ear does."""

ROUGH_MM = 6.0
"""The rough body's surface is that accurate; what is deeper in it is patient."""

MARGIN_MM = 3.0
"""What is kept around the skin, or a voxel where that is larger: it is partly skin."""


def without_shells(dense: Mask, rough: Mask, grid: Grid) -> Mask:
    """Return the body with `MARGIN_MM` around it, cavities filled.

    Args:
        dense: Voxels denser than air, of about 2 mm.
        rough: The body as found among coarse voxels.
        grid: Where both are.
    """
    inner = _deeper(rough, ROUGH_MM, grid)
    thick = _thick(dense, grid) | inner
    solid = fill_slices(thick, grid)
    thin = dense & ~solid
    kept = _thin_parts(thin, solid, grid)
    near = voxels_near(rough, REACH_MM, grid)
    body = (solid | kept) & near
    skin = fill_slices(body | (ndimage.binary_dilation(body) & thin), grid)
    shells = thin & ~skin
    margin = max(MARGIN_MM, *grid.spacing)
    around = ndimage.binary_dilation(shells) & ~skin
    return np.asarray(voxels_near(skin, margin, grid) & ~around)


def _thick(dense: Mask, grid: Grid) -> Mask:
    """Return where a ball of `SHELL_MM` fits in, or of two voxels if those are more."""
    radius = max(SHELL_MM / 2.0, 1.01 * max(grid.spacing[:2]))
    core = depth_in(dense, grid) > radius
    return voxels_near(core, radius, grid) & dense if core.any() else core


def _thin_parts(thin: Mask, solid: Mask, grid: Grid) -> Mask:
    """Return the small parts of what is thin that are attached to what is solid."""
    parts, count = ndimage.label(thin, np.ones((3, 3, 3), dtype=bool))
    attached = np.zeros(count + 1, dtype=bool)
    attached[np.unique(parts[ndimage.binary_dilation(solid)])] = True
    attached[0] = False
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        sides = zip(box, grid.spacing[::-1], strict=True)
        longest = max((side.stop - side.start) * mm for side, mm in sides)
        attached[number] &= longest <= LARGEST_THIN_PART_MM
    return np.asarray(attached[parts])


def _deeper(mask: Mask, distance_mm: float, grid: Grid) -> Mask:
    """Return the voxels of a mask that are further than a distance from its edge."""
    return np.asarray(depth_in(mask, grid) > distance_mm)
