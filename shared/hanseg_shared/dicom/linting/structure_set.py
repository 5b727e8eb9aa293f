"""Rules for RT structure sets (PS3.3 C.8.8.5, C.8.8.6, C.8.8.8).

Names of at most 16 characters, unique ignoring case: TG-263 section 7.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from pydicom.dataset import Dataset

from hanseg_shared.dicom.linting.places import (
    Places,
    image_classes,
    lint_references,
)
from hanseg_shared.dicom.linting.values import items, numbers_of, values_of
from hanseg_shared.io.dicom.source import DicomSource, SeriesSource

APPROVED = "APPROVED"

REVIEWED = (
    ("ReviewDate", "300E,0004"),
    ("ReviewTime", "300E,0005"),
    ("ReviewerName", "300E,0008"),
)
"""What an approved object says besides, and no other."""

LONGEST_NAME = 16
FEWEST_POINTS = 3
COLOURS = 256
"""Levels of red, green and blue (PS3.3 C.8.8.6)."""


def lint_structure_set(dataset: Dataset, source: DicomSource) -> Iterator[str]:
    """Yield what is wrong with a structure set that was made for the source's CT."""
    rois = items(dataset, "StructureSetROISequence")
    if not rois:
        yield "StructureSetROISequence (3006,0020) is missing or empty"
    yield from _lint_rois(rois, source.ct)
    yield from _lint_frame(dataset, source.ct)
    if not str(dataset.get("StructureSetLabel", "")).strip():
        yield "StructureSetLabel (3006,0002) is empty"
    yield from _lint_draft(dataset, rois)
    numbers = [_number(roi, "ROINumber") for roi in rois]
    drawn = items(dataset, "ROIContourSequence")
    seen = items(dataset, "RTROIObservationsSequence")
    yield from _lint_partners(numbers, drawn, "ROIContourSequence (3006,0039)")
    yield from _lint_partners(numbers, seen, "RTROIObservationsSequence (3006,0080)")
    observations = (_number(each, "ObservationNumber") for each in seen)
    yield from _lint_twice(observations, "ObservationNumber (3006,0082)")
    places = Places(source.ct)
    for each in drawn:
        yield from _lint_drawn(each, places)


def _lint_draft(dataset: Dataset, rois: list[Dataset]) -> Iterator[str]:
    """It says that a program drew organs, and whether somebody has approved them."""
    if dataset.get("Modality") != "RTSTRUCT":
        yield "Modality (0008,0060) is not RTSTRUCT"
    yield from _lint_approval(dataset)
    approved = dataset.get("ApprovalStatus") == APPROVED
    drawn_by = {"AUTOMATIC", "SEMIAUTOMATIC"} if approved else {"AUTOMATIC"}
    if any(roi.get("ROIGenerationAlgorithm") not in drawn_by for roi in rois):
        yield (
            "a structure's ROIGenerationAlgorithm (3006,0036) is not "
            f"{' or '.join(sorted(drawn_by))}"
        )
    seen = items(dataset, "RTROIObservationsSequence")
    if any(each.get("RTROIInterpretedType") != "ORGAN" for each in seen):
        yield "a structure's RTROIInterpretedType (3006,00A4) is not ORGAN"


def _lint_approval(dataset: Dataset) -> Iterator[str]:
    """Yield what is wrong with the approval module (PS3.3 C.8.8.16)."""
    status = dataset.get("ApprovalStatus")
    if status not in {APPROVED, "UNAPPROVED"}:
        yield "ApprovalStatus (300E,0002) is neither APPROVED nor UNAPPROVED"
    has = [bool(str(dataset.get(keyword) or "")) for keyword, _ in REVIEWED]
    if status == APPROVED and not all(has):
        lacks = (f"{keyword} ({tag})" for keyword, tag in REVIEWED)
        yield f"ApprovalStatus is APPROVED, which needs {', '.join(lacks)}"
    if status != APPROVED and any(has):
        yield "a ReviewDate, ReviewTime or ReviewerName, though it is not approved"


def _number(item: Dataset, keyword: str) -> str:
    values = values_of(item, keyword)
    return values[0].strip() if len(values) == 1 else ""


def _lint_rois(rois: list[Dataset], ct: SeriesSource) -> Iterator[str]:
    numbers = [_number(roi, "ROINumber") for roi in rois]
    if "" in numbers:
        yield "a structure has no ROINumber (3006,0022)"
    yield from _lint_twice(numbers, "ROINumber (3006,0022)")
    names = [str(roi.get("ROIName") or "").strip() for roi in rois]
    yield from _lint_twice((name.casefold() for name in names), "ROIName, in any case,")
    for name, roi in zip(names, rois, strict=True):
        if not name:
            yield "a structure has no ROIName (3006,0026)"
        if len(name) > LONGEST_NAME:
            yield (
                f"the ROIName {name!r} has {len(name)} characters, and a TPS takes at "
                f"most {LONGEST_NAME}"
            )
        if roi.get("ReferencedFrameOfReferenceUID") != ct.frame_of_reference_uid:
            yield f"the frame of reference of the structure {name!r} is not the CT's"


def _lint_twice(values: Iterable[str], what: str) -> Iterator[str]:
    for value, count in Counter(filter(None, values)).items():
        if count > 1:
            yield f"{what} {value!r} is there {count} times"


def _lint_frame(dataset: Dataset, ct: SeriesSource) -> Iterator[str]:
    """The whole series is referred to, and no other (PS3.3 C.8.8.5.1)."""
    where = "ReferencedFrameOfReferenceSequence (3006,0010)"
    frames = items(dataset, "ReferencedFrameOfReferenceSequence")
    if len(frames) != 1:
        yield f"{where} has {len(frames)} items, not one for the CT"
        return
    if frames[0].get("FrameOfReferenceUID") != ct.frame_of_reference_uid:
        yield f"{where} has another frame of reference than the CT"
    studies = items(frames[0], "RTReferencedStudySequence")
    named = [each.get("ReferencedSOPInstanceUID") for each in studies]
    if named != [ct.study_instance_uid]:
        yield f"{where} does not refer to the CT's study"
    series = [s for each in studies for s in items(each, "RTReferencedSeriesSequence")]
    if [s.get("SeriesInstanceUID") for s in series] != [ct.series_instance_uid]:
        yield f"{where} does not refer to the CT's series"
    images = [image for s in series for image in items(s, "ContourImageSequence")]
    yield from lint_references(images, image_classes(ct), where)
    uids = [str(image.get("ReferencedSOPInstanceUID", "")) for image in images]
    yield from _lint_twice(uids, f"{where}: the image")
    missing = Places(ct).instances.difference(uids)
    if missing:
        yield f"{where} lacks {len(missing)} of the CT's images"


def _lint_partners(
    numbers: list[str], partners: list[Dataset], where: str
) -> Iterator[str]:
    """Every structure has one item in another sequence, and every item a structure."""
    referred = [_number(each, "ReferencedROINumber") for each in partners]
    yield from _lint_twice(referred, f"{where}: ReferencedROINumber")
    for number in sorted(set(referred) - set(numbers)):
        yield f"{where} refers to the structure {number!r}, which is not there"
    for number in sorted(set(numbers) - set(referred)):
        yield f"{where} has no item for the structure {number!r}"


def _lint_drawn(drawn: Dataset, places: Places) -> Iterator[str]:
    """Yield the faults of one structure's contours, each once, with the first place."""
    title = f"structure {_number(drawn, 'ReferencedROINumber')}"
    colour = numbers_of(drawn, "ROIDisplayColor")
    if colour.size != 3 or not np.isin(colour, range(COLOURS)).all():
        yield f"{title} has a ROIDisplayColor (3006,002A) that is no colour"
    contours = items(drawn, "ContourSequence")
    if not contours:
        yield f"{title} has no contour; it must be left out entirely"
    lines = Counter(
        str(each.get_item("ContourData").value)
        for each in contours
        if "ContourData" in each
    )
    if any(count > 1 for count in lines.values()):
        yield f"{title} has the same contour twice, which some readers take for a hole"
    found: dict[str, list[int]] = {}
    for number, contour in enumerate(contours, start=1):
        for fault in _lint_contour(contour, places):
            found.setdefault(fault, []).append(number)
    for fault, where in found.items():
        more = f" (and {len(where) - 1} more)" if len(where) > 1 else ""
        yield f"{title}: contour {where[0]}{more} {fault}"


def _lint_contour(contour: Dataset, places: Places) -> Iterator[str]:
    if values_of(contour, "ContourGeometricType") != ["CLOSED_PLANAR"]:
        yield "is not CLOSED_PLANAR"
    numbers = numbers_of(contour, "ContourData")
    if numbers.size % 3 or not np.isfinite(numbers).all():
        yield "has coordinates that are no points"
        return
    points = numbers.reshape(-1, 3)
    if _number(contour, "NumberOfContourPoints") != str(len(points)):
        yield "has a NumberOfContourPoints (3006,0046) other than its points"
    if len(points) < FEWEST_POINTS:
        yield f"has fewer than {FEWEST_POINTS} points"
    images = items(contour, "ContourImageSequence")
    if len(images) != 1:
        yield f"refers to {len(images)} images, not to one"
        return
    image = places.slice_of(images[0])
    if image is None:
        yield "refers to an image that was not sent, or to no one frame"
        return
    if values_of(images[0], "ReferencedSOPClassUID") != [places.series.sop_class_uid]:
        yield "refers to its image by another SOP class than it has"
    if len(points):
        yield from places.lint_points(points, image)
