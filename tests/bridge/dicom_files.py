"""DICOM files in memory, with just the tags that the bridge and Orthanc look at."""

from __future__ import annotations

import hashlib
from io import BytesIO

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "REG": "1.2.840.10008.5.1.4.1.1.66.1",
    "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
}


def uid_of(*parts: object) -> str:
    """Return a UID that is the same every time."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return f"2.25.{int(digest[:24], 16)}"


def dicom_file(
    modality: str,
    series: str,
    *,
    number: int = 1,
    study: str = "study",
    description: str = "",
    manufacturer: str = "Scanner",
    frames: tuple[str, ...] = (),
    date: str = "20260101",
    sop_uid: str | None = None,
    images: tuple[str, ...] = (),
) -> bytes:
    """Return an instance without pixels.

    Args:
        modality: Its Modality.
        series: Names its series.
        number: Its number in the series.
        study: Names its study.
        description: Of its series.
        manufacturer: Who made it.
        frames: Frames of reference; a registration relates all of them.
        date: Of series and content.
        sop_uid: Its SOP Instance UID, if another than what the names give.
        images: SOP Instance UIDs that a registration's last item lists.
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(CLASSES[modality])
    meta.MediaStorageSOPInstanceUID = UID(sop_uid or uid_of(study, series, number))
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    file.ReferencedSeriesSequence = Sequence([_reference()])
    file.ReferencedSeriesSequence.is_undefined_length = True
    file.StudyInstanceUID = uid_of(study)
    file.SeriesInstanceUID = uid_of(study, series)
    file.Modality = modality
    file.Manufacturer = manufacturer
    file.PatientName = "Secret^Patient"
    file.PatientID = "SECRET7"
    file.SeriesDescription = description
    file.SeriesDate = file.ContentDate = date
    file.SeriesTime = file.ContentTime = "120000"
    file.InstanceNumber = number
    file.FrameOfReferenceUID = frames[0] if frames else uid_of(study, modality, "frame")
    if modality == "REG":
        file.RegistrationSequence = Sequence([_frame(each) for each in frames])
        listed = Sequence([_image(each) for each in images])
        file.RegistrationSequence[-1].ReferencedImageSequence = listed
    sink = BytesIO()
    file.save_as(sink, enforce_file_format=True)
    return sink.getvalue()


def _reference() -> Dataset:
    """Return an item that names another series, as segmentations have."""
    item = Dataset()
    item.SeriesInstanceUID = "1.2.3"
    item.is_undefined_length_sequence_item = True
    return item


def _image(uid: str) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID = CLASSES["MR"]
    image.ReferencedSOPInstanceUID = uid
    return image


def _frame(uid: str) -> Dataset:
    item = Dataset()
    item.FrameOfReferenceUID = uid
    return item
