"""Mandible, teeth, oral cavity, cheeks and lips with the chewing muscles."""

from __future__ import annotations

from hanseg_lab.phantom.shapes import Both, Ellipsoid, Tube
from hanseg_lab.phantom.template.structure import Group, Structure
from hanseg_lab.phantom.tissue import Tissue

DENTAL_ARCH = ((28, -74), (25, -88), (17, -101), (0, -107))
UPPER_TEETH = tuple((x, y, -39.0) for x, y in DENTAL_ARCH)
LOWER_TEETH = tuple((x, y, -56.0) for x, y in DENTAL_ARCH)
ALVEOLAR_BONE = tuple((x, y, -29.0) for x, y in DENTAL_ARCH)
MANDIBLE_BODY = Tube(
    (
        (47, -45, -66),
        (42, -62, -70),
        (34, -82, -72),
        (20, -102, -74),
        (0, -111, -75),
    ),
    (4.6, 5.4, 5.4, 5.4, 5.6),
    (1, 1, 2.4),
)
RAMUS = Tube(((47, -44, -64), (49, -36, -24)), (4.2, 4.0), (1, 3.2, 1.6))
CONDYLE = Tube(((49, -30, -30), (51, -23, -9)), (4.5, 5.5), (1.3, 1, 1))
CORONOID = Tube(((48, -47, -34), (46, -50, -14)), (3.5, 2.6), (1, 1.8, 1))
MOUTH: tuple[Structure, ...] = (
    Structure(
        Both(Ellipsoid((57, -46, -47), (8, 18, 27))), Tissue.MUSCLE, group=Group.JAW
    ),
    Structure(
        Both(Ellipsoid((39, -40, -45), (6.5, 14, 24))), Tissue.MUSCLE, group=Group.JAW
    ),
    Structure(
        Both(Ellipsoid((36, -46, -14), (12, 16, 11))), Tissue.MUSCLE, group=Group.JAW
    ),
    Structure(Both(Ellipsoid((61, -38, 14), (6.5, 28, 28))), Tissue.MUSCLE),
    Structure(Ellipsoid((0, -80, -78), (30, 28, 9)), Tissue.MUSCLE, group=Group.JAW),
    Structure(Ellipsoid((0, -113, -48), (27, 9, 15)), Tissue.MUSCLE, "Lips", Group.JAW),
    Structure(
        Both(Ellipsoid((38, -82, -47), (6, 19, 19))),
        Tissue.MUCOSA,
        "BuccalMucosa",
        Group.JAW,
    ),
    Structure(
        Ellipsoid((0, -78, -50), (26, 30, 25)), Tissue.TONGUE, "Cavity_Oral", Group.JAW
    ),
    Structure(Both(Tube(ALVEOLAR_BONE, (6, 6, 6, 6))), Tissue.SPONGY_BONE),
    Structure(Both(Tube(UPPER_TEETH, (3.6,) * 4, (1.2, 1.2, 2.1))), Tissue.TOOTH),
    Structure(
        Both(Tube(LOWER_TEETH, (3.4,) * 4, (1.2, 1.2, 2.0))),
        Tissue.TOOTH,
        group=Group.JAW,
    ),
    Structure(Both(MANDIBLE_BODY), Tissue.BONE, "Bone_Mandible", Group.JAW),
    Structure(Both(RAMUS), Tissue.BONE, "Bone_Mandible", Group.JAW),
    Structure(Both(CONDYLE), Tissue.BONE, "Bone_Mandible", Group.JAW),
    Structure(Both(CORONOID), Tissue.BONE, "Bone_Mandible", Group.JAW),
    Structure(
        Both(Tube(MANDIBLE_BODY.nodes, (2.4, 3, 3, 3, 3.2), (1, 1, 2.6))),
        Tissue.SPONGY_BONE,
        None,
        Group.JAW,
    ),
)

JAW_OVER_GLANDS: tuple[Structure, ...] = (
    *(each for each in MOUTH if each.organ == "Bone_Mandible"),
    MOUTH[-1],
)
"""The mandible and its marrow once more, laid over the salivary glands."""
