"""What lies around a simulated patient: head rest, mask, the circle of the scan.

Nothing of it changes the patient or the truth; it is for tests and training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_lab.phantom.patient import Painted
from hanseg_lab.phantom.tissue import Tissue
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Mask

Hu = npt.NDArray[np.int16]

SHELL_MM = 3.0
"""Thickness of plastic sheets; a voxel where that is coarser."""

PLASTIC_HU = (-150, 150)
"""Between these a head rest's shell and a thermoplastic mask lie."""

FOAM_HU = -930
REST_DEPTH_MM = 25.0
"""Foam between the shells of a head rest."""

REST_GAP_MM = (1.0, 8.0)
MASK_GAP_MM = (1.0, 5.0)
"""Distance from the skin, smallest and largest."""

COUCH_MM = 50.0
"""Thickness of a couch, foam between two shells."""

CIRCLE_SHARE = (0.8, 1.0)
"""Diameter of the scan's circle as a share of the image's width."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is added around a patient.

    Attributes:
        head_rest: A hollow rest behind head and neck.
        mask: A thermoplastic mask, closed over the front of head and neck.
        circle: Only the scan's circle is measured; it may cut the shoulders.
        padding: What fills the rest of the image, in HU.
        couch: A flat couch that the lowest point of the back lies on; a phantom has
            one that does not always touch it.
        touching: Rest and mask lie on the skin, without air between.
    """

    head_rest: bool = False
    mask: bool = False
    circle: bool = False
    padding: int = -1024
    couch: bool = False
    touching: bool = False

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Return random ones, each with a probability of a half."""
        head_rest, mask, circle = (bool(drawn) for drawn in rng.random(3) < 0.5)
        return cls(head_rest, mask, circle)


def surround(
    hu: Hu,
    outside: Mask,
    grid: Grid,
    chosen: Surroundings,
    rng: np.random.Generator,
) -> Hu:
    """Return a patient's CT with surroundings added where there is no patient.

    Args:
        hu: The CT, on `grid`; slices lie across the patient, from front to back.
        outside: Where there is no patient, cavities neither.
        grid: LPS-aligned.
        chosen: What is added.
        rng: Source of randomness.
    """
    result = hu.copy()
    distance = ndimage.distance_transform_edt(outside, sampling=grid.spacing[::-1])
    behind = np.arange(hu.shape[1])[:, None] > _middle_row(~outside)
    sheet_mm = max(SHELL_MM, *grid.spacing)
    if chosen.couch:
        _add_couch(result, outside, grid, sheet_mm)
    if chosen.head_rest:
        first = rng.uniform(*REST_GAP_MM) * (not chosen.touching)
        last = first + sheet_mm + REST_DEPTH_MM
        place = outside & behind
        plastic = rng.uniform(*PLASTIC_HU)
        result[place & (distance > first) & (distance <= last)] = FOAM_HU
        for start in (first, last):
            shell = (distance > start) & (distance <= start + sheet_mm)
            result[place & shell] = plastic
    if chosen.mask:
        first = rng.uniform(*MASK_GAP_MM) * (not chosen.touching)
        shell = (distance > first) & (distance <= first + sheet_mm)
        result[outside & ~behind & shell] = rng.uniform(*PLASTIC_HU)
    if chosen.circle:
        share = rng.uniform(*CIRCLE_SHARE)
        result[:, _beyond_circle(grid, share)] = chosen.padding
    return result


def outside_of(painted: Painted) -> Mask:
    """Return where a painted patient is not, nor his cavities; couch is outside."""
    outside = np.isin(painted.tissue, (Tissue.AIR, Tissue.FOAM, Tissue.SHELL))
    patient = [ndimage.binary_fill_holes(each) for each in ~outside]
    return np.asarray(~np.stack(patient) & (painted.labels == 0))


def _add_couch(hu: Hu, outside: Mask, grid: Grid, sheet_mm: float) -> None:
    """Put a couch into a CT, right below the patient."""
    rows = np.flatnonzero((~outside).any(axis=(0, 2)))
    below_mm = (np.arange(hu.shape[1])[:, None] - (rows[-1] + 0.5)) * grid.spacing[1]
    hu[outside & (below_mm > 0) & (below_mm <= COUCH_MM)] = FOAM_HU
    for start in (0.0, COUCH_MM - sheet_mm):
        shell = (below_mm > start) & (below_mm <= start + sheet_mm)
        hu[outside & shell] = max(PLASTIC_HU)


def _middle_row(body: Mask) -> float:
    """Return the row in the middle of a body that is not empty; 0 of an empty one."""
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    return float(rows.mean()) if len(rows) else 0.0


def _beyond_circle(grid: Grid, share: float) -> npt.NDArray[np.bool_]:
    """Return where a slice lies outside the circle of a share of its width."""
    nx, ny, _ = grid.size
    dx, dy, _ = grid.spacing
    y = (np.arange(ny) - (ny - 1) / 2)[:, None] * dy
    x = (np.arange(nx) - (nx - 1) / 2) * dx
    return np.asarray(np.hypot(x, y) > share * max(nx * dx, ny * dy) / 2)
