"""The verdict on an MR, and its reason: a plain sentence that names every failed check.

Each check compares a number of `hanseg_registration.evidence` with a limit of
`hanseg_registration.limits`. `docs/reference/statuses.md` lists the same checks; a test
compares the two lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from hanseg_registration.evidence import RegistrationEvidence
from hanseg_registration.limits import (
    LARGEST_BENT_SKIN_DISTANCE_MM,
    LARGEST_DISAGREEMENT_MM,
    LARGEST_DRIFT_MM,
    LARGEST_MIRROR_SHARE,
    LARGEST_ROTATION_DEG,
    LARGEST_SKIN_DISTANCE_MM,
    LARGEST_STRETCH,
    SMALLEST_COVERAGE,
    SMALLEST_EXCESS,
    SMALLEST_GAIN,
    SMALLEST_SKIN_SHARE,
    SMALLEST_Z_SCORE,
    SWAPPED_MIRROR_SHARE,
)
from hanseg_shared.documents import MrVerdict

MOST_DIGITS = 9
"""Most decimals of a value, which are added while it looks equal to its limit."""


class Topic(Enum):
    """What a failed check says of the MR; a reason begins with these words."""

    COMPUTED = "its place on this CT could not be computed"
    MOTION = "the motion that was found is not believable"
    COVERAGE = "it shows too little of this CT's head"
    MATCH = "it does not match this CT"
    PLACE = "its place on this CT is not certain"


@dataclass(frozen=True, slots=True)
class VerdictCheck:
    """A comparison of one number of a registration with its limit.

    Attributes:
        measure: The number it is about, as `registration.json` has it.
        topic: What its failure says of the MR.
        failure: Returns the value and the limit in words if it fails, else None.
    """

    measure: str
    topic: Topic
    failure: Callable[[RegistrationEvidence], str | None]


def judge(
    evidence: RegistrationEvidence, *, advise: bool = True
) -> tuple[MrVerdict, str]:
    """Return the verdict and its reason in a sentence or two.

    Args:
        evidence: What was measured.
        advise: Whether to say what the failed checks usually mean: of a pose that was
            found here. One that was sent may simply be wrong.
    """
    if not evidence.finite:  # the other numbers were never measured
        why = "the transform is not finite and invertible"
        return MrVerdict.REJECTED, as_rejection(f"{Topic.COMPUTED.value} ({why})")
    failed = {
        check: words
        for check in CHECKS
        if (words := check.failure(evidence)) is not None
    }
    if not failed:
        return MrVerdict.USED, _approval(evidence)
    topics = {check.topic for check in failed}
    lead = next(topic.value for topic in Topic if topic in topics)
    advice = _advice(evidence, {check.measure for check in failed}) if advise else ""
    reason = as_rejection(f"{lead} ({'; '.join(failed.values())})")
    return MrVerdict.REJECTED, f"{reason} {advice}".rstrip()


def as_rejection(why: str) -> str:
    """Return a rejected MR's reason as a sentence."""
    return f"MR rejected: {why.rstrip('. ')}."


def as_sentence(words: str) -> str:
    """Return words with a capital letter and a full stop."""
    return f"{words[:1].upper()}{words[1:].rstrip('. ')}."


def _not_finite(found: RegistrationEvidence) -> str | None:
    """Return which numbers are NaN or infinite: NaN would pass every other check."""
    names = found.not_finite()
    return f"{' and '.join(names)} could not be computed" if names else None


def _rotation(found: RegistrationEvidence) -> str | None:
    return _above(found.rotation_deg, LARGEST_ROTATION_DEG, "turned by {} degrees", 0)


def _stretch(found: RegistrationEvidence) -> str | None:
    return _above(
        100 * found.stretch_share, 100 * LARGEST_STRETCH, "stretched by {} %", 0
    )


def _coverage(found: RegistrationEvidence) -> str | None:
    share, least = 100 * found.field_of_view_share, 100 * SMALLEST_COVERAGE
    return _below(share, least, "covers {} % of the CT's head", 0)


def _similarity(found: RegistrationEvidence) -> str | None:
    return _below(found.similarity_after, SMALLEST_GAIN, "similarity {}", 3)


def _excess(found: RegistrationEvidence) -> str | None:
    words = "its similarity exceeds that of displaced places {}-fold"
    return _below(found.excess, SMALLEST_EXCESS, words, 1)


def _z_score(found: RegistrationEvidence) -> str | None:
    words = "{} standard deviations above displaced places"
    return _below(found.z_score, SMALLEST_Z_SCORE, words, 1)


def _agreement(found: RegistrationEvidence) -> str | None:
    words = "two starts end {} mm apart"
    return _above(found.agreement_mean_mm, LARGEST_DISAGREEMENT_MM, words, 1)


def _drift(found: RegistrationEvidence) -> str | None:
    return _above(found.drift_mm, LARGEST_DRIFT_MM, "fits better {} mm away", 1)


def _skin(found: RegistrationEvidence) -> str | None:
    bent = found.skin_distance_deformed_mm is not None
    limit = LARGEST_BENT_SKIN_DISTANCE_MM if bent else LARGEST_SKIN_DISTANCE_MM
    before = " before the deformation" if bent else ""
    return _above(found.skin_distance_mm, limit, f"skin {{}} mm apart{before}", 1)


def _deformed_skin(found: RegistrationEvidence) -> str | None:
    distance, limit = found.skin_distance_deformed_mm, LARGEST_SKIN_DISTANCE_MM
    return _above(distance, limit, "skin {} mm apart after the deformation", 1)


def _near_skin(found: RegistrationEvidence) -> str | None:
    if found.skin_near_share is None:
        return None
    share, least = 100 * found.skin_near_share, 100 * SMALLEST_SKIN_SHARE
    return _below(share, least, "{} % of the CT's skin within 3 mm of the MR's", 0)


def _mirror(found: RegistrationEvidence) -> str | None:
    share = _mirror_share(found)
    words = "no better than its mirror image, which is {} % as similar"
    return _above(100 * share, 100 * LARGEST_MIRROR_SHARE, words, 0)


def _mirror_share(found: RegistrationEvidence) -> float:
    """Return the mirror image's similarity as a share of the MR's own; 0 without."""
    if found.similarity_mirrored is None or not found.similarity_after > 0:
        return 0.0
    return found.similarity_mirrored / found.similarity_after


CHECKS = (
    VerdictCheck("not_a_number", Topic.COMPUTED, _not_finite),
    VerdictCheck("rotation_deg", Topic.MOTION, _rotation),
    VerdictCheck("stretch_share", Topic.MOTION, _stretch),
    VerdictCheck("field_of_view_share", Topic.COVERAGE, _coverage),
    VerdictCheck("similarity_after", Topic.MATCH, _similarity),
    VerdictCheck("similarity_excess", Topic.MATCH, _excess),
    VerdictCheck("similarity_z_score", Topic.MATCH, _z_score),
    VerdictCheck("skin_distance_mm", Topic.MATCH, _skin),
    VerdictCheck("skin_distance_deformed_mm", Topic.MATCH, _deformed_skin),
    VerdictCheck("skin_near_share", Topic.MATCH, _near_skin),
    VerdictCheck("similarity_mirrored", Topic.MATCH, _mirror),
    VerdictCheck("agreement_mean_mm", Topic.PLACE, _agreement),
    VerdictCheck("drift_mm", Topic.PLACE, _drift),
)
"""Every check, in the order in which a reason names the failures."""


def _above(value: float | None, limit: float, words: str, digits: int) -> str | None:
    """Return the words with a value that exceeds its limit; None if it does not."""
    if value is None or not value > limit:
        return None
    return f"{words.format(_format_distinct(value, limit, digits))}, limit {limit:g}"


def _below(value: float, least: float, words: str, digits: int) -> str | None:
    """Return the words with a value that does not reach its limit; None if it does."""
    if not value < least:
        return None
    return f"{words.format(_format_distinct(value, least, digits))}, at least {least:g}"


def _format_distinct(value: float, limit: float, digits: int) -> str:
    """Return a value with enough digits to differ from its limit."""
    shown = float(f"{limit:g}")
    while float(f"{value:.{digits}f}") == shown and digits < MOST_DIGITS:
        digits += 1
    return f"{value:.{digits}f}"


def _advice(found: RegistrationEvidence, failed: set[str]) -> str:
    """Return what the failed checks usually mean; nothing if that is open."""
    if _mirror_share(found) >= SWAPPED_MIRROR_SHARE:
        return "Left and right may be swapped."
    if "rotation_deg" in failed:
        return "Check the orientation in its header."
    if "field_of_view_share" in failed:
        return "An MR that shows the head of this patient is needed."
    if "similarity_after" in failed:
        return "Possibly another part of the body, or not a T1 MR."
    if failed & {"similarity_mirrored", "similarity_excess"}:
        return "Possibly another patient."
    if failed & {"skin_distance_mm", "skin_near_share", "similarity_z_score"}:
        return "Possibly another patient, or a wrong voxel spacing in its header."
    return ""


def _approval(found: RegistrationEvidence) -> str:
    agreement = ""
    if found.agreement_mean_mm is not None:
        agreement = f", and two starts end {found.agreement_mean_mm:.1f} mm apart"
    return (
        f"MR used: its similarity is {found.similarity_after:.3f} where it lies and "
        f"{found.similarity_displaced:.3f} at displaced places{agreement}."
    )
