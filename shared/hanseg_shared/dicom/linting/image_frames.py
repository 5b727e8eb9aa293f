"""Rules for images in the CT's frame: segmentations, and the registered MR.

PS3.3 C.8.20 (segmentation), C.7.6.16 (functional groups), C.7.6.2 (image plane).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from hanseg_shared.dicom.linting.places import (
    TOLERANCE_MM,
    Places,
    image_classes,
    lint_references,
)
from hanseg_shared.dicom.linting.values import items, numbers_of
from hanseg_shared.io.dicom.source import DicomSource, SeriesSource


def lint_mr_image(dataset: Dataset, source: DicomSource) -> Iterator[str]:
    """Yield what is wrong with an image of the registered MR."""
    yield from _lint_pixels(dataset, source.ct)
    yield from _lint_plane(dataset, dataset, source.ct, "the image")
    if not Places(source.ct).has_slice_at(numbers_of(dataset, "ImagePositionPatient")):
        yield "the image's ImagePositionPatient (0020,0032) is that of no slice"
    images = items(dataset, "SourceImageSequence")
    mr = () if source.mr is None else (source.mr,)
    classes = image_classes(source.ct, *mr)
    yield from lint_references(images, classes, "SourceImageSequence (0008,2112)")


def lint_segmentation(dataset: Dataset, source: DicomSource) -> Iterator[str]:
    """Yield what is wrong with a segmentation of the CT."""
    yield from _lint_segments(dataset)
    yield from _lint_pixels(dataset, source.ct)
    yield from _lint_referenced_series(dataset, source.ct)
    for shared in items(dataset, "SharedFunctionalGroupsSequence"):
        measures = items(shared, "PixelMeasuresSequence")
        orientation = items(shared, "PlaneOrientationSequence")
        if measures and orientation:
            where = "SharedFunctionalGroupsSequence (5200,9229)"
            yield from _lint_plane(measures[0], orientation[0], source.ct, where)
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    if dataset.get("NumberOfFrames") != len(frames):
        yield (
            f"NumberOfFrames (0028,0008) is {dataset.get('NumberOfFrames')}, and "
            f"{len(frames)} frames are described"
        )
    yield from _lint_frames(dataset, frames, source.ct)


def _lint_segments(dataset: Dataset) -> Iterator[str]:
    segments = items(dataset, "SegmentSequence")
    if not segments:
        yield "SegmentSequence (0062,0002) is missing or empty"
    numbers = [each.get("SegmentNumber") for each in segments]
    if len(set(numbers)) < len(numbers):
        yield "a SegmentNumber (0062,0004) is there more than once"
    binary = dataset.get("SOPClassUID") == SegmentationStorage
    if binary and sorted(map(int, numbers)) != list(range(1, len(numbers) + 1)):
        yield "SegmentNumber (0062,0004) does not count from 1 on without gaps"
    labels = [str(each.get("SegmentLabel") or "").casefold() for each in segments]
    if "" in labels:
        yield "a segment has no SegmentLabel (0062,0005)"
    if len(set(labels)) < len(labels):
        yield "a SegmentLabel (0062,0005) is there more than once, in any case"


def _lint_pixels(dataset: Dataset, ct: SeriesSource) -> Iterator[str]:
    size = dataset.get("Rows"), dataset.get("Columns")
    if size != (ct.rows, ct.columns):
        yield f"Rows and Columns are {size}, not the CT's {(ct.rows, ct.columns)}"


def _lint_plane(
    spacing: Dataset, orientation: Dataset, ct: SeriesSource, where: str
) -> Iterator[str]:
    """Rows, columns and their distances are the CT's."""
    axes = np.array(ct.direction)
    wanted = np.concatenate((axes[:, 0], axes[:, 1]))
    found = numbers_of(orientation, "ImageOrientationPatient")
    farthest_mm = max(n * s for n, s in zip(ct.size[:2], ct.spacing[:2], strict=True))
    if found.shape != (6,) or np.abs(found - wanted).max() * farthest_mm > TOLERANCE_MM:
        yield f"{where}: ImageOrientationPatient (0020,0037) is not the CT's"
    rows_columns = numbers_of(spacing, "PixelSpacing")
    wanted = np.array((ct.spacing[1], ct.spacing[0]))
    pixels = max(ct.size[:2])
    if (
        rows_columns.shape != (2,)
        or np.abs(rows_columns - wanted).max() * pixels > TOLERANCE_MM
    ):
        yield f"{where}: PixelSpacing (0028,0030) is not the CT's"


def _lint_referenced_series(dataset: Dataset, ct: SeriesSource) -> Iterator[str]:
    where = "ReferencedSeriesSequence (0008,1115)"
    series = items(dataset, "ReferencedSeriesSequence")
    if [each.get("SeriesInstanceUID") for each in series] != [ct.series_instance_uid]:
        yield f"{where} does not name the CT's series, and it alone"
    images = [i for each in series for i in items(each, "ReferencedInstanceSequence")]
    if not images:
        yield f"{where} names no image"
    yield from lint_references(images, image_classes(ct), where)


def _lint_frames(
    dataset: Dataset, frames: list[Dataset], ct: SeriesSource
) -> Iterator[str]:
    """Every frame lies on a slice, and is of a segment that is there."""
    places, classes = Places(ct), image_classes(ct)
    where = "PerFrameFunctionalGroupsSequence (5200,9230)"
    known = {s.get("SegmentNumber") for s in items(dataset, "SegmentSequence")}
    for number, frame in enumerate(frames, start=1):
        for plane in items(frame, "PlanePositionSequence"):
            position = numbers_of(plane, "ImagePositionPatient")
            if not places.has_slice_at(position):
                yield f"{where}: frame {number} lies on no slice of the CT"
        for segment in items(frame, "SegmentIdentificationSequence"):
            if segment.get("ReferencedSegmentNumber") not in known:
                yield f"{where}: frame {number} is of a segment that is not there"
        images = [
            image
            for derivation in items(frame, "DerivationImageSequence")
            for image in items(derivation, "SourceImageSequence")
        ]
        yield from lint_references(images, classes, f"{where}: frame {number}")
