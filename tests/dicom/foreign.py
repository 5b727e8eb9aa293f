"""Structure sets as somebody else may write them, wrong ones included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RTStructureSetStorage

FRAME = "1.2.3.4.5"
SERIES = "1.2.3.4.6"

Points = Sequence[tuple[float, float, float]]


def contour(points: Points, kind: str = "CLOSED_PLANAR") -> Dataset:
    """Return an item of a Contour Sequence."""
    item = Dataset()
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(points)
    item.ContourData = [f"{each:.3f}" for each in np.ravel(points)]
    return item


def square(
    x: float, y: float, z: float, side: float = 4.0
) -> list[tuple[float, float, float]]:
    """Return a square's corners, its least corner first."""
    corners = [(0, 0), (side, 0), (side, side), (0, side)]
    return [(x + a, y + b, z) for a, b in corners]


def structure_set(rois: dict[str, list[Dataset]]) -> FileDataset:
    """Return a structure set of regions with these contours."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.Modality = "RTSTRUCT"
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        stated, drawn = Dataset(), Dataset()
        stated.ROINumber = drawn.ReferencedROINumber = number
        stated.ROIName = name
        stated.ReferencedFrameOfReferenceUID = FRAME
        drawn.ContourSequence = contours
        dataset.StructureSetROISequence.append(stated)
        dataset.ROIContourSequence.append(drawn)
    _refer(dataset)
    return dataset


def _refer(dataset: Dataset) -> None:
    frame, study, series = Dataset(), Dataset(), Dataset()
    frame.FrameOfReferenceUID = FRAME
    series.SeriesInstanceUID = SERIES
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]


def save(dataset: FileDataset, path: Path) -> Path:
    """Write a dataset, whatever it holds."""
    dataset.save_as(path, enforce_file_format=True)
    return path
