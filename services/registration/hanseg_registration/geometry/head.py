"""Where the head is in a CT or an MR: a box without couch and shoulders.

A planning CT reaches from the vertex to below the shoulders; its centre is in the
neck, and elastix started from there ends 10 to 60 mm away. Everything that follows
therefore works on the head alone. The head is found from the parts that are thick
enough to be the patient (see `hanseg_shared.io.body.thick_parts`), in a CT and in an MR
alike, with the patient's superior direction taken from the header. Noses, ears and what
is left of a mask are not among them: the verdict's limits were measured without.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hanseg_registration.geometry.sampling import resample_to_lps
from hanseg_registration.geometry.sanity import require_patient_size
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid, Points
from hanseg_shared.io.body import BODY_HU, SMALLEST_BODY_ML, thick_parts
from hanseg_shared.io.morphology import fill_slices, voxels_near
from hanseg_shared.io.otsu import TwoClasses
from hanseg_shared.volume import Mask, Volume

SEARCH_SPACING_MM = 5.0
"""Edge of the cubes on which heads are found and coarsely aligned."""

AIR_HU = -1000.0
"""The value around a CT."""

SHOULDER_WIDTH_MM = 270.0
"""A head, turned by 25 degrees, is narrower than this; a pair of shoulders is not."""

HEAD_LENGTH_MM = 300.0
"""How far below the vertex the box may reach: chin and upper neck included."""

MARGIN_MM = 15.0
"""Air kept around the head: the skin's edge is what aligns outlines."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A head, found on a coarse LPS-aligned grid.

    Attributes:
        coarse: The image on that grid, in float32.
        body: The head on that grid, couch and shoulders excluded.
        mask: The same and `MARGIN_MM` of air around it.
        low, high: Opposite corners of the mask's box, in mm LPS, shape ``(3,)``.
    """

    coarse: Volume
    body: Mask
    mask: Mask
    low: Points
    high: Points

    @property
    def centre(self) -> Points:
        """The box's centre in mm LPS, shape ``(3,)``."""
        return (self.low + self.high) / 2.0

    def points(self, count: int, *, seed: int = 0) -> Points:
        """Return up to `count` voxel centres inside the mask, in mm LPS, ``(n, 3)``."""
        index = np.argwhere(self.mask)[:, ::-1]
        if len(index) > count:
            index = np.random.default_rng(seed).permutation(index)[:count]
        return self.coarse.grid.index_to_world(index)


def find_ct_head(ct: Volume) -> Head:
    """Return the head of a CT in HU.

    Raises:
        ImageContentError: There is no body as large as a head in it, or it is larger
            than any patient.
    """
    require_patient_size(ct, what="the CT")
    coarse = resample_to_lps(ct, SEARCH_SPACING_MM, background=AIR_HU)
    return _find_head(coarse, coarse.array > BODY_HU, what="the CT")


def find_mr_head(mr: Volume) -> Head:
    """Return the head of an MR, whatever its intensity scale.

    Raises:
        ImageContentError: The image is blank, no body stands out from its air, or it
            is larger than any patient.
    """
    require_patient_size(mr, what="the MR")
    low, high = (float(v) for v in np.percentile(mr.array, (0.0, 99.5)))
    if not high > low:
        raise ImageContentError(f"the MR is blank: its values are all {low:g}")
    coarse = resample_to_lps(mr, SEARCH_SPACING_MM, background=low)
    return _find_head(coarse, coarse.array > body_threshold(coarse), what="the MR")


def body_threshold(mr: Volume) -> float:
    """Return the intensity that separates an MR's body from its air.

    Otsu's threshold of the square roots: they make fat less bright, so that muscle and
    brain stay on the body's side.
    """
    low = float(mr.array.min())
    roots = np.sqrt(np.minimum(mr.array - low, np.percentile(mr.array, 99.5) - low))
    return TwoClasses.of(roots, bins=128).threshold ** 2 + low


def _find_head(coarse: Volume, dense: Mask, *, what: str) -> Head:
    body = thick_parts(fill_slices(dense, coarse.grid), coarse.grid)
    body_ml = float(body.sum()) * coarse.grid.voxel_ml
    if body_ml < SMALLEST_BODY_ML:
        raise ImageContentError(
            f"{what} shows no body of the size of a head: {body_ml:.0f} ml stand out "
            f"from the air, and a head has more than {SMALLEST_BODY_ML:.0f} ml"
        )
    bottom, top = _head_slices(body, coarse.grid)
    body[:bottom] = False
    body[top + 1 :] = False
    mask = voxels_near(body, MARGIN_MM, coarse.grid)
    mask[:bottom] = False
    return Head(coarse, body, mask, *_corners(mask, coarse.grid))


def _head_slices(body: Mask, grid: Grid) -> tuple[int, int]:
    """Return the first and last slice of the head, counted from the feet."""
    occupied = np.flatnonzero(body.any(axis=(1, 2)))
    top = int(occupied[-1])
    deepest = max(int(occupied[0]), top - int(HEAD_LENGTH_MM / grid.spacing[2]))
    for z in range(top, deepest - 1, -1):
        columns = np.flatnonzero(body[z].any(axis=0))
        width = (columns[-1] - columns[0] + 1) * grid.spacing[0] if len(columns) else 0
        if width > SHOULDER_WIDTH_MM:
            return min(z + 1, top), top
    return deepest, top


def _corners(mask: Mask, grid: Grid) -> tuple[Points, Points]:
    index = np.argwhere(mask)[:, ::-1]
    return grid.index_to_world(index.min(axis=0)), grid.index_to_world(
        index.max(axis=0)
    )
