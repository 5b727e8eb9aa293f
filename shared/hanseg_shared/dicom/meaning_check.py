"""Whether structures and segments that were read back are called what they are.

Some systems show a structure by its code, not by its name: a left organ with the code
of the right one is then on the wrong side, though its mask is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from pydicom.dataset import Dataset

from hanseg_shared.dicom.template import Structure
from hanseg_shared.dicom.untrusted import items_of, text
from hanseg_shared.errors import OutputError
from hanseg_shared.organs import Side, organ

SIDE_CODES = {
    "7771000": {Side.LEFT},
    "24028007": {Side.RIGHT},
    "51440002": {Side.LEFT, Side.RIGHT},
}
"""SNOMED CT: left, right, and right and left (PS3.16 CID 244)."""

MOST_VOLUME_APART = 0.01
"""Share of a structure's volume, or its third decimal in ml."""


def require_structures_mean(
    dataset: Dataset, structures: Iterable[Structure], volumes_ml: Mapping[str, float]
) -> None:
    """Raise unless a structure set's codes, colours and volumes are its structures'.

    Args:
        dataset: The structure set.
        structures: What the template says of them, in any order.
        volumes_ml: Of the mask of each structure that is there, by name.

    Raises:
        OutputError: One differs.
    """
    known = {each.name: each for each in structures}
    drawn = _by_number(dataset, "ROIContourSequence")
    seen = _by_number(dataset, "RTROIObservationsSequence")
    for roi in items_of(dataset, "StructureSetROISequence"):
        name, number = text(roi, "ROIName").strip(), int(roi.ROINumber)
        structure = known[name]
        codes = items_of(seen[number], "RTROIIdentificationCodeSequence")
        if codes:
            _require_code(name, codes, structure.organs)
        if text(seen[number], "ROIObservationLabel").strip() != name:
            raise OutputError(
                f"{name} has the ROIObservationLabel (3006,0085) of another structure"
            )
        colour = structure.colour or organ(structure.organs[0]).colour
        if tuple(drawn[number].get("ROIDisplayColor") or ()) != colour:
            raise OutputError(
                f"{name} has another ROIDisplayColor (3006,002A) than the template"
            )
        _require_volume(name, float(roi.ROIVolume), volumes_ml[name])


def require_segments_mean(dataset: Dataset) -> None:
    """Raise unless a segmentation's codes are those of the organs it names.

    Raises:
        OutputError: One differs.
    """
    for each in items_of(dataset, "SegmentSequence"):
        name = text(each, "SegmentLabel").strip()
        codes = items_of(each, "SegmentedPropertyTypeCodeSequence")
        if codes:
            _require_code(name, codes, (name,))


def _by_number(dataset: Dataset, keyword: str) -> dict[int, Dataset]:
    return {int(each.ReferencedROINumber): each for each in items_of(dataset, keyword)}


def _require_code(name: str, codes: list[Dataset], organs: Sequence[str]) -> None:
    members = [organ(each) for each in organs]
    if len(codes) != 1 or {text(codes[0], "CodeValue")} != {
        member.code.value for member in members
    }:
        raise OutputError(f"{name} has the code (0008,0100) of another organ")
    modifiers = items_of(codes[0], "SegmentedPropertyTypeModifierCodeSequence")
    values = [text(each, "CodeValue") for each in modifiers]
    found = [SIDE_CODES[value] for value in values if value in SIDE_CODES]
    sides = {member.side for member in members}
    wanted = [sides] if sides in SIDE_CODES.values() else []
    if found != wanted:
        raise OutputError(f"{name} has a code for the side that it does not lie on")


def _require_volume(name: str, stated_ml: float, mask_ml: float) -> None:
    if not np.isclose(stated_ml, mask_ml, rtol=MOST_VOLUME_APART, atol=1e-3):
        raise OutputError(
            f"{name} has a ROIVolume (3006,002C) of {stated_ml:.3f} ml, but its mask "
            f"has {mask_ml:.3f} ml"
        )
