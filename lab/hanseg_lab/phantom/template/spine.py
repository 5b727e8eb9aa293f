"""Vertebrae with discs, arches and processes, and the spinal canal."""

from __future__ import annotations

from collections.abc import Iterator

from hanseg_lab.phantom.shapes import Both, Ellipsoid, Tube
from hanseg_lab.phantom.template.frame import CORD, along_cord, interpolate_levels
from hanseg_lab.phantom.template.structure import Structure
from hanseg_lab.phantom.tissue import Tissue

ATLAS = Tube(
    ((0, 20, -42), (20, 12, -42), (36, 0, -40), (24, -10, -40), (0, -19, -42)),
    (5, 4.5, 6, 7, 4.5),
    (1, 1, 1.3),
)
DENS = Tube(((0, -12.5, -40), (0, -14, -62)), (5, 6.5))
OCCIPITAL_CONDYLES = Both(Ellipsoid((20, -7, -30), (8, 10, 7)))

HIGHEST_VERTEBRA_MM = -62.0
"""Height of the uppermost vertebral body, below the atlas."""

LOWEST_VERTEBRA_MM = -330.0
"""No vertebral body begins at or below this height."""


def _make_vertebra(level: float, size: float) -> tuple[Structure, ...]:
    """Return a vertebra at a height in mm; size 1 is that of the upper neck."""
    y = interpolate_levels(CORD, level)[2]
    body = Ellipsoid((0, y - 17.5, level), (13 * size, 9.5 * size, 8.5))
    marrow = Ellipsoid((0, y - 17.5, level), (10.5 * size, 7 * size, 6.5))
    arch = Ellipsoid((0, y + 1, level - 2), (18, 14.5, 7))
    mass = Both(Ellipsoid((20, y - 4, level), (8.5, 9, 8)))
    spongy_mass = Both(Ellipsoid((20, y - 4, level), (6, 6, 5.5)))
    spinous = Tube(
        ((0, y + 13, level - 3), (0, y + 34 * size, level - 14)), (3.5, 4), (1, 1, 2)
    )
    transverse = Both(Tube(((16, y - 2, level), (26 * size, y + 6, level)), (4.5, 4)))
    return (
        Structure(body, Tissue.BONE),
        Structure(arch, Tissue.BONE),
        Structure(mass, Tissue.BONE),
        Structure(spongy_mass, Tissue.SPONGY_BONE),
        Structure(spinous, Tissue.BONE),
        Structure(transverse, Tissue.BONE),
        Structure(marrow, Tissue.SPONGY_BONE),
    )


def _make_vertebrae() -> Iterator[Structure]:
    """Yield the vertebrae from the neck downward, growing in size and distance."""
    level = HIGHEST_VERTEBRA_MM
    while level > LOWEST_VERTEBRA_MM:
        size = 1 + max(0.0, (-level - 100) / 300)
        yield from _make_vertebra(level, size)
        level -= 17.0 * size


SPINE: tuple[Structure, ...] = (
    Structure(along_cord(-17.5, 9.5, 8.5, top=-52), Tissue.CARTILAGE),
    Structure(along_cord(3, 18, 15, top=-54), Tissue.MUSCLE),
    *_make_vertebrae(),
    Structure(Both(ATLAS), Tissue.BONE),
    Structure(DENS, Tissue.BONE),
    Structure(OCCIPITAL_CONDYLES, Tissue.SPONGY_BONE),
    Structure(along_cord(0, 12, 8, top=-30), Tissue.FLUID),
)
