"""Which series of a study are sent: the planning CT, its MR, their registration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hanseg_dicom.orthanc import Instance, Orthanc, Series
from hanseg_dicom.plan import Plan, PlannedInstance

MANUFACTURER = "hanseg"
"""Manufacturer (0008,0070) of everything that the service writes."""

CT, MR, REG = "CT", "MR", "REG"
MODALITIES = frozenset({CT, MR, REG})


@dataclass(frozen=True, slots=True)
class Rules:
    """What a series must have to be chosen.

    Attributes:
        minimal_slices: Of CT and MR.
        ct_description: Pattern that a CT's description must match.
        mr_description: Pattern that an MR's description or protocol must match.
        is_own: Whether a series, by its UID, is one that the bridge stored.
    """

    minimal_slices: int
    ct_description: str
    mr_description: str
    is_own: Callable[[str], bool]

    def may_be_used(self, series: Series) -> bool:
        """Whether a series comes from the clinic and may be a CT, MR or registration.

        What the service wrote itself is never one, whatever its modality.
        """
        if series.tags.get("Manufacturer") == MANUFACTURER or self.is_own(series.uid):
            return False
        if series.modality == CT:
            return _matches(self.ct_description, series)
        if series.modality == MR:
            return _matches(self.mr_description, series)
        return series.modality == REG


@dataclass(frozen=True, slots=True)
class Choice:
    """What a study has for a job.

    Attributes:
        plan: What would be sent now; None without a usable CT.
        arriving: Whether a series that may belong to it is not complete yet.
    """

    plan: Plan | None
    arriving: bool


def choose(orthanc: Orthanc, study: str, rules: Rules) -> Choice:
    """Choose among the series of a study.

    The CT, and the MR, is the series with the most slices; of equal ones the newest,
    then the one with the greater UID. Of the registrations of the two, the newest.
    """
    found = [each for each in orthanc.series_of(study) if rules.may_be_used(each)]
    if not all(each.stable for each in found):
        return Choice(None, arriving=True)
    ct = _largest(orthanc, found, CT, rules.minimal_slices)
    if ct is None:
        return Choice(None, arriving=False)
    mr = _largest(orthanc, found, MR, rules.minimal_slices)
    if mr is None:
        return Choice(Plan(ct=_planned(ct)), arriving=False)
    sent = [each for each in found if each.modality == REG]
    reg = _registration(orthanc, sent, ct, mr) if sent else []
    plan = Plan(ct=_planned(ct), mr=_planned(mr), reg=_planned(reg))
    return Choice(plan, arriving=False)


def _matches(pattern: str, series: Series) -> bool:
    told = (series.tags.get(name, "") for name in ("SeriesDescription", "ProtocolName"))
    return any(re.search(pattern, each, re.IGNORECASE) for each in told)


def _largest(
    orthanc: Orthanc, found: list[Series], modality: str, minimal_slices: int
) -> list[Instance] | None:
    """Return the instances of the series to use; None if none has enough slices."""
    best: tuple[tuple[int, str, str], list[Instance]] | None = None
    for series in found:
        if series.modality != modality:
            continue
        instances = orthanc.instances_of(series.id)
        slices = sum(each.frames for each in instances)
        rank = (slices, _date(series.tags, "Series"), series.uid)
        if slices >= minimal_slices and (best is None or rank > best[0]):
            best = rank, instances
    return None if best is None else best[1]


def _registration(
    orthanc: Orthanc, sent: list[Series], ct: list[Instance], mr: list[Instance]
) -> list[Instance]:
    """Return the newest registration between the frames of CT and MR, if any.

    One frame of both does not tell them apart: it has to list an image of the MR then.
    """
    frames = {
        orthanc.tags(part[0].id).get("FrameOfReferenceUID", "") for part in (ct, mr)
    }
    fitting = []
    for series in sent:
        for instance in orthanc.instances_of(series.id):
            tags = orthanc.tags(instance.id)
            if frames <= _registered_frames(tags) and (
                len(frames) > 1 or _lists_one_of(mr, tags)
            ):
                fitting.append((_date(tags, "Content"), instance.sop_uid, instance))
    return [max(fitting)[2]] if fitting else []


def _registered_frames(tags: Mapping[str, Any]) -> set[str]:
    """Return the frames of reference that a registration relates (PS3.3 C.20.2)."""
    items = tags.get("RegistrationSequence") or []
    named = {each.get("FrameOfReferenceUID", "") for each in items}
    return named | {tags.get("FrameOfReferenceUID", "")}


def _lists_one_of(instances: list[Instance], tags: Mapping[str, Any]) -> bool:
    """Whether an item of a registration lists one of these instances."""
    listed = {
        image.get("ReferencedSOPInstanceUID", "")
        for item in tags.get("RegistrationSequence") or []
        for image in item.get("ReferencedImageSequence") or []
    }
    return any(each.sop_uid in listed for each in instances)


def _date(tags: Mapping[str, Any], what: str) -> str:
    return f"{tags.get(f'{what}Date', '')}{tags.get(f'{what}Time', '')}"


def _planned(instances: list[Instance]) -> tuple[PlannedInstance, ...]:
    return tuple(PlannedInstance(id=i.id, sop_uid=i.sop_uid) for i in instances)
