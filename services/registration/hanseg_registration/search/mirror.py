"""Whether the MR's mirror image fits the CT better: a swap of left and right.

A header written for another convention mirrors an image without a trace, and a head
is so symmetric that such an MR registers well. The mirror image of the MR is therefore
registered too, by a climb from two starts: the mirrored pose, which is near the right
one for a head that is straight and symmetric in the CT, and the result of a separate
coarse search. It must not fit better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hanseg_registration.geometry.head import Head
from hanseg_registration.geometry.motions import Motion, translation
from hanseg_registration.search.coarse import find_starts
from hanseg_registration.similarity.climb import climb
from hanseg_registration.similarity.similarity import Similarity
from hanseg_shared.grid import Grid, Points
from hanseg_shared.volume import Volume

FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])
"""The mirror x = 0, left for right."""


def measure_mirror_similarity(
    similarity: Similarity, starts: Sequence[Motion]
) -> float:
    """Return the similarity that the MR's mirror image reaches by climbing.

    Args:
        similarity: Compares the CT with the MR.
        starts: Poses of the mirror image to climb from; see `mirror_pose` and
            `find_mirror_start`.
    """
    comparison = replace(similarity, mr=mirror_volume(similarity.mr))
    return max(comparison.at(climb(comparison, start)) for start in starts)


def find_mirror_start(ct_head: Head, mr_head: Head) -> Motion:
    """Return the pose at which a coarse search puts the MR's mirror image."""
    return find_starts(ct_head, mirror_head(mr_head), count=1)[0].mr_from_ct


def mirror_head(head: Head) -> Head:
    """Return the head of the mirror image that `mirror_volume` makes."""
    low, high = head.low.copy(), head.high.copy()
    low[0], high[0] = -head.high[0], -head.low[0]
    body, mask = (np.ascontiguousarray(m[:, :, ::-1]) for m in (head.body, head.mask))
    return Head(mirror_volume(head.coarse), body, mask, low, high)


def mirror_volume(volume: Volume) -> Volume:
    """Return the mirror image, left for right, in the plane x = 0.

    The voxels keep their values; the first axis is reversed so that the grid stays
    right-handed.
    """
    grid = volume.grid
    last = grid.index_to_world((grid.size[0] - 1, 0, 0)) * (-1.0, 1.0, 1.0)
    (a, b, c), second, third = grid.direction
    direction = (
        (a, -b, -c),
        (-second[0], second[1], second[2]),
        (-third[0], third[1], third[2]),
    )
    origin = (float(last[0]), float(last[1]), float(last[2]))
    turned = np.ascontiguousarray(volume.array[:, :, ::-1])
    return Volume(turned, Grid(grid.size, grid.spacing, origin, direction))


def mirror_pose(mr_from_ct: Motion, *, ct_centre: Points) -> Motion:
    """Return the pose of the mirror image of a symmetric head's MR.

    The head is assumed to be symmetric about the sagittal plane through `ct_centre`;
    the climb from there corrects for its asymmetry.
    """
    in_head = translation(ct_centre) @ FLIP @ translation(-np.asarray(ct_centre))
    return FLIP @ mr_from_ct @ in_head
