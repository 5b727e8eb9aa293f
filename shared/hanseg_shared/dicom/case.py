"""What every object written for a case has in common: patient, study, frame, UIDs."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from hanseg_shared.io.dicom.source import DicomIdentity, DicomSource

IMPLEMENTATION_UID = "2.25.302042087301520187395012837190453721904"
"""Implementation Class UID (0002,0012) of this product."""

MANUFACTURER = "hanseg"
"""Manufacturer (0008,0070) of everything that is written."""

MODEL_NAME = "head-and-neck contouring service"
"""Manufacturer's Model Name (0008,1090)."""

PATIENT = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""Type 1 and 2 attributes of the patient and study modules: always present, empty
where the source has none (PS3.3 C.7.1.1, C.7.2.1)."""


@dataclass(frozen=True, slots=True)
class DicomCase:
    """A case that came as DICOM, for which results are written as DICOM.

    Attributes:
        source: Where its volumes came from.
        identity: Whose they are.
        created_at: When the results are said to be made, in UTC.
        seed: What the results depend on besides the source, such as the hash of the
            label map and the model: equal seeds and times give equal UIDs.
    """

    source: DicomSource
    identity: DicomIdentity
    created_at: datetime
    seed: str

    def uid(self, *purpose: str) -> str:
        """Return the UID of a thing that is made for this case, the same every time.

        It is a UUID under 2.25 (PS3.5 B.2), derived from the source's UIDs, the seed,
        the time and what it is for.
        """
        slices = [each.sop_instance_uid for each in self.source.ct.slices]
        parts = [*slices, self.seed, self.created_at.isoformat(), *purpose]
        digest = hashlib.sha256("\n".join(parts).encode()).digest()
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"

    def start(
        self,
        sop_class_uid: str,
        *,
        modality: str,
        series: str,
        series_number: int,
        description: str,
        instance: str = "1",
    ) -> FileDataset:
        """Return an object with the modules that all have, ready for its own.

        Args:
            sop_class_uid: What it is.
            modality: Its Modality (0008,0060).
            series: Names its series within the case; equal names, equal series.
            series_number: Its Series Number (0020,0011).
            description: Its Series Description (0008,103E), at most 64 characters.
            instance: Names it within its series.
        """
        uid = self.uid(series, instance)
        dataset = FileDataset(
            "",
            Dataset(),
            file_meta=_file_meta(sop_class_uid, uid),
            preamble=b"\0" * 128,
        )
        dataset.update(self._patient_and_study())
        dataset.SOPClassUID = sop_class_uid
        dataset.SOPInstanceUID = uid
        dataset.Modality = modality
        dataset.SeriesInstanceUID = self.uid(series)
        dataset.SeriesNumber = series_number
        dataset.SeriesDescription = description
        dataset.FrameOfReferenceUID = self.source.ct.frame_of_reference_uid
        dataset.PositionReferenceIndicator = ""
        for what in ("InstanceCreation", "Series", "Content"):
            setattr(dataset, f"{what}Date", self.created_at.strftime("%Y%m%d"))
            setattr(dataset, f"{what}Time", self.created_at.strftime("%H%M%S"))
        dataset.Manufacturer = MANUFACTURER
        dataset.ManufacturerModelName = MODEL_NAME
        dataset.SoftwareVersions = version("hanseg-shared")
        dataset.OperatorsName = ""
        return dataset

    def _patient_and_study(self) -> Dataset:
        dataset = Dataset.from_json(self.identity.attributes)
        if self.identity.character_set:
            dataset.SpecificCharacterSet = list(self.identity.character_set)
        for keyword in PATIENT:
            if keyword not in dataset:
                setattr(dataset, keyword, "")
        dataset.StudyInstanceUID = self.source.ct.study_instance_uid
        return dataset


def _file_meta(sop_class_uid: str, sop_instance_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    return meta


def slice_masks(labels: np.ndarray, case: DicomCase) -> list[np.ndarray]:
    """Return the labels of each slice of the CT, in the order of its source.

    Args:
        labels: The label map on the volume's grid, z y x.
        case: Says which slice of the volume shows which of the source.

    Returns:
        Views of shape (rows, columns).
    """
    return [labels[each.index] for each in case.source.ct.slices]
