"""The gate: each written object is read back and must say what it should.

The readers share nothing with the writers. Whatever differs is an `OutputError` of one
sentence that names the file, the structure, the value and the limit.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.uid import (
    EncapsulatedPDFStorage,
    MRImageStorage,
    SpatialRegistrationStorage,
)
from scipy import ndimage

from hanseg_shared.dicom.case import DicomCase, slice_masks
from hanseg_shared.dicom.contour_masks import (
    ON_SLICE_MM,
    Drawn,
    draw,
    slices_of_contours,
)
from hanseg_shared.dicom.linter import lint
from hanseg_shared.dicom.mask_check import require_same_mask
from hanseg_shared.dicom.meaning_check import (
    require_segments_mean,
    require_structures_mean,
)
from hanseg_shared.dicom.mr_stack import require_images
from hanseg_shared.dicom.organ_masks import OrganMasks, Review
from hanseg_shared.dicom.origin_check import require_origin
from hanseg_shared.dicom.registration_check import require_matrices
from hanseg_shared.dicom.rtstruct_reader import Roi, StructureSet, read_structure_set
from hanseg_shared.dicom.scanline import Part
from hanseg_shared.dicom.segmentation_reader import (
    Segmentation,
    on_slices,
    read_segmentation,
)
from hanseg_shared.dicom.slice_planes import SlicePlanes
from hanseg_shared.dicom.template import Template
from hanseg_shared.dicom.untrusted import open_object, reading, text
from hanseg_shared.errors import InputError, OutputError
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.volume import Volume

PDF_START, PDF_END = b"%PDF-", b"%%EOF"

_STUDY_INSTANCE_UID = "0020000D"


def require_rtstruct(
    path: Path,
    labels: Volume,
    *,
    case: DicomCase,
    template: Template,
    organs: Sequence[str],
    review: Review | None = None,
) -> None:
    """Raise unless a structure set has the contours of a label map.

    Args:
        path: The RTSTRUCT.
        labels: The label map on the volume's grid.
        case: The CT it belongs to.
        template: Says which structures it has, in which order, called what. One of
            several organs is there only if each of them was found.
        organs: Names of the organs that were found, or corrected.
        review: What people have changed of the masks, if it is approved.

    Raises:
        OutputError: It says anything else.
    """
    with _naming(path):
        found = read_structure_set(path)
        require_origin(found.dataset, case)
        _require_references(found, case)
        _require_approval(found.dataset, review)
        masks = OrganMasks(labels, review)
        wanted = _wanted_structures(labels, masks, case, template, organs)
        _require_names([each.name for each in found.rois], list(wanted))
        planes = SlicePlanes.from_series(case.source.ct)
        for roi in found.rois:
            _require_contours(roi, planes, case)
            drawn = draw(roi, planes)
            _require_apart(roi, drawn)
            require_same_mask(
                roi.name,
                drawn.part,
                wanted[roi.name],
                voxel_ml=labels.grid.voxel_ml,
            )
        _require_rules(found.dataset, case)
        with reading("a structure set"):
            require_structures_mean(
                found.dataset,
                template.structures,
                _volumes_ml(labels.grid.voxel_ml, masks, template),
            )


def require_segmentation(
    path: Path, labels: Volume, *, case: DicomCase, organs: Sequence[str]
) -> None:
    """Raise unless a DICOM segmentation has the masks of a label map.

    Args:
        path: The segmentation.
        labels: The label map on the volume's grid.
        case: The CT it belongs to.
        organs: Names of the organs that were found.

    Raises:
        OutputError: It says anything else.
    """
    with _naming(path):
        found = read_segmentation(path)
        require_origin(found.dataset, case)
        wanted = _wanted_organs(labels, case, organs)
        _require_names([each.label for each in found.segments], list(wanted))
        planes = SlicePlanes.from_series(case.source.ct)
        _require_sources(found, planes, case)
        masks = found.masks(on_slices(planes))
        for each in found.segments:
            require_same_mask(
                each.label,
                masks.get(each.number),
                wanted[each.label],
                voxel_ml=labels.grid.voxel_ml,
            )
        with reading("a segmentation"):
            require_segments_mean(found.dataset)
        _require_rules(found.dataset, case)


def require_registration(
    path: Path, mr_from_ct: npt.ArrayLike, *, case: DicomCase
) -> None:
    """Raise unless a registration object maps the MR onto the CT as it should.

    Args:
        path: The spatial registration.
        mr_from_ct: The homogeneous 4 x 4 matrix that maps points of the CT's frame of
            reference to the MR's, in mm LPS.
        case: The CT and MR it belongs to.

    Raises:
        OutputError: It says anything else.
    """
    with _naming(path):
        found = open_object(
            path, sop_class_uids=(SpatialRegistrationStorage,), what="a registration"
        )
        require_origin(found, case)
        require_matrices(found, np.asarray(mr_from_ct, dtype=np.float64), case)
        _require_rules(found, case)


def require_mr_series(folder: Path, volume: Volume, *, case: DicomCase) -> None:
    """Raise unless a folder's images are a volume, slice by slice of the CT.

    Args:
        folder: Holds one MR image a slice, and nothing else.
        volume: The registered MR on the CT's grid.
        case: The CT it was registered to.

    Raises:
        OutputError: They are anything else.
    """
    images = []
    for path in sorted(folder.iterdir()):
        with _naming(path):
            found = open_object(
                path, sop_class_uids=(MRImageStorage,), what="an MR image"
            )
            require_origin(found, case)
            images.append(found)
    with _naming(folder):
        require_images(images, volume, case)
        for each in images:
            _require_rules(each, case)


def require_report(path: Path, *, case: DicomCase) -> None:
    """Raise unless a review page is a whole PDF of the case.

    Raises:
        OutputError: It says anything else.
    """
    with _naming(path):
        found = open_object(
            path, sop_class_uids=(EncapsulatedPDFStorage,), what="an encapsulated PDF"
        )
        require_origin(found, case)
        _require_pdf(found)
        _require_rules(found, case)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what is wrong with it."""
    try:
        yield
    except (InputError, OutputError) as error:
        raise OutputError(f"{path.name}: {error}") from error


def _require_rules(dataset: FileDataset, case: DicomCase) -> None:
    """Raise at the first rule of the linter that an object breaks.

    What says whose the case is comes from the clinic and is repeated as it is, right or
    not: a name that is too long is no reason to withhold the contours.
    """
    own = copy.copy(dataset)
    for tag in case.identity.attributes:
        if tag != _STUDY_INSTANCE_UID:
            own.pop(int(tag, 16), None)
    faults = lint(own, source=case.source)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise OutputError(faults[0] + more)


def _wanted_organs(
    labels: Volume, case: DicomCase, organs: Sequence[str]
) -> dict[str, Part]:
    """Return the masks of organs on the CT's slices, those that have a voxel there."""
    case.source.ct.grid.require_same(labels.grid, what="the label map")
    stack = _stack(labels, case)
    boxes = ndimage.find_objects(stack, max_label=len(ORGANS))
    parts = {}
    for name in organs:
        label = organ(name).label
        if boxes[label - 1] is not None:
            parts[name] = _part(stack, (label,), [boxes[label - 1]])
    return parts


def _wanted_structures(
    labels: Volume,
    masks: OrganMasks,
    case: DicomCase,
    template: Template,
    organs: Sequence[str],
) -> dict[str, Part]:
    """Return the masks of a template's structures that have a voxel on the slices."""
    case.source.ct.grid.require_same(labels.grid, what="the label map")
    parts = {}
    for structure in template.structures:
        united = masks.unite(structure.organs)
        if united is None or not set(structure.organs) <= set(organs):
            continue
        part = _on_slices(united, case)
        if part is not None:
            parts[structure.name] = part
    return parts


def _on_slices(mask: Part, case: DicomCase) -> Part | None:
    """Return a mask of the volume as one of the stack of the CT's slices."""
    z, y, x = mask.start
    depth = len(mask.array)
    rows = [
        (number, each.index - z)
        for number, each in enumerate(case.source.ct.slices)
        if z <= each.index < z + depth
    ]
    shown = mask.array[[index for _, index in rows]]
    if not shown.any():
        return None
    return Part(shown, (rows[0][0], y, x))


def _volumes_ml(
    voxel_ml: float, masks: OrganMasks, template: Template
) -> dict[str, float]:
    """Return the volume of each structure's mask, between the CT's slices too."""
    united = ((each.name, masks.unite(each.organs)) for each in template.structures)
    return {
        name: int(np.count_nonzero(part.array)) * voxel_ml
        for name, part in united
        if part is not None
    }


def _require_approval(dataset: FileDataset, review: Review | None) -> None:
    """Raise unless a structure set says who has approved it, if somebody has."""
    wanted = ("UNAPPROVED", "", "", "")
    if review is not None:
        at = review.at
        wanted = (
            "APPROVED",
            at.strftime("%Y%m%d"),
            at.strftime("%H%M%S"),
            review.reviewer,
        )
    names = ("ApprovalStatus", "ReviewDate", "ReviewTime", "ReviewerName")
    for name, expected in zip(names, wanted, strict=True):
        if text(dataset, name) != expected:
            raise OutputError(f"{name} is not as the review says")


def _stack(labels: Volume, case: DicomCase) -> np.ndarray:
    """Return the labels of the CT's slices, one after another."""
    if [each.index for each in case.source.ct.slices] == list(range(len(labels.array))):
        return np.asarray(labels.array)
    return np.stack(slice_masks(labels.array, case))


def _part(
    stack: np.ndarray, numbers: Sequence[int], boxes: Sequence[tuple[slice, ...]]
) -> Part:
    low = np.min([[each.start for each in box] for box in boxes], axis=0)
    high = np.max([[each.stop for each in box] for box in boxes], axis=0)
    z, y, x = (int(n) for n in low)
    inside = stack[z : high[0], y : high[1], x : high[2]]
    return Part(np.isin(inside, numbers), (z, y, x))


def _require_names(found: Sequence[str], wanted: Sequence[str]) -> None:
    lost = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    if lost:
        raise OutputError(
            f"{lost[0]} is missing ({len(lost)} of {len(wanted)} structures are lost)"
        )
    if extra:
        raise OutputError(f"{extra[0]} is there, but was not found in the CT")
    if list(found) != list(wanted):
        raise OutputError(
            "the structures are not in their order, or one is there twice"
        )


def _require_references(found: StructureSet, case: DicomCase) -> None:
    """Raise unless a structure set refers to the CT, its frame and all its images."""
    ct = case.source.ct
    frames = {*found.frames_of_reference}
    frames |= {each.frame_of_reference_uid for each in found.rois}
    if frames != {ct.frame_of_reference_uid}:
        raise OutputError(
            "a FrameOfReferenceUID (0020,0052) that it refers to is not the CT's"
        )
    wanted = {ct.series_instance_uid: {each.sop_instance_uid for each in ct.slices}}
    if {series: set(uids) for series, uids in found.images.items()} != wanted:
        raise OutputError(
            "ReferencedFrameOfReferenceSequence (3006,0010) does not list all images "
            "of the CT, or lists others"
        )


def _require_contours(roi: Roi, planes: SlicePlanes, case: DicomCase) -> None:
    """Raise unless contours lie on slices, refer to them and do not overlap."""
    if roi.left_out:
        raise OutputError(f"{roi.name} has contours that enclose nothing")
    slices, apart = slices_of_contours(roi, planes)
    if len(apart) and float(apart.max()) > ON_SLICE_MM:
        raise OutputError(
            f"{roi.name} has a contour {apart.max():.3f} mm from the nearest slice of "
            f"the CT, and at most {ON_SLICE_MM} is allowed"
        )
    for index, images in zip(slices, roi.images, strict=True):
        image = case.source.ct.slices[index]
        if images != ((image.sop_instance_uid, image.frame),):
            raise OutputError(
                f"{roi.name} has a contour on slice {index} of the CT that does not "
                "refer to its image"
            )


def _require_apart(roi: Roi, drawn: Drawn) -> None:
    """Raise if contours of one slice overlap, where readers differ."""
    if drawn.overlap:
        raise OutputError(
            f"{roi.name} has contours that overlap in {drawn.overlap} voxels, which "
            "some readers unite and others exclude"
        )


def _require_sources(found: Segmentation, planes: SlicePlanes, case: DicomCase) -> None:
    """Raise unless each frame lies on a slice and refers to its image."""
    slices, apart = planes.nearest(found.positions @ planes.axes[:, 2])
    if float(apart.max()) > ON_SLICE_MM:
        raise OutputError(
            f"a frame lies {apart.max():.3f} mm from the nearest slice of the CT, and "
            f"at most {ON_SLICE_MM} is allowed"
        )
    for index, frame in zip(slices, found.frames, strict=True):
        if frame.images != (case.source.ct.slices[index].sop_instance_uid,):
            raise OutputError(
                f"a frame on slice {index} of the CT does not refer to its image"
            )


def _require_pdf(found: FileDataset) -> None:
    if found.get("MIMETypeOfEncapsulatedDocument") != "application/pdf":
        raise OutputError(
            "MIMETypeOfEncapsulatedDocument (0042,0012) is not application/pdf"
        )
    document = found.get("EncapsulatedDocument", b"")
    length = found.get("EncapsulatedDocumentLength", len(document))
    whole = document[:length]
    if not (whole.startswith(PDF_START) and whole.rstrip().endswith(PDF_END)):
        raise OutputError("EncapsulatedDocument (0042,0011) is no whole PDF")
    if len(document) - length not in (0, 1):
        raise OutputError(
            f"EncapsulatedDocumentLength (0042,0015) is {length}, but the document has "
            f"{len(document)} bytes"
        )
