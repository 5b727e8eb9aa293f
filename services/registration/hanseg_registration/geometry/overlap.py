"""Where the CT's head and the MR's data overlap at a pose.

A motion with more freedom than a rigid one can raise the similarity by what it brings
into the field of view or pushes out of it. In a fixed region of comparison the
similarity rises only if the images match better.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hanseg_registration.geometry.head import Head
from hanseg_registration.geometry.motions import Motion, apply
from hanseg_registration.geometry.sampling import look_up
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Mask, Volume

INSIDE_MM = 4.0
"""How far from the border of the MR's data a point must be, so that a small motion does
not take it across."""


def overlap_region(grid: Grid, head: Head, data: Volume, mr_from_ct: Motion) -> Volume:
    """Return 1 on a grid of the CT where its head is in the MR's data, as uint8.

    Args:
        grid: The grid of the CT's head; see `engines.elastix.crop_head`.
        head: The CT's head, whose mask is looked up.
        data: 1 where the MR has data; see `hanseg_registration.geometry.field_of_view`.
        mr_from_ct: The pose.
    """
    index = np.indices(grid.shape).reshape(3, -1)[::-1].T
    points = grid.index_to_world(index)
    mask = head.coarse.with_array(head.mask.astype(np.uint8))
    in_data = _is_set(data, apply(mr_from_ct, points)).reshape(grid.shape)
    depth = ndimage.distance_transform_edt(in_data, sampling=grid.spacing[::-1])
    region = (depth > INSIDE_MM) & _is_set(mask, points).reshape(grid.shape)
    return Volume(region.astype(np.uint8), grid)


def _is_set(mask: Volume, points: np.ndarray) -> Mask:
    """Return at which points, ``(n, 3)``, a mask is set; outside it is not."""
    values, inside = look_up(mask, points)
    return np.asarray((values > 0.5) & inside)
