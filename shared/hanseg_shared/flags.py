"""What a check may say about an organ's contour: codes, what they mean, their numbers.

`docs/reference/statuses.md` explains the same codes to readers; a test holds the two
together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from hanseg_shared.document import Document


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


def _is_none(value: object) -> bool:
    return value is None


Named = Annotated[float | None, Field(ge=0, exclude_if=_is_none)]
"""A number that is left out where a flag has none of that name."""

_OLD_VOLUME_FLAG = re.compile(r"(pieces_removed|holes)_([0-9.e+-]{1,24})_ml")
"""How jobs of version 0.1 wrote the two flags that had a number then."""


class Flag(Document):
    """One finding about an organ: a code, and the number that belongs to it.

    `hanseg_shared.flags.MEANINGS` says what each code means and which number it has.
    A flag that was stored as a bare string, as jobs of version 0.1 did, is read too;
    its number may be missing then.

    Attributes:
        limit: What was accepted, in the unit of the number beside it.
    """

    code: FlagCode
    ml: Named = None
    mm: Named = None
    voxels: Named = None
    pieces: Named = None
    ratio: Named = None
    share: Named = None
    probability: Named = None
    dice: Named = None
    limit: Named = None

    @classmethod
    def of(
        cls, code: FlagCode, number: float | None = None, *, limit: float | None = None
    ) -> Flag:
        """Return a flag with its code's number, to three figures.

        There are more where the number would otherwise equal its limit.
        """
        name = MEANINGS[code].number
        figures = 3
        while _round(number, figures) == _round(limit, figures) and figures < 9:
            figures += 1
        numbers = {} if name is None else {name.value: _round(number, figures)}
        return cls(code=code, limit=_round(limit, figures), **numbers)

    @property
    def number(self) -> float | None:
        """The number that belongs to the code; None if there is none."""
        name = MEANINGS[self.code].number
        return None if name is None else getattr(self, name.value)

    @property
    def words(self) -> str:
        """The flag for a table or a picture, such as ``pieces removed 2.48 ml``."""
        words = self.code.value.replace("_", " ")
        if self.number is None:
            return words
        unit = _UNITS.get(MEANINGS[self.code].number, "")
        limit = "" if self.limit is None else f" (limit {self.limit:g}{unit})"
        return f"{words} {self.number:g}{unit}{limit}"

    def __str__(self) -> str:
        """Return the code and its numbers, such as ``pieces_removed ml=2.48``."""
        _, *numbers = self.model_dump().items()
        return " ".join((self.code, *(f"{name}={n:g}" for name, n in numbers)))

    @model_validator(mode="before")
    @classmethod
    def _from_version_0_1(cls, value: Any) -> Any:  # noqa: ANN401 - pydantic's own
        if not isinstance(value, str):
            return value
        old = _OLD_VOLUME_FLAG.fullmatch(value)
        return {"code": old[1], "ml": old[2]} if old else {"code": value}

    @model_validator(mode="after")
    def _has_its_own_number(self) -> Self:
        meaning = MEANINGS[self.code]
        for name in Number:
            if getattr(self, name.value) is not None and name is not meaning.number:
                raise ValueError(f"the flag {self.code} has no number {name.value!r}")
        if self.limit is not None and not meaning.limited:
            raise ValueError(f"the flag {self.code} has no limit")
        return self


_UNITS: dict[Number | None, str] = {Number.ML: " ml", Number.MM: " mm"}


def _round(number: float | None, figures: int) -> float | None:
    return None if number is None else float(f"{number:.{figures}g}")
