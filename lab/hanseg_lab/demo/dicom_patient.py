"""Patients of the demonstration as DICOM series, as a scanner would send them.

One file a slice, explicit VR little endian, uncompressed. Positions are in mm LPS; a CT
holds Hounsfield units by a rescale of slope 1 and intercept -1024.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

from hanseg_shared.volume import Volume

AIR_HU = -1024
"""What a stored value of zero means in a CT, and the least that can be stored."""

MANUFACTURER = "Demonstration"

LARGEST_STORED = 4095
"""Stored values have 12 bits, as most scanners' have."""


@dataclass(frozen=True, slots=True)
class DicomPatient:
    """Whom a study is of.

    Every UID is derived from it: equal patients, sent twice, are the same instances.

    Attributes:
        name: In DICOM's form, ``Family^Given``.
        patient_id: The hospital's number.
        study: Names the study within the patient.
    """

    name: str
    patient_id: str
    study: str = "planning"

    def uid(self, *purpose: str) -> str:
        """Return a UID (PS3.5 B.2) that is the same every time."""
        parts = "\n".join((self.name, self.patient_id, self.study, *purpose))
        digest = hashlib.sha256(parts.encode()).digest()
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def write_ct(ct: Volume, folder: Path, patient: DicomPatient) -> list[Path]:
    """Write a CT in HU as a series of the patient's study; returns its files."""
    stored = np.clip(np.rint(ct.array) - AIR_HU, 0, LARGEST_STORED).astype("<u2")
    return _write_series(ct.with_array(stored), folder, patient, "CT", "Head and neck")


def write_mr(
    mr: Volume, folder: Path, patient: DicomPatient, *, description: str = "T1 tra"
) -> list[Path]:
    """Write an MR as a series of the patient's study; returns its files.

    Its frame of reference is its own: nothing says where it lies in the CT's.
    """
    values = np.asarray(mr.array, dtype=np.float64)
    values = values - min(values.min(), 0.0)
    scale = min(1.0, LARGEST_STORED / max(values.max(), 1.0))
    stored = np.rint(values * scale).astype("<u2")
    return _write_series(mr.with_array(stored), folder, patient, "MR", description)


def _write_series(
    stored: Volume,
    folder: Path,
    patient: DicomPatient,
    modality: str,
    description: str,
) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, pixels in enumerate(stored.array):
        dataset = _start(patient, modality, description, index)
        _add_plane(dataset, stored, index)
        _add_pixels(dataset, pixels)
        if modality == "CT":
            _add_ct(dataset)
        else:
            _add_mr(dataset)
        path = folder / f"{modality}{index + 1:04d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _start(
    patient: DicomPatient, modality: str, description: str, index: int
) -> FileDataset:
    """Return the patient, study, series and equipment of a slice."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    kind: UID = CTImageStorage if modality == "CT" else MRImageStorage
    dataset.SOPClassUID = kind
    dataset.SOPInstanceUID = patient.uid(modality, description, str(index))
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = patient.uid()
    dataset.StudyID = patient.study
    dataset.StudyDate = dataset.SeriesDate = "20260102"
    dataset.StudyTime = dataset.SeriesTime = "101500"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.Modality = modality
    dataset.SeriesInstanceUID = patient.uid(modality, description)
    dataset.SeriesNumber = 1 if modality == "CT" else 2
    dataset.SeriesDescription = description
    dataset.FrameOfReferenceUID = patient.uid(modality, "frame")
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = MANUFACTURER
    dataset.BodyPartExamined = "HEAD"
    return dataset


def _add_plane(dataset: FileDataset, stored: Volume, index: int) -> None:
    """Say where the slice lies, in mm LPS (PS3.3 C.7.6.2)."""
    grid = stored.grid
    direction = np.array(grid.direction)
    dataset.PatientPosition = "HFS"
    dataset.InstanceNumber = index + 1
    dataset.ImageOrientationPatient = _numbers(direction[:, :2].T)
    dataset.ImagePositionPatient = _numbers(grid.index_to_world((0, 0, index)))
    dataset.PixelSpacing = _numbers(np.array([grid.spacing[1], grid.spacing[0]]))
    dataset.SliceThickness = f"{grid.spacing[2]:.6g}"


def _add_pixels(dataset: FileDataset, pixels: npt.NDArray[np.uint16]) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()


def _add_ct(dataset: FileDataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.RescaleIntercept = str(AIR_HU)
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "HU"
    dataset.KVP = "120"
    dataset.AcquisitionNumber = 1


def _add_mr(dataset: FileDataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    dataset.ScanningSequence = "SE"
    dataset.SequenceVariant = "NONE"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime = "600"
    dataset.EchoTime = "15"
    dataset.EchoTrainLength = 1


def _numbers(values: npt.NDArray[np.float64]) -> list[str]:
    """Return decimal strings of at most 16 characters (PS3.5 6.2)."""
    return [f"{float(value):.9g}"[:16] for value in np.ravel(values)]
