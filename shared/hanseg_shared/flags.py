"""What a check may say about an organ's contour: codes, what they mean, their numbers.

`docs/reference/statuses.md` explains the same codes to readers; a test holds the two
together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FlagCode(StrEnum):
    """One kind of finding. Those in `DOUBTS` make an organ `low_confidence`."""

    LEFT_RIGHT_SWAPPED = "left_right_swapped"
    SIDE_UNKNOWN = "side_unknown"
    UNEXPECTED_POSITION = "unexpected_position"
    SMALL_VOLUME = "small_volume"
    LARGE_VOLUME = "large_volume"
    FEW_VOXELS = "few_voxels"
    ASYMMETRIC = "asymmetric"
    LOW_PROBABILITY = "low_probability"
    FOLDS_DISAGREE = "folds_disagree"
    FRAGMENTED = "fragmented"
    SPLIT_IN_PIECES = "split_in_pieces"
    BETWEEN_VOXELS = "between_voxels"
    FIRST_STAGE_ONLY = "first_stage_only"
    TRUNCATED_AT_SCAN_EDGE = "truncated_at_scan_edge"
    PIECES_REMOVED = "pieces_removed"
    HOLES = "holes"


class Number(StrEnum):
    """The name of a flag's number, which says its unit."""

    ML = "ml"
    """A volume, ml."""

    MM = "mm"
    """A distance, mm."""

    VOXELS = "voxels"
    """A count of the CT's voxels."""

    PIECES = "pieces"
    """A count of separate pieces."""

    RATIO = "ratio"
    """The larger of two volumes as a multiple of the smaller."""

    SHARE = "share"
    """A volume as a share of another, 0 or more."""

    PROBABILITY = "probability"
    """0 to 1."""

    DICE = "dice"
    """An overlap, 0 to 1 (Dice's coefficient)."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a flag says.

    Attributes:
        sentence: For a person, in plain words.
        number: The number beside it; None if it has none.
        limited: Whether the limit that decided stands beside the number.
    """

    sentence: str
    number: Number | None = None
    limited: bool = False


MEANINGS: dict[FlagCode, Meaning] = {
    FlagCode.LEFT_RIGHT_SWAPPED: Meaning(
        "The organ lies on the other side of its counterpart, or of the patient's"
        " middle."
    ),
    FlagCode.SIDE_UNKNOWN: Meaning(
        "Left and right could not be told apart; the number is the volume that was"
        " taken out of the organ and its counterpart.",
        Number.ML,
    ),
    FlagCode.UNEXPECTED_POSITION: Meaning(
        "The organ lies further from its expected place than patients differ.",
        Number.MM,
        limited=True,
    ),
    FlagCode.SMALL_VOLUME: Meaning(
        "The contour is smaller than the whole organ can be.", Number.ML, limited=True
    ),
    FlagCode.LARGE_VOLUME: Meaning(
        "The contour is larger than the organ can be.", Number.ML, limited=True
    ),
    FlagCode.FEW_VOXELS: Meaning(
        "The contour has so few voxels that neither its volume nor its shape tells"
        " anything.",
        Number.VOXELS,
        limited=True,
    ),
    FlagCode.ASYMMETRIC: Meaning(
        "The organ and its counterpart differ in volume more than a patient's two sides"
        " do.",
        Number.RATIO,
        limited=True,
    ),
    FlagCode.LOW_PROBABILITY: Meaning(
        "The model itself was not sure of the organ.", Number.PROBABILITY, limited=True
    ),
    FlagCode.FOLDS_DISAGREE: Meaning(
        "The model's folds, or its mirrored passes, contradict each other about the"
        " organ.",
        Number.DICE,
        limited=True,
    ),
    FlagCode.FRAGMENTED: Meaning(
        "More was removed as stray pieces, as a share of what was kept, than is"
        " accepted.",
        Number.SHARE,
        limited=True,
    ),
    FlagCode.SPLIT_IN_PIECES: Meaning(
        "The contour has more large pieces than the organ does.",
        Number.PIECES,
        limited=True,
    ),
    FlagCode.BETWEEN_VOXELS: Meaning(
        "The model saw the organ, but it is so small that no voxel of the CT lies"
        " inside."
    ),
    FlagCode.FIRST_STAGE_ONLY: Meaning(
        "The model's finer second stage did not find the organ, or had no time; this is"
        " the first stage's outline."
    ),
    FlagCode.TRUNCATED_AT_SCAN_EDGE: Meaning(
        "The contour reaches the edge of the CT, which may cut the organ."
    ),
    FlagCode.PIECES_REMOVED: Meaning(
        "Stray pieces were removed; the number is their volume.", Number.ML
    ),
    FlagCode.HOLES: Meaning(
        "The contour encloses holes, which were left; the number is their volume.",
        Number.ML,
    ),
}
"""What each code means; every code is here."""

REMARKS = frozenset(
    {FlagCode.TRUNCATED_AT_SCAN_EDGE, FlagCode.PIECES_REMOVED, FlagCode.HOLES}
)
"""Codes that say something about an organ without doubting it: a truncated organ is
right as far as it goes."""

DOUBTS = frozenset(FlagCode) - REMARKS
"""Codes that are findings against an organ."""
