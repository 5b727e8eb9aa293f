"""Jaws above the mouth, sinuses, nose, orbits and eyes."""

from __future__ import annotations

from hanseg_lab.phantom.shapes import Both, Ellipsoid, Tube
from hanseg_lab.phantom.template.structure import Group, Structure, make_pair
from hanseg_lab.phantom.tissue import Tissue

EYE_CENTRE, ORBIT_CENTRE = (32.0, -80.0, 29.0), (31.5, -69.0, 28.5)
EYE_MUSCLES = [
    Tube(
        (
            (15, -46, 27),
            (32 + 10.5 * dx, -62, 28 + 10 * dz),
            (32 + 12.6 * dx, -78, 29 + 12.6 * dz),
        ),
        (1.8, 2.6, 1.6),
    )
    for dx, dz in ((1, 0), (-1, 0), (0, 1), (0, -1))
]
ZYGOMA = Tube(
    ((45, -82, 24), (47, -80, 6), (62, -52, 0), (66, -22, -3)), (4.5, 7, 3.6, 3.6)
)
FACE: tuple[Structure, ...] = (
    Structure(Both(Ellipsoid(ORBIT_CENTRE, (22.5, 29, 21.5), y_min=-88)), Tissue.BONE),
    Structure(Ellipsoid((0, -80, 20), (17, 26, 24)), Tissue.BONE),
    Structure(Both(Ellipsoid((27, -72, -6), (17, 20, 21))), Tissue.BONE),
    Structure(Both(Ellipsoid((28, -73, -5), (14, 16.5, 17.5))), Tissue.AIR),
    Structure(Both(Ellipsoid((7.5, -70, 16), (6.5, 22, 13))), Tissue.AIR),
    Structure(Both(Ellipsoid((10, -88, 42), (9, 4, 9))), Tissue.AIR),
    Structure(Ellipsoid((0, -74, -5), (15, 36, 19)), Tissue.MUCOSA),
    Structure(
        Both(Tube(((4, -106, -10), (5, -42, -12)), (3, 3.4), (1, 1, 3.6))),
        Tissue.AIR,
    ),
    Structure(Both(Ellipsoid((12, -76, -12), (3, 24, 5))), Tissue.MUCOSA),
    Structure(Ellipsoid((0, -80, -3), (1.4, 24, 16)), Tissue.CARTILAGE),
    Structure(Ellipsoid((0, -82, -24), (27, 27, 3.2)), Tissue.BONE),
    Structure(Both(ZYGOMA), Tissue.BONE),
    Structure(
        Both(Ellipsoid(ORBIT_CENTRE, (20, 27, 18.5))), Tissue.FAT, group=Group.EYES
    ),
    *(Structure(Both(m), Tissue.MUSCLE, group=Group.EYES) for m in EYE_MUSCLES),
    *make_pair(
        Ellipsoid((45.3, -74.5, 33), (3.6, 6.6, 7.6)),
        Tissue.GLAND,
        "Glnd_Lacrimal_",
        Group.EYES,
    ),
    *make_pair(
        Ellipsoid(EYE_CENTRE, (12.7, 12.7, 12.7)), Tissue.EYE, "Eye_P", Group.EYES
    ),
    *make_pair(
        Ellipsoid(EYE_CENTRE, (12.7, 12.7, 12.7), y_max=EYE_CENTRE[1] - 7.0),
        Tissue.EYE,
        "Eye_A",
        Group.EYES,
    ),
    Structure(
        Both(Ellipsoid((32, -87.5, 29), (4.6, 2.2, 4.6))),
        Tissue.LENS,
        None,
        Group.EYES,
    ),
)
