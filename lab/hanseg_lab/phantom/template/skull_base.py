"""Sphenoid, clivus, temporal bones with the cochleae, mastoids and ears."""

from __future__ import annotations

from hanseg_lab.phantom.shapes import Both, Ellipsoid, Tube
from hanseg_lab.phantom.template.structure import Group, Structure, make_pair
from hanseg_lab.phantom.tissue import Tissue

PETROUS_BONE = Tube(((64, -2, -8), (40, -9, -4), (22, -17, -3)), (10, 11, 6))
SKULL_BASE: tuple[Structure, ...] = (
    Structure(Both(PETROUS_BONE), Tissue.BONE),
    Structure(Both(Ellipsoid((57, 10, -14), (10, 15, 19))), Tissue.MASTOID),
    Structure(Both(Tube(((78, -11, -5), (46, -12, -4)), (3.6, 3.2))), Tissue.AIR),
    Structure(Both(Ellipsoid((44, -10, -1), (3, 5, 6))), Tissue.AIR),
    Structure(
        Tube(((0, -21, 12), (0, -14, -27)), (7, 6), (1.8, 1, 1)), Tissue.SPONGY_BONE
    ),
    Structure(Ellipsoid((0, -40, 8), (19, 17, 14)), Tissue.BONE),
    Structure(Both(Ellipsoid((7.5, -42, 8), (6.5, 13, 11))), Tissue.AIR),
    Structure(
        Both(Tube(((20, -45, -5), (17, -42, -26)), (3.5, 3), (1.4, 1.8, 1))),
        Tissue.BONE,
    ),
    *make_pair(
        Ellipsoid((34, -10, -5), (3.2, 3.0, 3.2)),
        Tissue.MASTOID,
        "Cochlea_",
        Group.FRAME,
    ),
)
