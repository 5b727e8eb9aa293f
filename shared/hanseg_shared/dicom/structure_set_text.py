"""What a structure set says in words: its description, and what made its contours.

All of it is ASCII, which every character set of DICOM has.
"""

from __future__ import annotations

from collections.abc import Sequence

from hanseg_shared.dicom.organ_masks import Review
from hanseg_shared.dicom.template import Structure, Template
from hanseg_shared.documents import ModelSummary, OrganResult
from hanseg_shared.flags import REMARKS, FlagCode
from hanseg_shared.organs import OrganStatus

LONGEST_DESCRIPTION = 1024
"""Characters of Structure Set Description (3006,0006), an ST (PS3.5 6.2)."""

LONGEST_GENERATION = 64
"""Characters of ROI Generation Description (3006,0038), an LO."""

HASH_SHOWN = 12
"""Digits of a model's SHA-256 that are shown: enough to tell models apart."""

REASONS = {
    OrganStatus.EMPTY: "nothing found",
    OrganStatus.OUTSIDE_FIELD_OF_VIEW: "outside the CT",
    OrganStatus.NOT_IN_MODEL: "not in the model",
}
"""Why an organ has no mask."""


def reason_for(
    missing: Sequence[str], structure: Structure, organs: Sequence[OrganResult]
) -> str:
    """Return why a structure cannot be made, some of whose organs have no mask."""
    status = {each.name: each.status for each in organs}
    reasons = {
        name: REASONS.get(status.get(name, OrganStatus.EMPTY), "no voxel")
        for name in missing
    }
    if len(structure.organs) == 1:
        return reasons[missing[0]]
    return ", ".join(f"{name} {reason}" for name, reason in reasons.items())


def generation(model: ModelSummary | None) -> str:
    """Return what made the contours, for ROI Generation Description."""
    if model is None:
        return "hanseg"
    name = f"hanseg model {model.name} {model.version}"
    digest = f" {model.sha256[:HASH_SHOWN]}"
    return f"{name[: LONGEST_GENERATION - len(digest)]}{digest}"


def describe(
    *,
    template: Template,
    organs: Sequence[OrganResult],
    left_out: Sequence[tuple[str, str]],
    model: ModelSummary | None,
    even: bool,
    review: Review | None = None,
) -> str:
    """Return the description of a structure set, what matters most first.

    Args:
        template: Which structures were wanted.
        organs: What became of each organ.
        left_out: Names of the structures that are not there, each with its reason.
        model: What made the masks.
        even: Whether the CT's slices are evenly spaced and none is missing.
        review: What people have changed of the masks, if they were approved.
    """
    absent = {name for name, _ in left_out}
    written = [each for each in template.structures if each.name not in absent]
    parts = [_headline(written, review)]
    if left_out:
        parts.append(f"Left out: {_list_by_reason(left_out)}.")
    if doubted := _doubted(written, organs):
        parts.append(f"Low confidence: {'; '.join(doubted)}.")
    if not even:
        parts.append("CT slices uneven or missing: contours on existing slices only.")
    if cut := _cut_off(written, organs):
        parts.append(f"Cut off by the CT's edge: {', '.join(cut)}.")
    parts.append(f"{generation(model)}, template {template.name}@{template.version}.")
    text = " ".join(parts)
    if len(text) > LONGEST_DESCRIPTION:
        text = f"{text[: LONGEST_DESCRIPTION - 4]} ..."
    return text


def _headline(written: Sequence[Structure], review: Review | None) -> str:
    if review is None:
        return "Automatic contours, to be reviewed before use."
    edited = [s.name for s in written if not review.edited.keys().isdisjoint(s.organs)]
    corrected = f" Corrected: {', '.join(edited)}." if edited else ""
    return f"Automatic contours, reviewed and approved.{corrected}"


def _list_by_reason(left_out: Sequence[tuple[str, str]]) -> str:
    names: dict[str, list[str]] = {}
    for name, reason in left_out:
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(each)} ({reason})" for reason, each in names.items())


def _doubted(written: Sequence[Structure], organs: Sequence[OrganResult]) -> list[str]:
    """Return the structures that a check doubts, each with why."""
    found = []
    for structure in written:
        members = [each for each in organs if each.name in structure.organs]
        if any(each.status is OrganStatus.LOW_CONFIDENCE for each in members):
            flags = [flag for each in members for flag in each.flags]
            words = [flag.words for flag in flags if flag.code not in REMARKS]
            found.append(f"{structure.name} ({', '.join(dict.fromkeys(words))})")
    return found


def _cut_off(written: Sequence[Structure], organs: Sequence[OrganResult]) -> list[str]:
    """Return the structures of which the CT may show only a part."""
    cut = {o.name for o in organs if FlagCode.TRUNCATED_AT_SCAN_EDGE in o.codes}
    return [each.name for each in written if cut.intersection(each.organs)]
