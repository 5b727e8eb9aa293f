"""The header of one DICOM file: its attributes, and where its pixels begin.

Only the attributes of `WANTED` are read, and no pixel.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from pydicom import dcmread
from pydicom.dataset import FileDataset

from hanseg_shared.errors import NotAnImageError
from hanseg_shared.io.dicom.attributes import Attributes, quietly
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.file_meta import FileMeta, read_file_meta, require_syntax
from hanseg_shared.io.dicom.syntaxes import Syntax

WANTED = (
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "AcquisitionTime",
    "Modality",
    "SeriesDescription",
    "PatientID",
    "PatientBirthDate",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "SequenceName",
    "KVP",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "EchoNumbers",
    "ContrastBolusAgent",
    "TriggerTime",
    "NominalPercentageOfCardiacPhase",
    "ProtocolName",
    "GantryDetectorTilt",
    "ConvolutionKernel",
    "PatientPosition",
    "DiffusionBValue",
    "AcquisitionContrast",
    "ComplexImageComponent",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "AcquisitionNumber",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "TemporalPositionIdentifier",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "LossyImageCompression",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""What is read of an image's header, by keyword."""

_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_UNDEFINED_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where Pixel Data (7FE0,0010) lies in a file.

    Attributes:
        offset: Of the first byte of the value.
        length: Of the value in bytes; None if it is in fragments of their own length.
    """

    offset: int
    length: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What one DICOM file says before its pixels.

    Attributes:
        file: The file.
        attributes: Those of `WANTED` that it has.
        transfer_syntax_uid: Transfer Syntax UID (0002,0010).
        syntax: What that means.
        pixels: Where its pixels lie; None without any.
        sop_class: SOP Class UID (0008,0016).
        sop_instance: SOP Instance UID (0008,0018).
    """

    file: DicomFile
    attributes: Attributes
    transfer_syntax_uid: str
    syntax: Syntax
    pixels: PixelElement | None
    sop_class: str
    sop_instance: str

    @property
    def name(self) -> str:
        """What the sender calls the file."""
        return self.file.name

    @property
    def series(self) -> str:
        """Series Instance UID (0020,000E)."""
        return self.attributes.uid("SeriesInstanceUID")


def read_header(file: DicomFile, meta: FileMeta | None = None) -> Header:
    """Return what an image's file says before its pixels.

    Args:
        file: The file.
        meta: What its meta information says, if that has been read.

    Raises:
        NotAnImageError: It is no DICOM file (PS3.10), or damaged.
        ImageContentError: Its transfer syntax is not read, or it has no SOP Class or
            SOP Instance UID, or another class than its meta information says.
    """
    meta = meta or read_file_meta(file)
    syntax = require_syntax(meta, file)
    with file.path.open("rb") as stream:
        dataset = _read_attributes(stream, file.name)
        pixels = _find_pixels(stream, syntax)
    attributes = Attributes(file.name, dataset)
    sop_class = attributes.uid("SOPClassUID")
    if meta.sop_class_uid not in ("", sop_class):
        attributes.refuse(
            "SOPClassUID",
            "differs from MediaStorageSOPClassUID (0002,0002)",
            "export the series again",
        )
    return Header(
        file=file,
        attributes=attributes,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        syntax=syntax,
        pixels=pixels,
        sop_class=sop_class,
        sop_instance=attributes.uid("SOPInstanceUID"),
    )


def _read_attributes(stream: BinaryIO, name: str) -> FileDataset:
    """Read the attributes, and leave the stream where the pixels' tag begins."""
    try:
        with quietly():
            return dcmread(stream, stop_before_pixels=True, specific_tags=list(WANTED))
    except Exception:  # noqa: BLE001 - pydicom raises anything on damaged files
        _raise_no_dicom(name)


def _find_pixels(stream: BinaryIO, syntax: Syntax) -> PixelElement | None:
    start = stream.read(12)
    if not start.startswith(_PIXEL_DATA) or len(start) < 12:
        return None
    if syntax.explicit:
        (length,) = struct.unpack("<I", start[8:12])
        offset = stream.tell()
    else:
        (length,) = struct.unpack("<I", start[4:8])
        offset = stream.tell() - 4
    return PixelElement(offset, None if length == _UNDEFINED_LENGTH else length)


def _raise_no_dicom(name: str) -> NoReturn:
    raise NotAnImageError(
        f"{name}: it cannot be read as DICOM: the file is damaged, cut off or something"
        " else; send the DICOM files of the series as they were exported"
    ) from None
