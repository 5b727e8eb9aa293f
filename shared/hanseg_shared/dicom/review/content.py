"""What the review page says: the case in words, the organs in groups, and where."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.documents import (
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
)
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.io.dicom.source import DicomIdentity
from hanseg_shared.organs import ORGANS, Organ, OrganStatus, Side, organ
from hanseg_shared.volume import Volume

MARGIN_MM = 12.0
"""How much is shown around the organs of a group."""

SMALLEST_BOX_MM = 60.0
"""A small organ is shown with this much of what is around it."""

NAME_TAG, ID_TAG, STUDY_DATE_TAG = "00100010", "00100020", "00080020"

LONGEST_TEXT = 48
"""Letters of a name or an identifier: a line of the widest."""

NO_NAME = "(its letters are not in the font)"

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Eyes, optic pathway, pituitary",
        (
            "Eye_AL",
            "Eye_AR",
            "Eye_PL",
            "Eye_PR",
            "Glnd_Lacrimal_L",
            "Glnd_Lacrimal_R",
            "OpticNrv_L",
            "OpticNrv_R",
            "OpticChiasm",
            "Pituitary",
        ),
    ),
    (
        "Brainstem, cord, cochleae, vessels",
        (
            "Brainstem",
            "SpinalCord",
            "Cochlea_L",
            "Cochlea_R",
            "A_Carotid_L",
            "A_Carotid_R",
        ),
    ),
    (
        "Glands",
        (
            "Parotid_L",
            "Parotid_R",
            "Glnd_Submand_L",
            "Glnd_Submand_R",
            "Glnd_Thyroid",
        ),
    ),
    (
        "Mouth and mandible",
        ("Cavity_Oral", "BuccalMucosa", "Lips", "Bone_Mandible"),
    ),
    (
        "Larynx and pharynx",
        (
            "Larynx_SG",
            "Glottis",
            "Arytenoid",
            "Cricopharyngeus",
            "Esophagus_S",
        ),
    ),
)
"""The organs as a reader goes through them; each of the 30 is in one group."""

STATUS_WORDS = {
    OrganStatus.CONTOURED: "contoured",
    OrganStatus.LOW_CONFIDENCE: "CHECK",
    OrganStatus.EMPTY: "not found",
    OrganStatus.OUTSIDE_FIELD_OF_VIEW: "outside the scan",
    OrganStatus.NOT_IN_MODEL: "not in the model",
}

VERDICT_WORDS = {
    MrVerdict.USED: "CT and MR: the MR was used",
    MrVerdict.REJECTED: "CT alone: the MR was REJECTED",
    MrVerdict.ABSENT: "CT alone: there was no MR",
}


@dataclass(frozen=True, slots=True, eq=False)
class Review:
    """What a review page is made of.

    Attributes:
        ct: The planning CT, in HU.
        labels: The organs' label numbers, on the CT's grid.
        mr: The registered MR on the CT's grid; a rejected one too, to be looked at.
        field_of_view: Not 0 where the MR has data; None for everywhere.
        organs: What became of each of the 30, in label order.
        registration: What became of the MR.
        model: Which model segmented them.
        case: Whose they are; None leaves patient and date out.
        remarks: What a person should know of the images.
    """

    ct: Volume
    labels: Volume
    mr: Volume | None
    field_of_view: Volume | None
    organs: tuple[OrganResult, ...]
    registration: RegistrationReport
    model: ModelSummary
    case: DicomCase | None
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the patient, from its lowest to its highest corner in mm LPS."""

    low: Vector
    high: Vector

    @classmethod
    def around(
        cls, points: np.ndarray, grid: Grid, *, smallest_mm: float = SMALLEST_BOX_MM
    ) -> Box:
        """Return the box of points ``(n, 3)`` with a margin, within a grid."""
        low, high = points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM
        lacking = np.maximum(smallest_mm - (high - low), 0.0) / 2.0
        first, last = _outer_faces(grid)
        low = np.maximum(low - lacking, first)
        high = np.minimum(high + lacking, last)
        return cls(_vector(low), _vector(high))

    def fill(self, across: int, down: int, aspect: float, grid: Grid) -> Box:
        """Return the box widened to an aspect in a plane, as far as a grid reaches.

        Args:
            across: The axis from left to right in the plane.
            down: The axis along its vertical.
            aspect: The wanted width, as a multiple of the height.
            grid: What there is to be shown.
        """
        low, high = np.array(self.low), np.array(self.high)
        width, height = (high - low)[[across, down]]
        wanted = {
            across: max(width, height * aspect),
            down: max(height, width / aspect),
        }
        first, last = _outer_faces(grid)
        for axis, length in wanted.items():
            middle = (low[axis] + high[axis]) / 2.0
            low[axis] = max(middle - length / 2.0, first[axis])
            high[axis] = min(middle + length / 2.0, last[axis])
        return Box(_vector(low), _vector(high))


def _outer_faces(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of what voxels fill, so that one slice has a height."""
    corners, half = grid.corners(), max(grid.spacing) / 2.0
    return corners.min(axis=0) - half, corners.max(axis=0) + half


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A group of organs, and where they are.

    Attributes:
        title: What they have in common.
        organs: All of them.
        labels: The label map where they are, of these organs only; None if none of
            them has a contour.
        box: What is shown of the patient.
    """

    title: str
    organs: tuple[Organ, ...]
    labels: Volume | None
    box: Box


def find_groups(labels: Volume) -> list[Group]:
    """Return the organs in groups, each with its part of the label map."""
    found = ndimage.find_objects(labels.array, max_label=len(ORGANS))
    groups = []
    for title, names in GROUPS:
        members = tuple(organ(name) for name in names)
        groups.append(_make_group(title, members, labels, found))
    return groups


def _make_group(
    title: str,
    members: tuple[Organ, ...],
    labels: Volume,
    found: Sequence[tuple[slice, ...] | None],
) -> Group:
    places = [place for m in members if (place := found[m.label - 1]) is not None]
    if not places:
        return Group(
            title, members, None, Box.around(labels.grid.corners(), labels.grid)
        )
    first = [min(place[axis].start for place in places) for axis in range(3)]
    last = [max(place[axis].stop for place in places) for axis in range(3)]
    part = labels.array[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    own = np.where(np.isin(part, [member.label for member in members]), part, 0)
    z, y, x = first
    depth, height, width = own.shape
    grid = labels.grid.crop((x, y, z), (width, height, depth))
    box = Box.around(grid.corners(), labels.grid)
    return Group(title, members, Volume(own, grid), box)


def find_middle_mm(labels: Volume) -> float:
    """Return the patient's middle, LPS x: of the organs in it, if there are any."""
    found = ndimage.find_objects(labels.array, max_label=len(ORGANS))
    centres = [
        labels.grid.index_to_world([(s.start + s.stop - 1) / 2.0 for s in place[::-1]])
        for each, place in zip(ORGANS, found, strict=True)
        if each.side is Side.NONE and place is not None
    ]
    if not centres:
        return float(labels.grid.centre[0])
    return float(np.median([centre[0] for centre in centres]))


def describe_patient(case: DicomCase) -> list[tuple[str, str]]:
    """Return the patient's name and ID and the study's date, each with its caption.

    A name whose letters the font lacks is left out: the ID says who it is.
    """
    identity = case.identity
    lines = [("Patient", choose_name(identity) or NO_NAME)]
    lines.append(("Patient ID", _printable(_first(identity, ID_TAG)) or "(none)"))
    date = _first(identity, STUDY_DATE_TAG)
    if len(date) == 8 and date.isdigit():
        lines.append(("Study date", f"{date[:4]}-{date[4:6]}-{date[6:]}"))
    return lines


def choose_name(identity: DicomIdentity) -> str:
    """Return the form of the patient's name that can be printed; empty if none can.

    The alphabetic form comes first, then the ideographic, then the phonetic one
    (PS3.5 6.2.1).
    """
    name = _value(identity, NAME_TAG)
    forms = name if isinstance(name, dict) else {"Alphabetic": str(name or "")}
    for form in ("Alphabetic", "Ideographic", "Phonetic"):
        if text := _printable(str(forms.get(form, "")).strip("^ ")):
            return shorten(", ".join(filter(None, text.split("^"))))
    return ""


def list_checks(organs: Iterable[OrganResult]) -> list[str]:
    """Return in a few lines which organs need a look and which have no contour."""
    lines = []
    for status, caption in (
        (OrganStatus.LOW_CONFIDENCE, "Check first"),
        (OrganStatus.EMPTY, "Not found"),
        (OrganStatus.OUTSIDE_FIELD_OF_VIEW, "Outside the scan"),
        (OrganStatus.NOT_IN_MODEL, "Not in the model"),
    ):
        names = [each.name for each in organs if each.status is status]
        if names:
            lines.append(f"{caption}: {', '.join(names)}")
    return lines or ["All 30 organs are contoured, and no check found a fault"]


def _first(identity: DicomIdentity, tag: str) -> str:
    value = _value(identity, tag)
    return "" if value is None else str(value)


def _value(identity: DicomIdentity, tag: str) -> Any:  # noqa: ANN401 - DICOM's JSON
    values = identity.attributes.get(tag, {}).get("Value") or [None]
    return values[0]


def _printable(text: str) -> str:
    """Return a text if the font has all its letters, else nothing.

    Right-to-left scripts would be drawn the wrong way round.
    """
    glyphs = _glyphs()
    for letter in text:
        right_to_left = unicodedata.bidirectional(letter) in ("R", "AL")
        if right_to_left or not letter.isprintable() or ord(letter) not in glyphs:
            return ""
    return shorten(text.strip())


def shorten(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text, cut off if it has more letters than there is room for."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


@functools.cache
def _glyphs() -> frozenset[int]:
    """Return the characters of matplotlib's own font, DejaVu Sans."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def _vector(values: np.ndarray) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
