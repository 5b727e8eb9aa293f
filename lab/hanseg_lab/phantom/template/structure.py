"""The bricks of the template: what is laid, of which tissue, for which organ."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from hanseg_lab.phantom.shapes import Mirror, Shape
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


def make_pair(
    shape: Shape, tissue: Tissue | None, organ: str, group: Group = Group.FREE
) -> tuple[Structure, Structure]:
    """Return a paired organ from the shape of its left half; `organ` ends in ``_``."""
    return (
        Structure(shape, tissue, f"{organ}L", group),
        Structure(Mirror(shape), tissue, f"{organ}R", group),
    )
