"""Grids that every geometry test should hold on: as scanners and exports store them."""

from __future__ import annotations

import math

from hanseg_shared.grid import Grid, Matrix

_A, _B = math.radians(17.0), math.radians(-9.0)

OBLIQUE_DIRECTION: Matrix = (
    (math.cos(_A), -math.sin(_A) * math.cos(_B), math.sin(_A) * math.sin(_B)),
    (math.sin(_A), math.cos(_A) * math.cos(_B), -math.cos(_A) * math.sin(_B)),
    (0.0, math.sin(_B), math.cos(_B)),
)
"""A turn of 17 degrees about z after one of -9 degrees about x."""

_SIZE = (11, 13, 7)
_SPACING = (0.9, 1.1, 2.5)
_ORIGIN = (-31.5, 12.25, -140.0)

AXIAL = Grid(_SIZE, _SPACING, _ORIGIN)
FLIPPED = Grid(
    _SIZE, _SPACING, _ORIGIN, ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0))
)
DOWNWARD = Grid(
    _SIZE, _SPACING, _ORIGIN, ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
)
CORONAL = Grid(
    _SIZE, _SPACING, _ORIGIN, ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
)
SAGITTAL = Grid(
    _SIZE, _SPACING, _ORIGIN, ((0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0))
)
OBLIQUE = Grid(_SIZE, _SPACING, _ORIGIN, OBLIQUE_DIRECTION)

GRIDS = {
    "axial": AXIAL,
    "flipped": FLIPPED,
    "downward": DOWNWARD,
    "coronal": CORONAL,
    "sagittal": SAGITTAL,
    "oblique": OBLIQUE,
}
