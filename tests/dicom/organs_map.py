"""A small label map whose organs are hard to write: rings, islands, single voxels."""

from __future__ import annotations

import numpy as np

from hanseg_shared.documents import ModelSummary
from hanseg_shared.grid import Grid
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume
from tests.dicom.cases import DIRECTIONS
from tests.grids import OBLIQUE_DIRECTION

MODEL = ModelSummary(name="hanseg", version="0.2.0", sha256="0" * 64)

GRID = Grid((44, 40, 14), (0.9, 0.9, 2.5), (-20.0, -18.0, -60.0))

GEOMETRIES = {
    **{
        name: Grid(GRID.size, GRID.spacing, GRID.origin, way)
        for name, way in DIRECTIONS.items()
    },
    "oblique": Grid(GRID.size, GRID.spacing, GRID.origin, OBLIQUE_DIRECTION),
    "odd": Grid(GRID.size, (0.4883, 0.4883, 1.25), (-211.7, 3.3, 1e3)),
}
"""Grids of that size, as patients lie and scanners store them."""

ORGANS = (
    "Bone_Mandible",
    "Eye_AL",
    "Eye_AR",
    "Eye_PL",
    "Eye_PR",
    "Parotid_L",
    "Parotid_R",
    "Pituitary",
    "SpinalCord",
)
"""In order of their labels, as the default template has them."""


def organs_map(grid: Grid = GRID) -> Volume:
    """Return the labels, on a grid of the size of `GRID`.

    The mandible is a ring with an island in its hole, the cord nearly symmetric, the
    pituitary one voxel, the left parotid lopsided, and the eyes touch.
    """
    z, y, x = np.ogrid[: grid.size[2], : grid.size[1], : grid.size[0]]
    labels = np.zeros(grid.shape, dtype=np.uint8)

    def put(name: str, mask: np.ndarray) -> None:
        labels[np.broadcast_to(mask, labels.shape)] = organ(name).label

    apart = np.hypot(y - 12, x - 21)
    put("Bone_Mandible", (apart < 10) & (z > 1) & (z < 8))
    labels[2:7][np.broadcast_to(apart < 6, labels.shape)[2:7]] = 0
    put("Bone_Mandible", (apart < 2) & (z > 2) & (z < 6))
    put("SpinalCord", (np.hypot(y - 33, x - 21) < 6) & (z > 0) & (z < 12))
    labels[4, 33, 25] = 0  # what tells the cord from its mirror image
    put("Parotid_L", (abs(y - 24) < 6) & (x > 33) & (x < 40 - z // 2) & (z > 3))
    put("Parotid_R", (np.hypot(y - 24, x - 7) < 4) & (z > 3) & (z < 11))
    for side, column in (("L", 30), ("R", 12)):
        put(f"Eye_P{side}", (np.hypot(y - 28, x - column) < 3) & (z > 9))
        put(f"Eye_A{side}", (np.hypot(y - 28, x - column) < 3) & (z > 9) & (y < 27))
    labels[9, 20, 21] = organ("Pituitary").label
    return Volume(labels, grid)
