"""The 30 organs at risk of the HaN-Seg challenge: labels, names, codes, colours.

Names and label numbers are the challenge's own (Podobnik et al. 2024,
doi 10.1016/j.radonc.2024.110410). `_L` is the patient's left, +x in LPS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hanseg_shared.errors import OptionError


class Side(StrEnum):
    """The patient's side an organ lies on."""

    LEFT = "left"
    """+x in LPS."""

    RIGHT = "right"
    """-x in LPS."""

    NONE = "none"
    """In the middle, or on both sides under one label."""


class OrganStatus(StrEnum):
    """What became of an organ in a job; every job says it for all 30."""

    CONTOURED = "contoured"
    """A mask was made and passed the checks."""

    EMPTY = "empty"
    """The model looked and found nothing."""

    OUTSIDE_FIELD_OF_VIEW = "outside_field_of_view"
    """The CT does not show the part of the body where the organ is."""

    NOT_IN_MODEL = "not_in_model"
    """The model that ran does not know the organ."""

    LOW_CONFIDENCE = "low_confidence"
    """A mask was made, but a check doubts it; the flags say why."""


class Evidence(StrEnum):
    """The best kind of data that a model learned an organ from."""

    EXPERT = "expert"
    """Contours drawn or checked by experts for research."""

    CLINICAL = "clinical"
    """Contours from clinical routine."""

    PHANTOM = "phantom"
    """Simulated patients only: no real contour of this organ was seen."""

    UNSTATED = "unstated"
    """An imported model, of which nobody said what it was trained on."""


@dataclass(frozen=True, slots=True)
class Code:
    """A SNOMED CT concept, as DICOM's coded entries carry it (PS3.3 8.8)."""

    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Organ:
    """One organ at risk.

    Attributes:
        label: Its number, 1 to 30, in every label map.
        name: The challenge's name, at most 16 characters as TG-263 asks.
        side: The patient's side it lies on.
        code: Its anatomical concept.
        colour: Display colour, red, green and blue from 0 to 255; organs within 10 mm
            of each other differ by 25 and more (CIEDE2000), and by 18 for who lacks
            one kind of cones.
        description: What it is, in words.
    """

    label: int
    name: str
    side: Side
    code: Code
    colour: tuple[int, int, int]
    description: str


ORGANS: tuple[Organ, ...] = (
    Organ(
        1,
        "A_Carotid_L",
        Side.LEFT,
        Code("69105007", "Carotid artery"),
        (181, 77, 67),
        "left common and internal carotid artery",
    ),
    Organ(
        2,
        "A_Carotid_R",
        Side.RIGHT,
        Code("69105007", "Carotid artery"),
        (255, 151, 70),
        "right common and internal carotid artery",
    ),
    Organ(
        3,
        "Arytenoid",
        Side.NONE,
        Code("77578007", "Arytenoid cartilage"),
        (207, 18, 148),
        "arytenoid cartilage",
    ),
    Organ(
        4,
        "Bone_Mandible",
        Side.NONE,
        Code("91609006", "Mandible"),
        (255, 184, 217),
        "mandible",
    ),
    Organ(
        5,
        "Brainstem",
        Side.NONE,
        Code("119238007", "Brain stem"),
        (106, 97, 201),
        "brain stem",
    ),
    Organ(
        6,
        "BuccalMucosa",
        Side.NONE,
        Code("16811007", "Buccal mucosa"),
        (255, 46, 110),
        "buccal mucosa",
    ),
    Organ(
        7,
        "Cavity_Oral",
        Side.NONE,
        Code("74262004", "Oral cavity"),
        (110, 134, 221),
        "oral cavity",
    ),
    Organ(
        8,
        "Cochlea_L",
        Side.LEFT,
        Code("80169004", "Cochlea"),
        (216, 138, 1),
        "left cochlea",
    ),
    Organ(
        9,
        "Cochlea_R",
        Side.RIGHT,
        Code("80169004", "Cochlea"),
        (210, 165, 0),
        "right cochlea",
    ),
    Organ(
        10,
        "Cricopharyngeus",
        Side.NONE,
        Code("28276008", "Cricopharyngeus muscle"),
        (135, 113, 62),
        "cricopharyngeus muscle",
    ),
    Organ(
        11,
        "Esophagus_S",
        Side.NONE,
        Code("32849002", "Esophagus"),
        (195, 190, 58),
        "cervical oesophagus",
    ),
    Organ(
        12,
        "Eye_AL",
        Side.LEFT,
        Code("79652003", "Eyeball"),
        (150, 204, 255),
        "anterior part of the left eyeball",
    ),
    Organ(
        13,
        "Eye_AR",
        Side.RIGHT,
        Code("79652003", "Eyeball"),
        (31, 141, 204),
        "anterior part of the right eyeball",
    ),
    Organ(
        14,
        "Eye_PL",
        Side.LEFT,
        Code("79652003", "Eyeball"),
        (20, 144, 137),
        "posterior part of the left eyeball",
    ),
    Organ(
        15,
        "Eye_PR",
        Side.RIGHT,
        Code("79652003", "Eyeball"),
        (97, 228, 204),
        "posterior part of the right eyeball",
    ),
    Organ(
        16,
        "Glnd_Lacrimal_L",
        Side.LEFT,
        Code("13561001", "Lacrimal gland"),
        (167, 96, 247),
        "left lacrimal gland",
    ),
    Organ(
        17,
        "Glnd_Lacrimal_R",
        Side.RIGHT,
        Code("13561001", "Lacrimal gland"),
        (169, 92, 114),
        "right lacrimal gland",
    ),
    Organ(
        18,
        "Glnd_Submand_L",
        Side.LEFT,
        Code("54019009", "Submandibular gland"),
        (121, 188, 0),
        "left submandibular gland",
    ),
    Organ(
        19,
        "Glnd_Submand_R",
        Side.RIGHT,
        Code("54019009", "Submandibular gland"),
        (100, 116, 56),
        "right submandibular gland",
    ),
    Organ(
        20,
        "Glnd_Thyroid",
        Side.NONE,
        Code("69748006", "Thyroid"),
        (16, 176, 155),
        "thyroid",
    ),
    Organ(
        21, "Glottis", Side.NONE, Code("1307006", "Glottis"), (161, 146, 255), "glottis"
    ),
    Organ(
        22,
        "Larynx_SG",
        Side.NONE,
        Code("119255006", "Supraglottis"),
        (57, 252, 255),
        "supraglottic larynx",
    ),
    Organ(23, "Lips", Side.NONE, Code("48477009", "Lip"), (217, 98, 96), "lip"),
    Organ(
        24,
        "OpticChiasm",
        Side.NONE,
        Code("244453006", "Optic chiasm"),
        (45, 125, 99),
        "optic chiasm",
    ),
    Organ(
        25,
        "OpticNrv_L",
        Side.LEFT,
        Code("18234004", "Optic nerve"),
        (248, 239, 96),
        "left optic nerve",
    ),
    Organ(
        26,
        "OpticNrv_R",
        Side.RIGHT,
        Code("18234004", "Optic nerve"),
        (207, 255, 52),
        "right optic nerve",
    ),
    Organ(
        27,
        "Parotid_L",
        Side.LEFT,
        Code("45289007", "Parotid gland"),
        (22, 200, 125),
        "left parotid gland",
    ),
    Organ(
        28,
        "Parotid_R",
        Side.RIGHT,
        Code("45289007", "Parotid gland"),
        (95, 242, 112),
        "right parotid gland",
    ),
    Organ(
        29,
        "Pituitary",
        Side.NONE,
        Code("56329008", "Pituitary"),
        (124, 152, 0),
        "pituitary",
    ),
    Organ(
        30,
        "SpinalCord",
        Side.NONE,
        Code("2748008", "Spinal cord"),
        (234, 171, 140),
        "spinal cord",
    ),
)
"""All 30, in label order: ``ORGANS[label - 1]`` has that label."""

BACKGROUND = 0
"""The label of everything that is no organ at risk."""

_BY_NAME = {organ.name: organ for organ in ORGANS}


def organ(name: str) -> Organ:
    """Return the organ of that name.

    Raises:
        OptionError: There is none.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise OptionError(
            f"no organ is called {name!r}; `hanseg organs` lists the 30"
        ) from None


def counterpart(subject: Organ) -> Organ | None:
    """Return the same organ of the other side, or None for one in the middle."""
    if subject.side is Side.NONE:
        return None
    other = "R" if subject.side is Side.LEFT else "L"
    return _BY_NAME[subject.name[:-1] + other]


def pairs_that_share(numbers: Mapping[str, int]) -> dict[int, int]:
    """Return the right organ's label by the left's, where both have one number.

    Args:
        numbers: A number of each organ, by name; organs may be missing.
    """
    pairs: dict[int, int] = {}
    for left in ORGANS:
        right = counterpart(left) if left.side is Side.LEFT else None
        if right is None or left.name not in numbers:
            continue
        if numbers[left.name] == numbers.get(right.name):
            pairs[left.label] = right.label
    return pairs


def mirrored_labels() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return the lookup table that exchanges left and right labels, shape ``(31,)``."""
    table = np.arange(len(ORGANS) + 1, dtype=np.uint8)
    for each in ORGANS:
        other = counterpart(each)
        if other is not None:
            table[each.label] = other.label
    return table
