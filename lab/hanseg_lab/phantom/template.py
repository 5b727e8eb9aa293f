"""The average patient: every structure's shape and place, in template millimetres.

The template's origin is the brain stem's centroid on the mid-plane; x grows to the
patient's left, y to the back, z up. Centroids, extents and volumes of the organs were
measured on the expert contours of 31 scans (google-deepmind/tcia-ct-scan-dataset,
CC BY 4.0); the body's outline on planning CTs of OpenKBP (MIT). The sizes of organs
that those do not draw follow HaN-Seg (doi 10.1002/mp.16197) and the consensus
delineation guideline (Brouwer et al. 2015, doi 10.1016/j.radonc.2015.07.041).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from hanseg_lab.phantom.shapes import Both, Column, Ellipsoid, Mirror, Shape, Tube
from hanseg_lab.phantom.tissue import Tissue


class Group(Enum):
    """Structures that vary together from patient to patient."""

    FRAME = auto()
    """Body, skull, spine and brain: they only follow the whole patient."""

    JAW = auto()
    """Mandible, lower teeth, tongue: opened and shifted together."""

    LARYNX = auto()
    """Larynx, hypopharynx, thyroid: high or low in the neck together."""

    EYES = auto()
    """Orbits and what they hold."""

    FREE = auto()
    """Glands and vessels, each on its own."""


@dataclass(frozen=True, slots=True)
class Structure:
    """One brick: where it is, what it is made of, which organ it belongs to.

    Attributes:
        shape: The solid.
        tissue: Its tissue; None leaves what was there (a contour over other tissue).
        organ: Name of the organ at risk; "" takes the voxels out of any organ;
            None leaves the organ that was there (air inside a larynx).
        group: What it varies with.
        inside_body: Whether it ends at the body's surface.
    """

    shape: Shape
    tissue: Tissue | None
    organ: str | None = ""
    group: Group = Group.FRAME
    inside_body: bool = True


BODY = Column(
    (
        (-330, 0, 28, 228, 112),
        (-240, 0, 26, 226, 100),
        (-200, 0, 26, 220, 90),
        (-175, 0, 24, 208, 80),
        (-155, 0, 22, 165, 72),
        (-140, 0, 14, 108, 66),
        (-126, 0, 5, 74, 64),
        (-112, 0, -3, 66, 62),
        (-98, 0, -10, 65, 66),
        (-86, 0, -20, 65, 74),
        (-76, 0, -31, 66, 84),
        (-60, 0, -32, 67, 88),
        (-40, 0, -26, 70, 92),
        (-20, 0, -14, 73, 95),
        (0, 0, -9, 74, 95),
        (20, 0, -6, 74, 94),
        (40, 0, -4, 74, 92),
        (60, 0, -2, 70, 88),
        (78, 0, 3, 59, 76),
        (90, 0, 5, 45, 58),
        (99, 0, 6, 27, 34),
        (104, 0, 7, 6, 8),
    ),
    power=2.3,
)
"""The body's outline, from the shoulders to the vertex."""

NOSE = Ellipsoid((0, -100, 4), (14, 18, 21))
EAR = Both(Ellipsoid((73, 4, -4), (9, 13, 29)))
"""Outside the outline, but part of the body."""

CRANIAL_CAVITY = Ellipsoid((0, 6, 40), (64, 82, 59))
POSTERIOR_FOSSA = Ellipsoid((0, 28, -4), (54, 46, 31))
SKULL = Ellipsoid((0, 6, 40), (70, 88, 65))
OCCIPUT = Ellipsoid((0, 28, -4), (61, 54, 37))

_CORD = (
    (-330, 0, 68, 5, 4.2),
    (-240, 0, 58, 5, 4.4),
    (-200, 0, 46.5, 5, 4.6),
    (-180, 0, 36, 5, 4.7),
    (-160, 0, 25, 5, 4.6),
    (-140, 0, 15.7, 5.2, 4.2),
    (-120, 0, 9.4, 5.5, 3.9),
    (-100, 0, 5, 5.6, 3.9),
    (-80, 0, 2, 5.5, 4),
    (-60, 0, 1, 5.6, 4.2),
    (-36, 0, 2.6, 6, 4.9),
)


def _along_cord(
    shift_y: float, semi_x: float, semi_y: float, *, top: float, bottom: float = -330
) -> Column:
    """Return a column that keeps its distance from the spinal cord."""
    rows = [(z, x, y + shift_y, semi_x, semi_y) for z, x, y, _, _ in _CORD]
    inner = [row for row in rows if bottom < row[0] < top]
    low = _interpolated(rows, bottom)
    return Column((low, *inner, _interpolated(rows, top)))


def _interpolated(
    rows: Sequence[tuple[float, float, float, float, float]], z: float
) -> tuple[float, float, float, float, float]:
    for below, above in pairwise(rows):
        if below[0] <= z <= above[0]:
            t = (z - below[0]) / (above[0] - below[0])
            a, b, c, d, e = (p + t * (q - p) for p, q in zip(below, above, strict=True))
            return a, b, c, d, e
    return rows[0] if z < rows[0][0] else (z, *rows[-1][1:])


def _sides(
    shape: Shape, tissue: Tissue | None, organ: str, group: Group = Group.FREE
) -> tuple[Structure, Structure]:
    """Return a paired organ from the shape of its left half; `organ` ends in ``_``."""
    return (
        Structure(shape, tissue, f"{organ}L", group),
        Structure(Mirror(shape), tissue, f"{organ}R", group),
    )


def _spine() -> list[Structure]:
    """Return vertebrae with discs, arches, processes and the canal."""
    bricks = [
        Structure(_along_cord(-17.5, 9.5, 8.5, top=-52), Tissue.CARTILAGE),
        Structure(_along_cord(3, 18, 15, top=-54), Tissue.MUSCLE),
    ]
    level = -62.0
    while level > -330:
        y = _interpolated(_CORD, level)[2]
        size = 1 + max(0.0, (-level - 100) / 300)
        body = Ellipsoid((0, y - 17.5, level), (13 * size, 9.5 * size, 8.5))
        marrow = Ellipsoid((0, y - 17.5, level), (10.5 * size, 7 * size, 6.5))
        arch = Ellipsoid((0, y + 1, level - 2), (18, 14.5, 7))
        mass = Both(Ellipsoid((20, y - 4, level), (8.5, 9, 8)))
        spine = Tube(
            ((0, y + 13, level - 3), (0, y + 34 * size, level - 14)),
            (3.5, 4),
            (1, 1, 2),
        )
        transverse = Both(
            Tube(((16, y - 2, level), (26 * size, y + 6, level)), (4.5, 4))
        )
        bricks += [
            Structure(body, Tissue.BONE),
            Structure(arch, Tissue.BONE),
            Structure(mass, Tissue.BONE),
            Structure(
                Both(Ellipsoid((20, y - 4, level), (6, 6, 5.5))), Tissue.SPONGY_BONE
            ),
            Structure(spine, Tissue.BONE),
            Structure(transverse, Tissue.BONE),
            Structure(marrow, Tissue.SPONGY_BONE),
        ]
        level -= 17.0 * size
    atlas = Tube(
        ((0, 20, -42), (20, 12, -42), (36, 0, -40), (24, -10, -40), (0, -19, -42)),
        (5, 4.5, 6, 7, 4.5),
        (1, 1, 1.3),
    )
    dens = Tube(((0, -12.5, -40), (0, -14, -62)), (5, 6.5))
    condyle = Both(Ellipsoid((20, -7, -30), (8, 10, 7)))
    return [
        *bricks,
        Structure(Both(atlas), Tissue.BONE),
        Structure(dens, Tissue.BONE),
        Structure(condyle, Tissue.SPONGY_BONE),
        Structure(_along_cord(0, 12, 8, top=-30), Tissue.FLUID),
    ]


def _brain() -> list[Structure]:
    """Return brain stem, spinal cord and the spaces of the cerebral fluid."""
    stem = Column(
        (
            (-37, 0, 2.6, 6.5, 5.5),
            (-26, 0, 1.5, 8, 7),
            (-16, 0, -0.5, 10.5, 10),
            (-11, 0, -1.5, 15, 13),
            (2, 0, -2, 16.5, 14),
            (9, 0, -2, 15, 12.5),
            (21, 0, -2.5, 14.5, 10.5),
        )
    )
    return [
        Structure(Both(Ellipsoid((9, 10, 55), (6, 30, 9))), Tissue.FLUID),
        Structure(Ellipsoid((0, -24, 20), (14, 14, 14)), Tissue.FLUID),
        Structure(Ellipsoid((0, 0, 0), (22, 20, 26)), Tissue.FLUID),
        Structure(Both(Ellipsoid((28, 28, -8), (27, 26, 22))), Tissue.BRAIN),
        Structure(Ellipsoid((0, 17, -2), (6, 4.5, 9)), Tissue.FLUID),
        Structure(stem, Tissue.BRAIN, "Brainstem"),
        Structure(
            Column(tuple(row for row in _CORD if row[0] <= -36)),
            Tissue.NERVE,
            "SpinalCord",
        ),
    ]


def _optic() -> list[Structure]:
    """Return pituitary, chiasm and optic nerves, which cross bone and fat."""
    nerve = Tube(
        ((28.5, -68, 26.5), (22, -56, 24.5), (13, -42, 25), (9, -36, 26.5)),
        (2.4, 2.4, 2.4, 2.3),
    )
    chiasm = Tube(
        ((9, -36, 26.5), (0, -31, 28), (8, -25, 29)), (2.4, 3.0, 2.2), (1, 1, 0.9)
    )
    return [
        Structure(Ellipsoid((0, -28, 15), (11, 8, 8)), Tissue.BONE),
        Structure(
            Ellipsoid((0, -27.5, 17), (6.6, 5, 4.6)), Tissue.PITUITARY, "Pituitary"
        ),
        Structure(Both(chiasm), Tissue.NERVE, "OpticChiasm"),
        *_sides(nerve, Tissue.NERVE, "OpticNrv_", Group.EYES),
    ]


def _skull_base() -> list[Structure]:
    """Return sphenoid, clivus, temporal bones with the cochleae, mastoids and ears."""
    petrous = Tube(((64, -2, -8), (40, -9, -4), (22, -17, -3)), (10, 11, 6))
    return [
        Structure(Both(petrous), Tissue.BONE),
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
        *_sides(
            Ellipsoid((34, -10, -5), (3.2, 3.0, 3.2)),
            Tissue.MASTOID,
            "Cochlea_",
            Group.FRAME,
        ),
    ]


def _face() -> list[Structure]:
    """Return jaws above the mouth, sinuses, nose, orbits and eyes."""
    eye, orbit = (32.0, -80.0, 29.0), (31.5, -69.0, 28.5)
    muscles = [
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
    zygoma = Tube(
        ((45, -82, 24), (47, -80, 6), (62, -52, 0), (66, -22, -3)), (4.5, 7, 3.6, 3.6)
    )
    return [
        Structure(Both(Ellipsoid(orbit, (22.5, 29, 21.5), y_min=-88)), Tissue.BONE),
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
        Structure(Both(zygoma), Tissue.BONE),
        Structure(Both(Ellipsoid(orbit, (20, 27, 18.5))), Tissue.FAT, group=Group.EYES),
        *(Structure(Both(m), Tissue.MUSCLE, group=Group.EYES) for m in muscles),
        *_sides(
            Ellipsoid((45.3, -74.5, 33), (3.6, 6.6, 7.6)),
            Tissue.GLAND,
            "Glnd_Lacrimal_",
            Group.EYES,
        ),
        *_sides(Ellipsoid(eye, (12.7, 12.7, 12.7)), Tissue.EYE, "Eye_P", Group.EYES),
        *_sides(
            Ellipsoid(eye, (12.7, 12.7, 12.7), y_max=eye[1] - 7.0),
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
    ]


def _mouth() -> list[Structure]:
    """Return mandible, teeth, oral cavity, cheeks and lips with the chewing muscles."""
    arch = ((28, -74), (25, -88), (17, -101), (0, -107))
    upper = tuple((x, y, -39.0) for x, y in arch)
    lower = tuple((x, y, -56.0) for x, y in arch)
    alveolar = tuple((x, y, -29.0) for x, y in arch)
    body = Tube(
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
    ramus = Tube(((47, -44, -64), (49, -36, -24)), (4.2, 4.0), (1, 3.2, 1.6))
    condyle = Tube(((49, -30, -30), (51, -23, -9)), (4.5, 5.5), (1.3, 1, 1))
    coronoid = Tube(((48, -47, -34), (46, -50, -14)), (3.5, 2.6), (1, 1.8, 1))
    jaw = Group.JAW
    return [
        Structure(
            Both(Ellipsoid((57, -46, -47), (8, 18, 27))), Tissue.MUSCLE, group=jaw
        ),
        Structure(
            Both(Ellipsoid((39, -40, -45), (6.5, 14, 24))), Tissue.MUSCLE, group=jaw
        ),
        Structure(
            Both(Ellipsoid((36, -46, -14), (12, 16, 11))), Tissue.MUSCLE, group=jaw
        ),
        Structure(Both(Ellipsoid((61, -38, 14), (6.5, 28, 28))), Tissue.MUSCLE),
        Structure(Ellipsoid((0, -80, -78), (30, 28, 9)), Tissue.MUSCLE, group=jaw),
        Structure(Ellipsoid((0, -113, -48), (27, 9, 15)), Tissue.MUSCLE, "Lips", jaw),
        Structure(
            Both(Ellipsoid((38, -82, -47), (6, 19, 19))),
            Tissue.MUCOSA,
            "BuccalMucosa",
            jaw,
        ),
        Structure(
            Ellipsoid((0, -78, -50), (26, 30, 25)), Tissue.TONGUE, "Cavity_Oral", jaw
        ),
        Structure(Both(Tube(alveolar, (6, 6, 6, 6))), Tissue.SPONGY_BONE),
        Structure(Both(Tube(upper, (3.6,) * 4, (1.2, 1.2, 2.1))), Tissue.TOOTH),
        Structure(
            Both(Tube(lower, (3.4,) * 4, (1.2, 1.2, 2.0))), Tissue.TOOTH, group=jaw
        ),
        Structure(Both(body), Tissue.BONE, "Bone_Mandible", jaw),
        Structure(Both(ramus), Tissue.BONE, "Bone_Mandible", jaw),
        Structure(Both(condyle), Tissue.BONE, "Bone_Mandible", jaw),
        Structure(Both(coronoid), Tissue.BONE, "Bone_Mandible", jaw),
        Structure(
            Both(Tube(body.nodes, (2.4, 3, 3, 3, 3.2), (1, 1, 2.6))),
            Tissue.SPONGY_BONE,
            None,
            jaw,
        ),
    ]


def _airway() -> list[Structure]:
    """Return the pharynx, the larynx with its cartilages, trachea and oesophagus."""
    pharynx_wall = Column(
        (
            (-118, 0, -30, 17, 9),
            (-100, 0, -33, 19, 10),
            (-60, 0, -37, 20, 11),
            (-30, 0, -39, 19, 13),
            (-8, 0, -42, 17, 13),
        )
    )
    pharynx = Column(
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
    larynx = Group.LARYNX
    thyroid_cartilage = Tube(
        ((21, -27, -108), (17, -40, -110), (9, -51, -111), (0, -56, -112)),
        (2.0,) * 4,
        (1, 1, 5.5),
    )
    cricoid = Column(((-138, 0, -37, 13, 12), (-124, 0, -36, 13, 13)))
    hyoid = Tube(
        ((20, -36, -92), (16, -52, -94), (0, -60, -96)), (2.6, 2.6, 3), (1, 1, 1.5)
    )
    sg = Column(
        (
            (-119, 0, -41, 13.5, 13),
            (-110, 0, -42, 15, 14),
            (-100, 0, -42, 15, 12),
            (-92, 0, -42, 11, 8),
        )
    )
    glottis = Column(
        ((-128, 0, -40, 11, 12), (-124, 0, -41, 12, 13), (-118, 0, -41, 13, 13))
    )
    sg_air = Column(
        (
            (-118, 0, -42, 3, 7),
            (-108, 0, -40, 6.5, 6),
            (-98, 0, -39, 9, 4),
            (-91, 0, -38, 9, 4),
        )
    )
    glottic_air = Column(
        ((-128, 0, -39, 6, 8), (-123, 0, -41, 1.8, 8), (-117, 0, -42, 3, 7))
    )
    trachea = (
        (-330, 0, 32, 9, 8.5),
        (-260, 0, 24, 9, 8.5),
        (-205, 0, 0, 9, 8.5),
        (-185, 0, -14, 9, 8.5),
        (-165, 0, -27, 9, 8.5),
        (-145, 0, -35, 8.5, 8.5),
        (-127, 0, -38, 7.5, 8.5),
    )
    wall = tuple((z, x, y, a + 2, b + 2) for z, x, y, a, b in trachea)
    gullet = _along_cord(-32, 8, 5, top=-140)
    return [
        Structure(_along_cord(-28, 17, 6, top=-30), Tissue.MUSCLE),
        Structure(pharynx_wall, Tissue.MUCOSA),
        Structure(pharynx, Tissue.AIR),
        Structure(gullet, Tissue.MUCOSA, group=larynx),
        Structure(
            _along_cord(-32, 6.2, 4.2, top=-142, bottom=-162),
            Tissue.MUCOSA,
            "Esophagus_S",
            larynx,
        ),
        Structure(Column(wall), Tissue.CARTILAGE, group=larynx),
        Structure(Both(hyoid), Tissue.BONE, group=larynx),
        Structure(Both(thyroid_cartilage), Tissue.CARTILAGE, group=larynx),
        Structure(cricoid, Tissue.CARTILAGE, group=larynx),
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
            larynx,
        ),
        Structure(
            Both(Ellipsoid((17, -36, -148), (8.5, 10, 21))),
            Tissue.THYROID,
            "Glnd_Thyroid",
            larynx,
        ),
        Structure(
            Ellipsoid((0, -46.5, -150), (14, 4, 8)),
            Tissue.THYROID,
            "Glnd_Thyroid",
            larynx,
        ),
        Structure(Column(trachea), Tissue.AIR, group=larynx),
        Structure(sg, Tissue.MUCOSA, "Larynx_SG", larynx),
        Structure(glottis, Tissue.MUSCLE, "Glottis", larynx),
        Structure(sg_air, Tissue.AIR, None, larynx),
        Structure(glottic_air, Tissue.AIR, None, larynx),
        Structure(
            Both(Ellipsoid((5.5, -30, -117), (3.4, 3.2, 6))),
            Tissue.CARTILAGE,
            "Arytenoid",
            larynx,
        ),
        Structure(
            Ellipsoid((0, -49, -97), (8, 1.6, 12)), Tissue.CARTILAGE, None, larynx
        ),
    ]


def _neck() -> list[Structure]:
    """Return neck muscles, vessels and the salivary glands."""
    artery = Tube(
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
    vein = Tube(
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
    sternocleidomastoid = Tube(
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
    return [
        Structure(Both(sternocleidomastoid), Tissue.MUSCLE),
        Structure(Both(vein), Tissue.VESSEL, group=Group.FREE),
        *_sides(Ellipsoid((58.5, -28, -41), (14.5, 21, 27)), Tissue.GLAND, "Parotid_"),
        *_sides(
            Ellipsoid((32.5, -49, -82), (9, 12.5, 19.3)), Tissue.GLAND, "Glnd_Submand_"
        ),
        *_sides(artery, Tissue.VESSEL, "A_Carotid_"),
    ]


def _trunk() -> list[Structure]:
    """Return neck and shoulder muscles, lungs and the shoulder girdle's bones."""
    posterior = _along_cord(26, 46, 27, top=-36)
    rib = [
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
    return [
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
        Structure(posterior, Tissue.MUSCLE),
        Structure(_along_cord(-6, 40, 22, top=-62), Tissue.MUSCLE),
        Structure(Both(Ellipsoid((45, 42, -195), (50, 18, 34))), Tissue.FAT),
        *(Structure(each, Tissue.BONE) for each in rib),
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
        Structure(
            Both(Tube(((174, 34, -205), (195, 30, -330)), (13, 13))), Tissue.BONE
        ),
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
    ]


def structures() -> tuple[Structure, ...]:
    """Return every structure inside the body, in the order in which they are laid.

    A later structure replaces what it covers of an earlier one.
    """
    return (
        *_trunk(),
        *_spine(),
        *_brain(),
        *_skull_base(),
        *_face(),
        *_optic(),
        *_mouth(),
        *_airway(),
        *_neck(),
        *_late(),
    )


def _late() -> tuple[Structure, ...]:
    """Return what lies upon the glands of `_neck`: the jaw again."""
    wanted = {"Bone_Mandible"}
    again = [s for s in _mouth() if s.organ in wanted]
    marrow = _mouth()[-1]
    return (*again, marrow)
