"""RT structure sets: masks written as contours (PS3.3 A.19).

Holes are keyholes, coordinates have three decimals, and a structure without contours
is left out entirely: what treatment-planning systems are known to import. The reasons
are in `docs/reference/dicom-objects.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.contour_items import RoiContours, set_roi_contours
from hanseg_shared.dicom.contours import Contour, contours_of
from hanseg_shared.dicom.organ_masks import OrganMasks, Review
from hanseg_shared.dicom.structure_set_text import describe, generation, reason_for
from hanseg_shared.dicom.template import Structure, Template
from hanseg_shared.documents import ModelSummary, OrganResult
from hanseg_shared.errors import OutputError
from hanseg_shared.io.dicom.source import SeriesSource
from hanseg_shared.organs import Side, organ
from hanseg_shared.volume import Volume

SERIES_NUMBER = 9001
"""Series Number (0020,0011): far from those that scanners give."""

DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
"""Referenced SOP Class UID of a study (PS3.3 C.8.8.5): retired, but required here."""

REJECTED = "rejected by the reviewer"
"""Why a structure is left out of what is handed on."""

SIDES = {
    frozenset({Side.LEFT}): ("7771000", "Left"),
    frozenset({Side.RIGHT}): ("24028007", "Right"),
    frozenset({Side.LEFT, Side.RIGHT}): ("51440002", "Bilateral"),
}
"""SNOMED CT codes of sides (PS3.16 CID 244)."""


@dataclass(frozen=True, slots=True)
class WrittenStructure:
    """One structure of a written structure set.

    Attributes:
        number: Its ROI Number: its place in the template, from 1 on.
        name: Its ROI Name.
        organs: The organs it unites.
        volume_ml: The mask's volume.
        contours: How many there are.
        points: How many they have in all.
    """

    number: int
    name: str
    organs: tuple[str, ...]
    volume_ml: float
    contours: int
    points: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A structure of the template that the structure set does not have, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class WrittenStructures:
    """What a structure set has, in the template's order, and what it has not."""

    sop_instance_uid: str
    structures: tuple[WrittenStructure, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """A structure with its contours, at least one."""

    number: int
    structure: Structure
    volume_ml: float
    contours: list[Contour]


def write_rtstruct(
    path: Path,
    labels: Volume,
    *,
    case: DicomCase,
    template: Template,
    organs: tuple[OrganResult, ...],
    model: ModelSummary | None,
    review: Review | None = None,
) -> WrittenStructures:
    """Write the structures of a template as an RT structure set.

    A structure of several organs is written only if each of them has a mask: half an
    eye must not be called an eye.

    Args:
        path: The file to write.
        labels: Labels 0 to 30 on the grid of the case's CT.
        case: Whose it is.
        template: A usable one; see `require_usable`.
        organs: What became of each organ: why it has no mask, and its flags.
        model: What made the masks, if a model did.
        review: What people have changed of them; then the structure set is approved.

    Raises:
        GridMismatchError: The labels are not on the CT's grid.
        OutputError: No structure has a contour; a structure set cannot be empty.
    """
    case.source.ct.grid.require_same(labels.grid, what="the label map")
    masks = OrganMasks(labels, review)
    voxel_ml = labels.grid.voxel_ml
    drawn, left_out = _draw(masks, voxel_ml, case.source.ct, template, organs)
    if review is not None:
        left_out = [_say_rejected(each, template, review) for each in left_out]
    if not drawn:
        raise OutputError(
            f"no structure of the template {template.name!r} has a contour in this CT, "
            "and a structure set cannot be empty; choose other outputs or a template "
            "with organs that the CT shows"
        )
    dataset = _start(case, template, review)
    dataset.StructureSetDescription = describe(
        template=template,
        organs=organs,
        left_out=[(each.name, each.reason) for each in left_out],
        model=model,
        even=case.source.ct.even,
        review=review,
    )
    dataset.StructureSetROISequence = [
        _roi(each, case, model, review) for each in drawn
    ]
    dataset.RTROIObservationsSequence = [_observation(each) for each in drawn]
    set_roi_contours(dataset, map(_roi_contours, drawn), case.source.ct)
    dataset.save_as(path, enforce_file_format=True)
    return WrittenStructures(
        str(dataset.SOPInstanceUID),
        tuple(_written(each) for each in drawn),
        tuple(left_out),
    )


def _draw(
    masks: OrganMasks,
    voxel_ml: float,
    series: SeriesSource,
    template: Template,
    organs: tuple[OrganResult, ...],
) -> tuple[list[_Drawn], list[LeftOut]]:
    drawn, left_out = [], []
    for number, structure in enumerate(template.structures, start=1):
        united = masks.unite(structure.organs)
        if united is None:
            missing = [name for name in structure.organs if not masks.has(name)]
            reason = reason_for(missing, structure, organs)
            left_out.append(LeftOut(structure.name, reason))
            continue
        z, y, x = united.box
        images = [each for each in series.slices if z.start <= each.index < z.stop]
        shown = united.array[[each.index - z.start for each in images]]
        contours = contours_of(shown, images, series, (x.start, y.start))
        if contours:
            volume_ml = int(np.count_nonzero(united.array)) * voxel_ml
            drawn.append(_Drawn(number, structure, volume_ml, contours))
        else:
            left_out.append(LeftOut(structure.name, "between the slices of the CT"))
    return drawn, left_out


def _say_rejected(left_out: LeftOut, template: Template, review: Review) -> LeftOut:
    """Return a structure that is left out, with that as the reason if it is."""
    structure = next(s for s in template.structures if s.name == left_out.name)
    rejected = review.rejected.intersection(structure.organs)
    return LeftOut(left_out.name, REJECTED) if rejected else left_out


def _start(case: DicomCase, template: Template, review: Review | None) -> FileDataset:
    """Return the object without its structures (PS3.3 C.8.8.5, C.8.8.1)."""
    dataset = case.start(
        RTStructureSetStorage,
        modality="RTSTRUCT",
        series="rtstruct",
        series_number=SERIES_NUMBER,
        description=f"{template.label}, {'approved' if review else 'not approved'}",
    )
    # a contour of some 2,500 points has more than the 64 kB that a DS can have with an
    # explicit VR (PS3.5 7.1.2); it would become UN, which no TPS reads
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    del dataset.ContentDate, dataset.ContentTime  # a structure set has its own
    dataset.InstanceNumber = 1
    dataset.StructureSetLabel = template.label
    dataset.StructureSetName = f"{template.name}@{template.version}"[:64]
    dataset.StructureSetDate = case.created_at.strftime("%Y%m%d")
    dataset.StructureSetTime = case.created_at.strftime("%H%M%S")
    _set_approval(dataset, review)
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(case)]
    return dataset


def _set_approval(dataset: Dataset, review: Review | None) -> None:
    """Say whether somebody answers for the contours (PS3.3 C.8.8.16)."""
    if review is None:
        dataset.ApprovalStatus = "UNAPPROVED"
        return
    dataset.ApprovalStatus = "APPROVED"
    dataset.ReviewDate = review.at.strftime("%Y%m%d")
    dataset.ReviewTime = review.at.strftime("%H%M%S")
    dataset.ReviewerName = review.reviewer


def _frame_of_reference(case: DicomCase) -> Dataset:
    """Return the reference to the whole CT, every instance once."""
    ct = case.source.ct
    series = Dataset()
    series.SeriesInstanceUID = ct.series_instance_uid
    frames: dict[str, list[int]] = {}
    for image in ct.slices:
        numbers = frames.setdefault(image.sop_instance_uid, [])
        if image.frame is not None:
            numbers.append(image.frame)
    series.ContourImageSequence = [
        _image_reference(ct.sop_class_uid, uid, sorted(numbers))
        for uid, numbers in frames.items()
    ]
    study = Dataset()
    study.ReferencedSOPClassUID = DETACHED_STUDY
    study.ReferencedSOPInstanceUID = ct.study_instance_uid
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = ct.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _image_reference(
    sop_class_uid: str, sop_instance_uid: str, frames: list[int]
) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    if frames:
        reference.ReferencedFrameNumber = frames
    return reference


def _roi(
    drawn: _Drawn,
    case: DicomCase,
    model: ModelSummary | None,
    review: Review | None,
) -> Dataset:
    edited = review is not None and not review.edited.keys().isdisjoint(
        drawn.structure.organs
    )
    item = Dataset()
    item.ROINumber = drawn.number
    item.ReferencedFrameOfReferenceUID = case.source.ct.frame_of_reference_uid
    item.ROIName = drawn.structure.name
    item.ROIVolume = f"{drawn.volume_ml:.3f}"
    item.ROIGenerationAlgorithm = "SEMIAUTOMATIC" if edited else "AUTOMATIC"
    item.ROIGenerationDescription = generation(model)
    return item


def _observation(drawn: _Drawn) -> Dataset:
    """Return what the structure is, coded where its organs have one code.

    RT ROI Identification Code Sequence: an anatomical structure's codes are those of
    PS3.16 CID 9514, which may be extended (PS3.3 C.8.8.8.3).
    """
    item = Dataset()
    item.ObservationNumber = drawn.number
    item.ReferencedROINumber = drawn.number
    item.ROIObservationLabel = drawn.structure.name
    members = [organ(name) for name in drawn.structure.organs]
    if len({member.code for member in members}) == 1:
        category = _code("91723000", "Anatomical Structure")
        item.SegmentedPropertyCategoryCodeSequence = [category]
        what = _code(members[0].code.value, members[0].code.meaning)
        side = SIDES.get(frozenset(member.side for member in members))
        if side is not None:
            what.SegmentedPropertyTypeModifierCodeSequence = [_code(*side)]
        item.RTROIIdentificationCodeSequence = [what]
    item.RTROIInterpretedType = "ORGAN"
    item.ROIInterpreter = ""
    return item


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = "SCT"
    code.CodeMeaning = meaning
    return code


def _roi_contours(drawn: _Drawn) -> RoiContours:
    first = organ(drawn.structure.organs[0])
    colour = drawn.structure.colour or first.colour
    return RoiContours(drawn.number, colour, drawn.contours)


def _written(drawn: _Drawn) -> WrittenStructure:
    return WrittenStructure(
        number=drawn.number,
        name=drawn.structure.name,
        organs=drawn.structure.organs,
        volume_ml=drawn.volume_ml,
        contours=len(drawn.contours),
        points=sum(len(each.points) for each in drawn.contours),
    )
