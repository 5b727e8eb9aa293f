"""The patient's outline to the voxel: shells and masks that touch the skin taken off.

Around a roughly known body, dense voxels belong to the patient if

1. a ball of `SHELL_MM` fits in where they are (shells of couch and head rest and
   thermoplastic masks are thinner, also where one ends at the skin), or
2. they are a small thin part that is attached to these: an ear, a nostril, a lip.
   Shells and masks reach further than `LARGEST_THIN_PART_MM`, and most of them is
   free of the skin.

What lies flat on the skin without air between cannot be told from skin: a couch's top
layer stays under the patient where it is touched, and ends two voxels beside it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hanseg_shared.grid import Grid
from hanseg_shared.io.morphology import deeper_than, fill_slices, voxels_near
from hanseg_shared.volume import Mask

SHELL_MM = 8.0
"""Thinner than this are shells and masks (2 to 5 mm, blurred), and ears."""

LARGEST_THIN_PART_MM = 80.0
"""An ear, a nostril or a lip is no longer than this; a shell or a mask is."""

SMALLEST_TOUCH_SHARE = 0.5
"""A larger part is a layer of the skin if so much of it touches what is solid."""

BESIDE_ROUGH_MM = 10.0
"""So far beside the rough body its solid parts reach: chin and nose do."""

EAR_MM = 30.0
"""So far beside the rough body its thin parts reach."""

ROUGH_MM = 6.0
"""The rough body's surface is that accurate; what is deeper in it is patient."""

MARGIN_MM = 3.0
"""What air is kept around the skin, or 1.5 voxels where those are larger: they are
partly skin. Nothing dense is kept there."""

RIM_VOXELS = 2
"""So much of what is cut off stays at the skin: corners, which no ball reaches."""

ANY_SIDE = np.ones((3, 3, 3), dtype=bool)
"""A voxel and all that share a face, an edge or a corner with it."""


def without_shells(dense: Mask, rough: Mask, grid: Grid) -> Mask:
    """Return the body with `MARGIN_MM` around it, cavities filled.

    Args:
        dense: Voxels denser than air, of about 2 mm.
        rough: The body as found among coarse voxels.
        grid: Where both are.
    """
    inner = deeper_than(rough, ROUGH_MM, grid)
    thick = _thick(dense, grid) | inner
    solid = fill_slices(thick, grid)
    thin = dense & ~solid
    kept = _thin_parts(thin, solid, grid)
    body = solid & voxels_near(rough, BESIDE_ROUGH_MM, grid)
    body |= kept & voxels_near(rough, EAR_MM, grid)
    skin = fill_slices(body | _rim(body, thin), grid)
    around = ndimage.binary_dilation(dense & ~skin) & ~skin
    margin = max(MARGIN_MM, 1.5 * max(grid.spacing))
    return np.asarray(voxels_near(skin, margin, grid) & ~around)


def _thick(dense: Mask, grid: Grid) -> Mask:
    """Return where a ball of `SHELL_MM` fits in, or of two voxels if those are more."""
    radius = max(SHELL_MM / 2.0, 1.01 * sorted(grid.spacing)[1])
    core = deeper_than(dense, radius, grid)
    return voxels_near(core, radius, grid) & dense if core.any() else core


def _thin_parts(thin: Mask, solid: Mask, grid: Grid) -> Mask:
    """Return thin parts of the patient: attached to him, and small or flat on him."""
    parts, count = ndimage.label(thin, ANY_SIDE)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    touching = np.bincount(
        parts[ndimage.binary_dilation(solid) & thin], minlength=count + 1
    )
    kept = touching >= SMALLEST_TOUCH_SHARE * sizes
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        sides = zip(box, grid.spacing[::-1], strict=True)
        longest = max((side.stop - side.start) * mm for side, mm in sides)
        kept[number] |= longest <= LARGEST_THIN_PART_MM and touching[number] > 0
    return np.asarray(thin & kept[parts])


def _rim(body: Mask, thin: Mask) -> Mask:
    """Return what is thin within `RIM_VOXELS` steps through it from a body."""
    allowed = body | thin
    reached = ndimage.binary_dilation(body, ANY_SIDE, RIM_VOXELS, allowed)
    return np.asarray(reached & thin)
