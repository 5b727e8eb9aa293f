"""Neck and shoulder muscles, lungs and the bones of the shoulder girdle."""

from __future__ import annotations

from hanseg_lab.phantom.shapes import Both, Column, Ellipsoid, Tube
from hanseg_lab.phantom.template.frame import BODY, along_cord
from hanseg_lab.phantom.template.structure import Structure
from hanseg_lab.phantom.tissue import Tissue

POSTERIOR_MUSCLES = along_cord(26, 46, 27, top=-36)
RIBS = [
    Both(
        Tube(
            (
                (14, 62 + k * 6, -185 - 28 * k),
                (75, 60 + k * 8, -200 - 28 * k),
                (100 + 5 * k, 10, -225 - 28 * k),
                (70, -50 - 5 * k, -250 - 28 * k),
            ),
            (4.5,) * 4,
        )
    )
    for k in range(4)
]
TRUNK: tuple[Structure, ...] = (
    Structure(
        Column(
            tuple(
                (z, x, y, max(a - 10, 3), max(b - 10, 3))
                for z, x, y, a, b in BODY.levels
                if z <= -140
            ),
            power=2.3,
        ),
        Tissue.MUSCLE,
    ),
    Structure(POSTERIOR_MUSCLES, Tissue.MUSCLE),
    Structure(along_cord(-6, 40, 22, top=-62), Tissue.MUSCLE),
    Structure(Both(Ellipsoid((45, 42, -195), (50, 18, 34))), Tissue.FAT),
    *(Structure(each, Tissue.BONE) for each in RIBS),
    Structure(Both(Ellipsoid((58, 12, -275), (48, 62, 100))), Tissue.LUNG),
    Structure(
        Both(
            Tube(
                ((14, -36, -208), (60, -34, -196), (105, 4, -178), (150, 22, -172)),
                (6,) * 4,
            )
        ),
        Tissue.BONE,
    ),
    Structure(Both(Ellipsoid((172, 34, -196), (24, 25, 25))), Tissue.BONE),
    Structure(Both(Ellipsoid((172, 34, -196), (21, 22, 22))), Tissue.SPONGY_BONE),
    Structure(Both(Tube(((174, 34, -205), (195, 30, -330)), (13, 13))), Tissue.BONE),
    Structure(
        Both(
            Tube(
                ((145, 50, -190), (95, 88, -230), (85, 95, -330)),
                (8, 5, 4),
                (1.5, 1, 3),
            )
        ),
        Tissue.BONE,
    ),
)
