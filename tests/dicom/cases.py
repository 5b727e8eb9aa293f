"""DICOM cases made of a grid, for the tests of what is written; no patient is real."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.grid import IDENTITY, Grid, Matrix
from hanseg_shared.io.dicom.source import (
    DicomIdentity,
    DicomSource,
    SeriesSource,
    SliceSource,
)
from hanseg_shared.volume import Volume

FRAME_UID = "1.2.826.0.1.3680043.8.498.1"
STUDY_UID = "1.2.826.0.1.3680043.8.498.2"
CREATED_AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

DIRECTIONS: dict[str, Matrix] = {
    "HFS": IDENTITY,
    "HFP": ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    "FFS": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    "FFP": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    "HFDL": ((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
}
"""The axes of a CT's volume by Patient Position; see PS3.3 C.7.3.1.1.2."""


def series_source(
    grid: Grid,
    *,
    modality: str = "CT",
    patient_position: str = "HFS",
    multi_frame: bool = False,
    missing: tuple[int, ...] = (),
    frame_of_reference_uid: str = FRAME_UID,
) -> SeriesSource:
    """Return the record of a series whose slices are those of a grid.

    Args:
        grid: The volume's.
        modality: CT or MR.
        patient_position: What its headers say.
        multi_frame: Whether it is one enhanced instance with a frame a slice.
        missing: Slices of the grid that the series lacks.
        frame_of_reference_uid: Its frame of reference.
    """
    root = f"1.2.826.0.1.3680043.8.498.{3 if modality == 'CT' else 4}"
    slices = []
    for index in range(grid.size[2]):
        if index not in missing:
            x, y, z = (float(v) for v in grid.index_to_world((0, 0, index)))
            slices.append(
                SliceSource(
                    sop_instance_uid=f"{root}.1.{1 if multi_frame else index + 1}",
                    frame=index + 1 if multi_frame else None,
                    position=(x, y, z),
                    index=index,
                )
            )
    classes = {"MR": MRImageStorage, "CT": CTImageStorage}
    return SeriesSource(
        sop_class_uid=EnhancedCTImageStorage if multi_frame else classes[modality],
        modality="MR" if modality == "MR" else "CT",
        series_instance_uid=root,
        study_instance_uid=STUDY_UID,
        frame_of_reference_uid=frame_of_reference_uid,
        patient_position=patient_position,
        rows=grid.size[1],
        columns=grid.size[0],
        size=grid.size,
        spacing=grid.spacing,
        origin=grid.origin,
        direction=grid.direction,
        slices=tuple(slices),
        even=not missing,
    )


def identity(
    name: str = "Doe^Jane", character_set: str = "ISO_IR 100"
) -> DicomIdentity:
    """Return the identity of a patient; a backslash parts several character sets."""
    character_sets = character_set.split("\\")
    attributes = Dataset()
    attributes.SpecificCharacterSet = character_sets
    attributes.PatientName = name
    attributes.PatientID = "0815"
    attributes.PatientBirthDate = "19700102"
    attributes.PatientSex = "F"
    attributes.StudyDate = "20260301"
    attributes.StudyTime = "101112"
    attributes.StudyID = "7"
    attributes.StudyDescription = "Planning"
    document = attributes.to_json_dict()
    document.pop("00080005")
    return DicomIdentity(character_set=tuple(character_sets), attributes=document)


def dicom_case(
    ct: SeriesSource | Grid,
    *,
    mr: SeriesSource | None = None,
    whose: DicomIdentity | None = None,
    seed: str = "seed",
) -> DicomCase:
    """Return a case with that CT."""
    series = series_source(ct) if isinstance(ct, Grid) else ct
    return DicomCase(
        DicomSource(ct=series, mr=mr), whose or identity(), CREATED_AT, seed
    )


def write_series(folder: Path, case: DicomCase, image: Volume | None = None) -> Path:
    """Write the CT's single-frame instances, the last slice first; return the folder.

    Args:
        folder: Made if it is not there.
        case: Says which slices there are.
        image: Its HU; air if None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = case.source.ct
    for number, each in enumerate(reversed(series.slices), start=1):
        hu = np.full((series.rows, series.columns), -1000)
        if image is not None:
            hu = image.array[each.index]
        _ct_image(case, each, number, hu).save_as(
            folder / f"{number:04d}.dcm", enforce_file_format=True
        )
    return folder


def _ct_image(
    case: DicomCase, each: SliceSource, number: int, hu: np.ndarray
) -> FileDataset:
    series = case.source.ct
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(series.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(each.sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    image.update(Dataset.from_json(case.identity.attributes))
    image.SpecificCharacterSet = list(case.identity.character_set)
    image.SOPClassUID = series.sop_class_uid
    image.SOPInstanceUID = each.sop_instance_uid
    image.Modality = series.modality
    image.StudyInstanceUID = series.study_instance_uid
    image.SeriesInstanceUID = series.series_instance_uid
    image.FrameOfReferenceUID = series.frame_of_reference_uid
    image.PatientPosition = series.patient_position
    image.InstanceNumber = number
    image.SeriesNumber = 1
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.ImagePositionPatient = [f"{v:.10g}" for v in each.position]
    axes = np.array(series.direction)
    image.ImageOrientationPatient = [f"{v:.10g}" for v in (*axes[:, 0], *axes[:, 1])]
    image.PixelSpacing = [f"{series.spacing[1]:.10g}", f"{series.spacing[0]:.10g}"]
    image.SliceThickness = f"{series.spacing[2]:.10g}"
    image.Rows, image.Columns = hu.shape
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelRepresentation = 1
    image.RescaleIntercept, image.RescaleSlope = 0, 1
    image.PixelData = hu.astype("<i2").tobytes()
    return image
