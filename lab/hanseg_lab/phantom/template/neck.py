"""Neck muscles, vessels and the salivary glands."""

from __future__ import annotations

from hanseg_lab.phantom.shapes import Both, Ellipsoid, Tube
from hanseg_lab.phantom.template.structure import Group, Structure, make_pair
from hanseg_lab.phantom.tissue import Tissue

CAROTID_ARTERY = Tube(
    (
        (24, 12, -215),
        (21, 4, -190),
        (23, -9, -165),
        (25, -19, -140),
        (26, -25, -115),
        (27, -25, -92),
        (27, -20, -60),
        (26, -13, -30),
        (25, -14, -18),
    ),
    (4, 3.8, 3.6, 3.6, 3.6, 3.8, 2.7, 2.6, 2.5),
)
JUGULAR_VEIN = Tube(
    (
        (36, 10, -210),
        (33, -2, -180),
        (35, -12, -150),
        (36, -19, -115),
        (36, -16, -80),
        (33, -8, -40),
        (30, 0, -20),
    ),
    (7, 6.5, 6.5, 6, 5.5, 4.5, 4),
)
STERNOCLEIDOMASTOID = Tube(
    (
        (22, -24, -200),
        (33, -30, -160),
        (45, -22, -115),
        (54, -6, -70),
        (59, 12, -26),
    ),
    (7, 9, 9, 9, 7),
    (1, 1.3, 1),
)
NECK: tuple[Structure, ...] = (
    Structure(Both(STERNOCLEIDOMASTOID), Tissue.MUSCLE),
    Structure(Both(JUGULAR_VEIN), Tissue.VESSEL, group=Group.FREE),
    *make_pair(Ellipsoid((58.5, -28, -41), (14.5, 21, 27)), Tissue.GLAND, "Parotid_"),
    *make_pair(
        Ellipsoid((32.5, -49, -82), (9, 12.5, 19.3)), Tissue.GLAND, "Glnd_Submand_"
    ),
    *make_pair(CAROTID_ARTERY, Tissue.VESSEL, "A_Carotid_"),
)
