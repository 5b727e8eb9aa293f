"""Brain stem, spinal cord, the spaces of the cerebral fluid, and the optic pathway."""

from __future__ import annotations

from hanseg_lab.phantom.shapes import Both, Column, Ellipsoid, Tube
from hanseg_lab.phantom.template.frame import CORD
from hanseg_lab.phantom.template.structure import Group, Structure, make_pair
from hanseg_lab.phantom.tissue import Tissue

BRAIN_STEM = Column(
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
BRAIN: tuple[Structure, ...] = (
    Structure(Both(Ellipsoid((9, 10, 55), (6, 30, 9))), Tissue.FLUID),
    Structure(Ellipsoid((0, -24, 20), (14, 14, 14)), Tissue.FLUID),
    Structure(Ellipsoid((0, 0, 0), (22, 20, 26)), Tissue.FLUID),
    Structure(Both(Ellipsoid((28, 28, -8), (27, 26, 22))), Tissue.BRAIN),
    Structure(Ellipsoid((0, 17, -2), (6, 4.5, 9)), Tissue.FLUID),
    Structure(BRAIN_STEM, Tissue.BRAIN, "Brainstem"),
    Structure(
        Column(tuple(row for row in CORD if row[0] <= -36)),
        Tissue.NERVE,
        "SpinalCord",
    ),
)

OPTIC_NERVE = Tube(
    ((28.5, -68, 26.5), (22, -56, 24.5), (13, -42, 25), (9, -36, 26.5)),
    (2.4, 2.4, 2.4, 2.3),
)
CHIASM = Tube(
    ((9, -36, 26.5), (0, -31, 28), (8, -25, 29)), (2.4, 3.0, 2.2), (1, 1, 0.9)
)
OPTIC_PATHWAY: tuple[Structure, ...] = (
    Structure(Ellipsoid((0, -28, 15), (11, 8, 8)), Tissue.BONE),
    Structure(Ellipsoid((0, -27.5, 17), (6.6, 5, 4.6)), Tissue.PITUITARY, "Pituitary"),
    Structure(Both(CHIASM), Tissue.NERVE, "OpticChiasm"),
    *make_pair(OPTIC_NERVE, Tissue.NERVE, "OpticNrv_", Group.EYES),
)
