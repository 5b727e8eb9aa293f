"""Pharynx, larynx with its cartilages, thyroid, trachea and oesophagus."""

from __future__ import annotations

from hanseg_lab.phantom.shapes import Both, Column, Ellipsoid, Tube
from hanseg_lab.phantom.template.frame import along_cord
from hanseg_lab.phantom.template.structure import Group, Structure
from hanseg_lab.phantom.tissue import Tissue

PHARYNX_WALL = Column(
    (
        (-118, 0, -30, 17, 9),
        (-100, 0, -33, 19, 10),
        (-60, 0, -37, 20, 11),
        (-30, 0, -39, 19, 13),
        (-8, 0, -42, 17, 13),
    )
)
PHARYNX = Column(
    (
        (-108, 0, -34, 11, 4),
        (-95, 0, -34, 13, 6),
        (-75, 0, -35, 12, 7),
        (-50, 0, -36, 9, 5.5),
        (-34, 0, -37, 11, 5),
        (-22, 0, -42, 13, 9),
        (-9, 0, -46, 11, 8),
    )
)
THYROID_CARTILAGE = Tube(
    ((21, -27, -108), (17, -40, -110), (9, -51, -111), (0, -56, -112)),
    (2.0,) * 4,
    (1, 1, 5.5),
)
CRICOID = Column(((-138, 0, -37, 13, 12), (-124, 0, -36, 13, 13)))
HYOID = Tube(
    ((20, -36, -92), (16, -52, -94), (0, -60, -96)), (2.6, 2.6, 3), (1, 1, 1.5)
)
SUPRAGLOTTIS = Column(
    (
        (-119, 0, -41, 13.5, 13),
        (-110, 0, -42, 15, 14),
        (-100, 0, -42, 15, 12),
        (-92, 0, -42, 11, 8),
    )
)
GLOTTIS = Column(
    ((-128, 0, -40, 11, 12), (-124, 0, -41, 12, 13), (-118, 0, -41, 13, 13))
)
SUPRAGLOTTIC_AIR = Column(
    (
        (-118, 0, -42, 3, 7),
        (-108, 0, -40, 6.5, 6),
        (-98, 0, -39, 9, 4),
        (-91, 0, -38, 9, 4),
    )
)
GLOTTIC_AIR = Column(
    ((-128, 0, -39, 6, 8), (-123, 0, -41, 1.8, 8), (-117, 0, -42, 3, 7))
)
TRACHEA = (
    (-330, 0, 32, 9, 8.5),
    (-260, 0, 24, 9, 8.5),
    (-205, 0, 0, 9, 8.5),
    (-185, 0, -14, 9, 8.5),
    (-165, 0, -27, 9, 8.5),
    (-145, 0, -35, 8.5, 8.5),
    (-127, 0, -38, 7.5, 8.5),
)
TRACHEA_WALL = tuple((z, x, y, a + 2, b + 2) for z, x, y, a, b in TRACHEA)
OESOPHAGUS = along_cord(-32, 8, 5, top=-140)
AIRWAY: tuple[Structure, ...] = (
    Structure(along_cord(-28, 17, 6, top=-30), Tissue.MUSCLE),
    Structure(PHARYNX_WALL, Tissue.MUCOSA),
    Structure(PHARYNX, Tissue.AIR),
    Structure(OESOPHAGUS, Tissue.MUCOSA, group=Group.LARYNX),
    Structure(
        along_cord(-32, 6.2, 4.2, top=-142, bottom=-162),
        Tissue.MUCOSA,
        "Esophagus_S",
        Group.LARYNX,
    ),
    Structure(Column(TRACHEA_WALL), Tissue.CARTILAGE, group=Group.LARYNX),
    Structure(Both(HYOID), Tissue.BONE, group=Group.LARYNX),
    Structure(Both(THYROID_CARTILAGE), Tissue.CARTILAGE, group=Group.LARYNX),
    Structure(CRICOID, Tissue.CARTILAGE, group=Group.LARYNX),
    Structure(
        Column(
            (
                (-142, 0, -21.5, 11, 3.6),
                (-135, 0, -22, 12, 3.6),
                (-127, 0, -23.5, 12, 3.4),
            )
        ),
        Tissue.MUSCLE,
        "Cricopharyngeus",
        Group.LARYNX,
    ),
    Structure(
        Both(Ellipsoid((17, -36, -148), (8.5, 10, 21))),
        Tissue.THYROID,
        "Glnd_Thyroid",
        Group.LARYNX,
    ),
    Structure(
        Ellipsoid((0, -46.5, -150), (14, 4, 8)),
        Tissue.THYROID,
        "Glnd_Thyroid",
        Group.LARYNX,
    ),
    Structure(Column(TRACHEA), Tissue.AIR, group=Group.LARYNX),
    Structure(SUPRAGLOTTIS, Tissue.MUCOSA, "Larynx_SG", Group.LARYNX),
    Structure(GLOTTIS, Tissue.MUSCLE, "Glottis", Group.LARYNX),
    Structure(SUPRAGLOTTIC_AIR, Tissue.AIR, None, Group.LARYNX),
    Structure(GLOTTIC_AIR, Tissue.AIR, None, Group.LARYNX),
    Structure(
        Both(Ellipsoid((5.5, -30, -117), (3.4, 3.2, 6))),
        Tissue.CARTILAGE,
        "Arytenoid",
        Group.LARYNX,
    ),
    Structure(
        Ellipsoid((0, -49, -97), (8, 1.6, 12)), Tissue.CARTILAGE, None, Group.LARYNX
    ),
)
