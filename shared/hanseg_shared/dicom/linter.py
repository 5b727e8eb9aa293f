"""Rules for written objects that dciodvfy does not check, each fault in a sentence.

`lint` reads an object as it was written and knows nothing of how. It looks for what
makes a treatment-planning system refuse an object, or put it in a wrong place: wrong
frames of reference, references to images that are not there, numbers and names twice,
values longer than their kind allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydicom.dataset import Dataset
from pydicom.uid import (
    EncapsulatedPDFStorage,
    MRImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    SpatialRegistrationStorage,
)

from hanseg_shared.dicom.linting.image_frames import lint_mr_image, lint_segmentation
from hanseg_shared.dicom.linting.registration import lint_registration
from hanseg_shared.dicom.linting.structure_set import lint_structure_set
from hanseg_shared.dicom.linting.values import lint_values
from hanseg_shared.io.dicom.source import DicomSource

Rules = Callable[[Dataset, DicomSource], Iterator[str]]

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage, which pydicom does not name."""

RULES: dict[str, Rules] = {
    RTStructureSetStorage: lint_structure_set,
    SegmentationStorage: lint_segmentation,
    LABEL_MAP_STORAGE: lint_segmentation,
    SpatialRegistrationStorage: lint_registration,
    MRImageStorage: lint_mr_image,
}
"""The rules of each kind of object, by its SOP Class UID, besides those for all."""


def lint(dataset: Dataset, *, source: DicomSource) -> tuple[str, ...]:
    """Return what is wrong with an object, a sentence each; empty if nothing is.

    Args:
        dataset: The object, best as it was read back from its file.
        source: The images that it was made for.
    """
    rules = RULES.get(str(dataset.get("SOPClassUID", "")))
    faults = [
        *_lint_file_meta(dataset),
        *_lint_identifiers(dataset, source),
        *lint_values(dataset),
        *(rules(dataset, source) if rules else ()),
    ]
    return tuple(dict.fromkeys(faults))


def _lint_file_meta(dataset: Dataset) -> Iterator[str]:
    """The file meta information repeats what the object is (PS3.10 7.1)."""
    meta = getattr(dataset, "file_meta", None)
    if meta is None:
        yield "the file has no file meta information"
        return
    for in_meta, keyword in (
        ("MediaStorageSOPClassUID", "SOPClassUID"),
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
    ):
        if not dataset.get(keyword) or meta.get(in_meta) != dataset.get(keyword):
            yield (
                f"{in_meta} is {meta.get(in_meta)!s}, and {keyword} is "
                f"{dataset.get(keyword)!s}: they must be the same"
            )


def _lint_identifiers(dataset: Dataset, source: DicomSource) -> Iterator[str]:
    """An object is new, in a series of its own, in the CT's study and frame."""
    sources = [source.ct] if source.mr is None else [source.ct, source.mr]
    if dataset.get("StudyInstanceUID") != source.ct.study_instance_uid:
        yield "StudyInstanceUID (0020,000D) is not that of the CT"
    frame = dataset.get("FrameOfReferenceUID")
    if frame is None and dataset.get("SOPClassUID") != EncapsulatedPDFStorage:
        yield "FrameOfReferenceUID (0020,0052) is missing"
    if frame is not None and frame != source.ct.frame_of_reference_uid:
        yield "FrameOfReferenceUID (0020,0052) is not that of the CT"
    series = dataset.get("SeriesInstanceUID")
    if not series or series in {each.series_instance_uid for each in sources}:
        yield "SeriesInstanceUID (0020,000E) is not a new one"
    instances = {image.sop_instance_uid for each in sources for image in each.slices}
    if dataset.get("SOPInstanceUID") in instances:
        yield "SOPInstanceUID (0008,0018) is that of an image"
    own = [dataset.get("StudyInstanceUID"), series, dataset.get("SOPInstanceUID")]
    if len(set(own)) < len(own):
        yield "study, series and instance do not have different UIDs"
