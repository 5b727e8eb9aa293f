"""Which CT and which MR are taken where several series were sent.

A series that is named is taken. Otherwise the rules here decide, and say so; what they
leave open is refused with the series to choose from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from hanseg_shared.errors import ImageContentError, ImageError, OptionError
from hanseg_shared.io.dicom.attributes import describe_tag
from hanseg_shared.io.dicom.geometry import Stack
from hanseg_shared.io.dicom.series import Series, stack_series
from hanseg_shared.io.dicom.sop_classes import Modality
from hanseg_shared.io.dicom.weighting import Weighting, judge_weighting
from hanseg_shared.io.limits import Limits

FEW_SHARE = 0.25
"""A CT of fewer slices than this share of the most is a scout or a test scan, and is
only taken where there is no other."""

SIMILAR_SHARE = 0.5
"""MR series of at least this share of the most slices are of similar size."""

AXIAL_COSINE = 0.7
"""Of the angle between a CT's slices and the axial plane, at least: 45 degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class Usable:
    """A series that makes a volume.

    Attributes:
        series: The series.
        stack: Its slices.
        remarks: What a person should know of it.
    """

    series: Series
    stack: Stack
    remarks: tuple[str, ...]

    @property
    def slices(self) -> int:
        """Number of its slices."""
        return len(self.stack.frames)

    @property
    def is_axial(self) -> bool:
        """Whether its slices are more axial than sagittal or coronal."""
        return abs(self.stack.grid.direction[2][2]) >= AXIAL_COSINE

    def describe(self) -> str:
        """Return its UID and size, as messages list it."""
        return f"{self.series.uid} ({self.slices} slices)"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The series that was taken.

    Attributes:
        usable: It; None if none was.
        remarks: What was left out, and why.
    """

    usable: Usable | None
    remarks: tuple[str, ...]


def choose_ct(
    found: Sequence[Series], wanted: str | None, limits: Limits
) -> tuple[Usable, tuple[str, ...]]:
    """Return the CT, and remarks on those that were left out.

    Without a wish it is the one with most slices of those that can be used: axial ones
    before others, original ones before derived ones.

    Args:
        found: All CT series, at least one.
        wanted: Series Instance UID of the one to take.
        limits: Caps on each.

    Raises:
        OptionError: None has the UID that is wanted.
        ImageError: None can be used, or two are alike.
    """
    if wanted is not None:
        return _take_wanted(found, wanted, limits, "CT")
    usable, refused = _examine(found, limits)
    if not usable:
        _raise_refusal(found, refused)
    most = max(each.slices for each in usable)
    ranks = {each.series.uid: _rank_ct(each, most) for each in usable}
    best = max(ranks.values())
    first = [each for each in usable if ranks[each.series.uid] == best]
    if len(first) > 1:
        _raise_open_choice(first, "CT")
    others = [each for each in usable if each is not first[0]]
    return first[0], (*_left_out(others, "CT"), *_not_used(refused, "CT"))


def choose_mr(
    found: Sequence[Series], wanted: str | None, limits: Limits, *, sent_as_mr: bool
) -> Chosen:
    """Return the T1 MR, if there is one, and remarks on those that were left out.

    Without a wish it is the one with most slices of those that are T1-weighted by
    their headers; where none is, of those whose headers do not say. One of another
    weighting is only taken if it was sent as the MR and is alone.

    Args:
        found: All MR series; may be none.
        wanted: Series Instance UID of the one to take.
        limits: Caps on each.
        sent_as_mr: Whether the sender calls these files the MR; if not, they came
            with the CT, and one that cannot be used is left out.

    Raises:
        OptionError: None has the UID that is wanted.
        ImageError: Several could be meant, or those that were sent as MR cannot be
            used.
    """
    if wanted is not None:
        usable, remarks = _take_wanted(found, wanted, limits, "MR")
        return Chosen(_with_weighting(usable), remarks)
    candidates, refused = _examine(found, limits)
    if not candidates and refused and sent_as_mr:
        _raise_refusal(found, refused)
    weights = {each.series.uid: _weighting_of(each) for each in candidates}
    accepted = [Weighting.T1, Weighting.UNKNOWN]
    if sent_as_mr:
        accepted.append(Weighting.OTHER)
    for weighting in accepted:
        group = [each for each in candidates if weights[each.series.uid] is weighting]
        if group:
            chosen = _largest_mr(group)
            others = [each for each in candidates if each is not chosen]
            remarks = (*_left_out(others, "MR"), *_not_used(refused, "MR"))
            return Chosen(_with_weighting(chosen), remarks)
    remarks = (*_not_t1(candidates), *_not_used(refused, "MR"))
    return Chosen(None, remarks)


def _examine(
    found: Sequence[Series], limits: Limits
) -> tuple[list[Usable], dict[str, ImageError]]:
    """Return the series that can be used, and why others cannot, by UID."""
    usable: list[Usable] = []
    refused: dict[str, ImageError] = {}
    for series in found:
        try:
            stack, remarks = stack_series(series, limits)
        except ImageError as error:
            refused[series.uid] = error
        else:
            usable.append(Usable(series, stack, remarks))
    return usable, refused


def _take_wanted(
    found: Sequence[Series], wanted: str, limits: Limits, modality: Modality
) -> tuple[Usable, tuple[str, ...]]:
    for series in found:
        if series.uid == wanted:
            stack, remarks = stack_series(series, limits)
            return Usable(series, stack, remarks), ()
    there = ", ".join(series.uid for series in found) or "none"
    raise OptionError(
        f"no {modality} series among the files has {describe_tag('SeriesInstanceUID')} "
        f"{wanted}; there are: {there}"
    )


def _rank_ct(usable: Usable, most: int) -> tuple[bool, bool, bool, int]:
    """Return what is compared of CTs, the best highest."""
    return (
        usable.slices >= FEW_SHARE * most,
        usable.is_axial,
        not usable.series.is_derived,
        usable.slices,
    )


def _largest_mr(group: Sequence[Usable]) -> Usable:
    largest = max(group, key=lambda each: each.slices)
    similar = [each for each in group if each.slices >= SIMILAR_SHARE * largest.slices]
    if len(similar) > 1:
        _raise_open_choice(similar, "MR")
    return largest


def _weighting_of(usable: Usable) -> Weighting:
    return judge_weighting(usable.stack.frames[0].header.attributes)


def _with_weighting(usable: Usable) -> Usable:
    """Return the MR with a remark where it may not be T1-weighted."""
    weighting = _weighting_of(usable)
    if weighting is Weighting.T1:
        return usable
    told = {
        Weighting.OTHER: "by its headers it is not T1-weighted, as the MR should be",
        Weighting.UNKNOWN: "its headers do not say whether it is T1-weighted, as the "
        "MR should be",
    }
    return Usable(usable.series, usable.stack, (*usable.remarks, told[weighting]))


def _raise_refusal(found: Sequence[Series], refused: dict[str, ImageError]) -> NoReturn:
    """Refuse the largest series for its own reason, and say that there are others."""
    largest = max(found, key=lambda series: len(series.headers))
    error = refused[largest.uid]
    if len(found) == 1:
        raise error
    modality = largest.modality
    raise type(error)(
        f"{error}; nor can any of the other {len(found) - 1} {modality} series be used"
    )


def _raise_open_choice(among: Sequence[Usable], modality: Modality) -> NoReturn:
    listed = "; ".join(each.describe() for each in among)
    raise ImageContentError(
        f"{len(among)} {modality} series could be meant: {listed}; name the one to use "
        f"by its {describe_tag('SeriesInstanceUID')}, or send only that one"
    )


def _left_out(others: Sequence[Usable], modality: Modality) -> tuple[str, ...]:
    if not others:
        return ()
    listed = "; ".join(each.describe() for each in others)
    return (f"{modality} series left out: {listed}",)


def _not_t1(others: Sequence[Usable]) -> tuple[str, ...]:
    if not others:
        return ()
    listed = "; ".join(each.describe() for each in others)
    return (
        f"MR series left out, since by their headers they are not T1-weighted: {listed}"
        "; name one to use it all the same",
    )


def _not_used(refused: dict[str, ImageError], modality: Modality) -> tuple[str, ...]:
    return tuple(
        f"{modality} series {uid} left out: {refused[uid]}" for uid in sorted(refused)
    )
