"""What the simulated patient is made of: tissues with their CT and T1 MR values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Tissue(IntEnum):
    """A kind of tissue; the number is its value in a tissue map."""

    AIR = 0
    FAT = 1
    SKIN = 2
    MUSCLE = 3
    GLAND = 4
    THYROID = 5
    BRAIN = 6
    FLUID = 7
    NERVE = 8
    VESSEL = 9
    MUCOSA = 10
    CARTILAGE = 11
    SPONGY_BONE = 12
    BONE = 13
    TOOTH = 14
    METAL = 15
    EYE = 16
    LENS = 17
    LUNG = 18
    FOAM = 19
    SHELL = 20
    MASTOID = 21
    PITUITARY = 22
    TONGUE = 23


@dataclass(frozen=True, slots=True)
class Values:
    """Typical values of one tissue.

    Attributes:
        hu: CT value in HU.
        hu_sd: How much its mean varies from patient to patient, in HU.
        texture: Standard deviation of its smooth inner texture, in HU.
        t1: T1-weighted MR value; muscle is 0.35, fat 1.
    """

    hu: float
    hu_sd: float
    texture: float
    t1: float


VALUES: dict[Tissue, Values] = {
    Tissue.AIR: Values(-1000, 3, 0, 0.0),
    Tissue.FAT: Values(-95, 10, 18, 1.0),
    Tissue.SKIN: Values(0, 20, 15, 0.5),
    Tissue.MUSCLE: Values(55, 8, 12, 0.35),
    Tissue.GLAND: Values(15, 30, 20, 0.62),
    Tissue.THYROID: Values(115, 35, 12, 0.45),
    Tissue.BRAIN: Values(35, 4, 5, 0.48),
    Tissue.FLUID: Values(8, 4, 4, 0.15),
    Tissue.NERVE: Values(35, 6, 5, 0.45),
    Tissue.VESSEL: Values(110, 60, 8, 0.2),
    Tissue.MUCOSA: Values(60, 15, 12, 0.42),
    Tissue.CARTILAGE: Values(180, 110, 90, 0.3),
    Tissue.SPONGY_BONE: Values(320, 80, 80, 0.55),
    Tissue.BONE: Values(900, 150, 120, 0.12),
    Tissue.TOOTH: Values(1700, 250, 200, 0.08),
    Tissue.METAL: Values(3000, 50, 0, 0.0),
    Tissue.EYE: Values(12, 5, 4, 0.2),
    Tissue.LENS: Values(75, 15, 5, 0.4),
    Tissue.LUNG: Values(-800, 60, 30, 0.05),
    Tissue.FOAM: Values(-930, 30, 5, 0.0),
    Tissue.SHELL: Values(-250, 200, 20, 0.0),
    Tissue.MASTOID: Values(250, 250, 250, 0.15),
    Tissue.PITUITARY: Values(50, 10, 5, 0.55),
    Tissue.TONGUE: Values(50, 15, 20, 0.45),
}
"""Round values of adult head-and-neck imaging; their spread covers contrast medium."""


def hu_table(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return one patient's mean HU by tissue number, shape ``(tissues,)``."""
    table = [VALUES[t].hu + VALUES[t].hu_sd * rng.standard_normal() for t in Tissue]
    return np.array(table, np.float32)


def texture_table() -> npt.NDArray[np.float32]:
    """Return the standard deviation of the texture in HU by tissue number."""
    return np.array([VALUES[t].texture for t in Tissue], np.float32)


def t1_table(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return one scan's T1 value by tissue number; air and metal stay dark."""
    table = [VALUES[t].t1 * rng.uniform(0.8, 1.2) for t in Tissue]
    return np.array(table, np.float32)
