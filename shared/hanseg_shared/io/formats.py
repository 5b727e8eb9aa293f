"""Image file formats: how each is recognised.

A file is recognised by its first bytes, a gzip file by those of what it holds. Its
name decides nothing, except that a name of a format that keeps its voxels in a second
file is refused.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

from hanseg_shared.errors import (
    ImageError,
    NoSuchFileError,
    NotAnImageError,
    UnsafeImageError,
)
from hanseg_shared.io.stream import inflate_head

SNIFFED_BYTES = 512
"""How much of a file is looked at to recognise it."""

_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_DICOM_MAGIC = (128, b"DICM")
_NIFTI_MAGIC = (344, b"n+1\x00")
_NIFTI_PAIR_MAGIC = (344, b"ni1\x00")
_NIFTI2_MAGICS = (b"n+2\x00", b"ni2\x00")
_ANALYZE_HEADER_BYTES = 348
_METAIMAGE_START = re.compile(rb"(ObjectType|NDims|Comment)\s*=")

_DETACHED_SUFFIXES = {".nhdr", ".mhd", ".hdr", ".img"}

_CONVERT = (
    "DICOM is not read here; send the whole series to hanseg segment, hanseg register "
    "or the service, or convert it to NIfTI, NRRD or MHA"
)

_ZIP = (
    "it is a zip archive, which is not read here; unpack it and send the NIfTI, NRRD "
    "or MHA file in it (a zip of a DICOM series goes to hanseg segment, hanseg "
    "register or the service)"
)

_FOLDER = (
    "it is a folder; send one NIfTI, NRRD or MHA file (a folder of a DICOM series goes "
    "to hanseg segment or hanseg register)"
)

_SOP_CLASS = re.compile(
    rb"\x02\x00\x02\x00UI..1\.2\.840\.10008\.5\.1\.4\.1\.1\.([0-9.]{1,32})", re.DOTALL
)
"""(0002,0002) Media Storage SOP Class UID of a DICOM file's meta header (PS3.10)."""

_SOP_CLASSES = {
    b"2": "a slice of a DICOM CT",
    b"2.1": "a DICOM CT",
    b"4": "a slice of a DICOM MR",
    b"4.1": "a DICOM MR",
    b"66.1": "a DICOM registration",
    b"66.4": "a DICOM SEG",
    b"128": "a slice of a DICOM PET",
    b"481.2": "an RTDOSE",
    b"481.3": "an RTSTRUCT",
    b"481.5": "an RTPLAN",
}
"""What the storage classes of radiotherapy hold (PS3.4 B.5)."""


class ImageFormat(StrEnum):
    """A file format that keeps header and voxels in one file."""

    NIFTI = "nifti"
    """NIfTI-1, plain or gzipped."""

    NRRD = "nrrd"
    """NRRD with its data attached, as 3D Slicer and HaN-Seg write it."""

    MHA = "mha"
    """MetaImage with its data attached."""


def sniff(path: Path) -> ImageFormat:
    """Return the format of a file, judged by its first bytes.

    Raises:
        NoSuchFileError: There is none.
        NotAnImageError: No reader knows it.
        UnsafeImageError: It is a format whose voxels lie in a second file.
    """
    if path.is_dir():
        raise NotAnImageError(_FOLDER)
    if not path.is_file():
        raise NoSuchFileError("there is no such file")
    if path.suffix.lower() in _DETACHED_SUFFIXES:
        raise _detached_error(
            f"{path.suffix.lower()} files keep their voxels elsewhere"
        )
    start = start_of(path)
    if start.startswith(_GZIP_MAGIC):
        return _nifti(_inflate_start(path), gzipped=True)
    return recognise(start)


def recognise(start: bytes) -> ImageFormat:
    """Return the format of a file, not packed, that starts with these bytes.

    Raises:
        NotAnImageError: No reader knows it.
        UnsafeImageError: It is a format whose voxels lie in a second file.
    """
    if not start:
        raise NotAnImageError("the file is empty")
    if start.startswith(b"NRRD"):
        return ImageFormat.NRRD
    if _METAIMAGE_START.match(start):
        return ImageFormat.MHA
    if is_zip(start):
        raise NotAnImageError(_ZIP)
    dicom = dicom_kind(start)
    if dicom is not None:
        raise NotAnImageError(f"it is {dicom}; {_CONVERT}")
    return _nifti(start, gzipped=False)


def dicom_kind(start: bytes) -> str | None:
    """Return what a DICOM file that starts so holds; None if it is no DICOM."""
    if not is_dicom(start):
        return None
    found = _SOP_CLASS.search(start, _DICOM_MAGIC[0])
    return _SOP_CLASSES.get(found.group(1), "a DICOM file") if found else "a DICOM file"


def is_dicom_input(path: Path) -> bool:
    """Return whether a file is to be read as DICOM: a DICOM file, or any zip archive.

    No image format of ours is a zip, so that one is taken for an archive of DICOM
    files; whether it is shows when it is opened.
    """
    if not path.is_file():
        return False
    start = start_of(path)
    if start.startswith(b"NRRD") or _METAIMAGE_START.match(start):
        return False
    return is_zip(start) or is_dicom(start)


def is_dicom(start: bytes) -> bool:
    """Return whether a file that starts with these bytes is DICOM (PS3.10 7.1)."""
    return _at(start, _DICOM_MAGIC)


def is_zip(start: bytes) -> bool:
    """Return whether a file that starts with these bytes is a zip archive."""
    return start.startswith(_ZIP_MAGICS)


def start_of(path: Path) -> bytes:
    """Return the first bytes of a file, by which it is recognised.

    Raises:
        NotAnImageError: It cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file.read(SNIFFED_BYTES)
    except OSError as error:
        raise NotAnImageError(f"the file cannot be opened: {error.strerror}") from None


def _nifti(start: bytes, *, gzipped: bool) -> ImageFormat:
    if _at(start, _NIFTI_MAGIC):
        return ImageFormat.NIFTI
    if _at(start, _NIFTI_PAIR_MAGIC):
        raise _detached_error("a NIfTI header of the .hdr/.img pair")
    if start[4:8] in _NIFTI2_MAGICS:
        raise NotAnImageError("NIfTI-2 is not read; save the image as NIfTI-1")
    header_bytes = (
        int.from_bytes(start[:4], "little"),
        int.from_bytes(start[:4], "big"),
    )
    if _ANALYZE_HEADER_BYTES in header_bytes:
        raise NotAnImageError(
            "Analyze 7.5 does not tell left from right; save the image as NIfTI-1"
        )
    inside = "what the gzip stream holds" if gzipped else "the file"
    raise NotAnImageError(
        f"{inside} is no image that can be read; send NIfTI (.nii, .nii.gz), "
        "NRRD (.nrrd) or MHA (.mha)"
    )


def _inflate_start(path: Path) -> bytes:
    """Return the beginning of what a gzip file holds, however long its own header."""
    try:
        return inflate_head(path, SNIFFED_BYTES)
    except ImageError as error:
        raise NotAnImageError(f"the gzip stream cannot be read: {error}") from None


def _at(start: bytes, magic: tuple[int, bytes]) -> bool:
    offset, expected = magic
    return start[offset : offset + len(expected)] == expected


def _detached_error(what: str) -> UnsafeImageError:
    return UnsafeImageError(
        f"{what}; only files that hold header and voxels together are read: save the "
        "image as .nii.gz, .nrrd or .mha"
    )
