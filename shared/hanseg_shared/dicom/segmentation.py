"""DICOM segmentations written: the organs as binary segments, or as one label map.

BINARY is what every reader takes; LABELMAP (PS3.3 A.51, 2024) has a tenth of the bytes.
Frames lie on the CT's own slices, also where these are unevenly spaced; slices without
an organ have no frame. Standard: PS3.3 C.8.20.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    RLELossless,
    SegmentationStorage,
)

from hanseg_shared.dicom.case import DicomCase, slice_masks
from hanseg_shared.dicom.cielab import cielab_of
from hanseg_shared.dicom.frame_groups import (
    FrameGroups,
    coded,
    reference,
    shared_groups,
)
from hanseg_shared.dicom.organ_masks import Review
from hanseg_shared.dicom.run_lengths import encode_frame
from hanseg_shared.documents import DicomOutput, ModelSummary
from hanseg_shared.errors import OptionError
from hanseg_shared.organs import Code, Organ, Side, organ
from hanseg_shared.volume import Volume

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage, which pydicom does not name yet."""

SERIES_NUMBERS = {DicomOutput.SEG: 9102, DicomOutput.LABELMAP: 9103}

CATEGORY = Code("91723000", "Anatomical Structure")
"""Segmented Property Category (PS3.16 CID 7150); the organs' own codes are its types,
from CID 7192 where that has them."""

SIDES = {
    Side.LEFT: Code("7771000", "Left"),
    Side.RIGHT: Code("24028007", "Right"),
}
"""Laterality, as modifiers of a type (PS3.16 CID 244)."""

PARTS = {
    "Eye_A": Code("255549009", "Anterior"),
    "Eye_P": Code("255551008", "Posterior"),
}
"""What tells the parts of one organ from each other (PS3.16 CID 2)."""

_FRAMES_AT_ONCE = 8
"""Bits of eight frames of any size fill whole bytes."""


@dataclass(frozen=True, slots=True)
class _Makers:
    """What made the masks, and who changed and signed them, if anybody did."""

    model: ModelSummary
    review: Review | None

    @property
    def how(self) -> str:
        return "automatic" if self.review is None else "reviewed"

    @property
    def creator(self) -> str:
        """Content Creator's Name (0070,0084)."""
        return "" if self.review is None else self.review.reviewer


def write_segmentation(
    path: Path,
    labels: Volume,
    *,
    case: DicomCase,
    organs: Sequence[str],
    model: ModelSummary,
    kind: DicomOutput = DicomOutput.SEG,
    review: Review | None = None,
) -> None:
    """Write the masks of organs as a DICOM segmentation.

    Args:
        path: The new file.
        labels: The label map on the volume's grid.
        case: The CT it belongs to.
        organs: Names of those that were found; one without a voxel on the CT's slices
            is left out.
        model: What segmented them.
        kind: `DicomOutput.SEG`, or `DicomOutput.LABELMAP`.
        review: What was signed of them; the label map is already as it left it.

    Raises:
        OptionError: No organ has a voxel, or the kind is neither.
    """
    case.source.ct.grid.require_same(labels.grid, what="the label map")
    slices = slice_masks(labels.array, case)
    on_slices = _slices_of_labels(slices)
    found = [organ(name) for name in organs if organ(name).label in on_slices]
    if not found:
        raise OptionError("no organ has a voxel on the CT's slices: nothing to write")
    made = _Makers(model, review)
    if kind is DicomOutput.SEG:
        _write_binary(path, slices, on_slices, found, case, made)
    elif kind is DicomOutput.LABELMAP:
        _write_label_map(path, slices, on_slices, found, case, made)
    else:
        raise OptionError(f"a segmentation is written as seg or labelmap, not {kind}")


def _slices_of_labels(slices: Sequence[np.ndarray]) -> dict[int, list[int]]:
    """Return on which slices each label is."""
    found: dict[int, list[int]] = {}
    for index, each in enumerate(slices):
        for value in np.flatnonzero(np.bincount(each.ravel(), minlength=1)):
            found.setdefault(int(value), []).append(index)
    return found


def _write_binary(
    path: Path,
    slices: Sequence[np.ndarray],
    on_slices: dict[int, list[int]],
    organs: Sequence[Organ],
    case: DicomCase,
    made: _Makers,
) -> None:
    frames = [
        (number, each, index)
        for number, each in enumerate(organs, start=1)
        for index in on_slices[each.label]
    ]
    dataset = _start(case, DicomOutput.SEG, organs, made)
    dataset.SegmentationType = "BINARY"
    dataset.SegmentSequence = [
        _segment(each, number, made) for number, each in enumerate(organs, start=1)
    ]
    _set_pixels(dataset, bits=1, frames=len(frames))
    groups = FrameGroups(case)
    for number, _, index in frames:
        groups.add(index, (number, index + 1), segment=number)
    groups.put_into(dataset)
    dataset.DimensionIndexSequence = [
        _dimension(case, "ReferencedSegmentNumber", "SegmentIdentificationSequence"),
        _dimension(case, "ImagePositionPatient", "PlanePositionSequence"),
    ]
    with tempfile.TemporaryFile(dir=path.parent) as pixels:
        masks = (slices[index] == each.label for _, each, index in frames)
        _write_bits(masks, pixels)
        pixels.seek(0)
        dataset.PixelData = pixels
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path, enforce_file_format=True)


def _write_bits(masks: Iterable[np.ndarray], file: IO[bytes]) -> None:
    """Write masks as single bits, frame after frame without gaps (PS3.5 8.2)."""
    waiting: list[np.ndarray] = []
    for mask in masks:
        waiting.append(mask.ravel())
        if mask.size % 8 == 0 or len(waiting) == _FRAMES_AT_ONCE:
            _write_packed(waiting, file)
            waiting = []
    if waiting:
        _write_packed(waiting, file)
    if file.tell() % 2:
        file.write(b"\0")


def _write_packed(masks: Sequence[np.ndarray], file: IO[bytes]) -> None:
    file.write(np.packbits(np.concatenate(masks), bitorder="little").tobytes())


def _write_label_map(
    path: Path,
    slices: Sequence[np.ndarray],
    on_slices: dict[int, list[int]],
    organs: Sequence[Organ],
    case: DicomCase,
    made: _Makers,
) -> None:
    kept = np.zeros(256, dtype=np.uint8)
    for each in organs:
        kept[each.label] = each.label
    used = sorted({index for each in organs for index in on_slices[each.label]})
    dataset = _start(case, DicomOutput.LABELMAP, organs, made)
    dataset.SegmentationType = "LABELMAP"
    dataset.SegmentSequence = [_segment(each, each.label, made) for each in organs]
    dataset.add_new("PixelPaddingValue", "US", 0)
    _set_pixels(dataset, bits=8, frames=len(used))
    groups = FrameGroups(case)
    for index in used:
        groups.add(index, (index + 1,))
    groups.put_into(dataset)
    dataset.DimensionIndexSequence = [
        _dimension(case, "ImagePositionPatient", "PlanePositionSequence")
    ]
    dataset.PixelData = encapsulate(
        [encode_frame(kept[slices[index]]) for index in used]
    )
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.save_as(path, enforce_file_format=True)


def _start(
    case: DicomCase, kind: DicomOutput, organs: Sequence[Organ], made: _Makers
) -> FileDataset:
    """Return a segmentation without frames."""
    classes = {
        DicomOutput.SEG: SegmentationStorage,
        DicomOutput.LABELMAP: LABEL_MAP_STORAGE,
    }
    dataset = case.start(
        classes[kind],
        modality="SEG",
        series=kind.value,
        series_number=SERIES_NUMBERS[kind],
        description=f"Organs at risk, {made.how}",
    )
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.InstanceNumber = 1
    dataset.ContentLabel = "ORGANS_AT_RISK"
    dataset.ContentDescription = f"{len(organs)} organs at risk, {made.how}"
    dataset.ContentCreatorName = made.creator
    dataset.DeviceSerialNumber = f"{made.model.name} {made.model.version}"[:64]
    dataset.SegmentsOverlap = "NO"
    dataset.Rows, dataset.Columns = case.source.ct.rows, case.source.ct.columns
    dataset.ReferencedSeriesSequence = [_referenced_series(case)]
    dataset.SharedFunctionalGroupsSequence = [shared_groups(case)]
    dataset.DimensionOrganizationSequence = [_organisation(case)]
    return dataset


def _set_pixels(dataset: Dataset, *, bits: int, frames: int) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.NumberOfFrames = frames
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "00"


def _segment(subject: Organ, number: int, made: _Makers) -> Dataset:
    """Return an item of the Segment Sequence (PS3.3 C.8.20.4)."""
    model = made.model
    kind = coded(subject.code)
    modifiers = [coded(each) for each in _modifiers(subject)]
    if modifiers:
        kind.SegmentedPropertyTypeModifierCodeSequence = modifiers
    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = [
        coded(Code("123110", "Artificial Intelligence"), scheme="DCM")
    ]
    algorithm.AlgorithmName = model.name[:64]
    algorithm.AlgorithmVersion = model.version[:64]
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel = subject.name
    item.SegmentDescription = subject.description
    edited = made.review is not None and subject.name in made.review.edited
    item.SegmentAlgorithmType = "SEMIAUTOMATIC" if edited else "AUTOMATIC"
    item.SegmentAlgorithmName = f"{model.name} {model.version}"[:64]
    item.SegmentationAlgorithmIdentificationSequence = [algorithm]
    item.SegmentedPropertyCategoryCodeSequence = [coded(CATEGORY)]
    item.SegmentedPropertyTypeCodeSequence = [kind]
    item.RecommendedDisplayCIELabValue = list(cielab_of(subject.colour))
    return item


def _modifiers(subject: Organ) -> Iterator[Code]:
    if subject.side in SIDES:
        yield SIDES[subject.side]
        if subject.name[:-1] in PARTS:
            yield PARTS[subject.name[:-1]]


def _referenced_series(case: DicomCase) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = case.source.ct.series_instance_uid
    uids = dict.fromkeys(each.sop_instance_uid for each in case.source.ct.slices)
    series.ReferencedInstanceSequence = [reference(case, uid) for uid in uids]
    return series


def _organisation(case: DicomCase) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = case.uid("segmentation", "dimensions")
    return item


def _dimension(case: DicomCase, pointer: str, group: str) -> Dataset:
    item = _organisation(case)
    item.DimensionIndexPointer = Tag(pointer)
    item.FunctionalGroupPointer = Tag(group)
    item.DimensionDescriptionLabel = pointer
    return item
