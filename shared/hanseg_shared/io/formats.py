"""Image file formats: how each is recognised, and which ITK reader takes it.

A file is recognised by its first bytes. Its name decides nothing, except that a name
of a format that keeps its voxels in a second file is refused.
"""

from __future__ import annotations

import re
import zlib
from enum import StrEnum
from pathlib import Path

from hanseg_shared.errors import NotAnImageError, UnsafeImageError

SNIFFED_BYTES = 512
"""How much of a file is looked at to recognise it."""

_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"
_DICOM_MAGIC = (128, b"DICM")
_NIFTI_MAGIC = (344, b"n+1\x00")
_NIFTI_PAIR_MAGIC = (344, b"ni1\x00")
_NIFTI2_MAGICS = (b"n+2\x00", b"ni2\x00")
_ANALYZE_HEADER_BYTES = 348
_METAIMAGE_START = re.compile(rb"(ObjectType|NDims|Comment)\s*=")

_DETACHED_SUFFIXES = {".nhdr", ".mhd", ".hdr", ".img"}

_NO_DICOM = (
    "DICOM series are not read yet by this version; convert to NIfTI, NRRD or MHA"
)


class ImageFormat(StrEnum):
    """A file format that keeps header and voxels in one file."""

    NIFTI = "nifti"
    """NIfTI-1, plain or gzipped."""

    NRRD = "nrrd"
    """NRRD with its data attached, as 3D Slicer and HaN-Seg write it."""

    MHA = "mha"
    """MetaImage with its data attached."""

    @property
    def itk_reader(self) -> str:
        """Name of the one ITK reader that may open the file."""
        return _ITK_READERS[self]


_ITK_READERS = {
    ImageFormat.NIFTI: "NiftiImageIO",
    ImageFormat.NRRD: "NrrdImageIO",
    ImageFormat.MHA: "MetaImageIO",
}


def sniff(path: Path) -> ImageFormat:
    """Return the format of a file, judged by its first bytes.

    Raises:
        NotAnImageError: There is no such file, or no reader knows it.
        UnsafeImageError: It is a format whose voxels lie in a second file.
    """
    if path.is_dir():
        raise NotAnImageError(f"it is a folder; {_NO_DICOM}")
    if not path.is_file():
        raise NotAnImageError("there is no such file")
    if path.suffix.lower() in _DETACHED_SUFFIXES:
        raise _detached(f"{path.suffix.lower()} files keep their voxels elsewhere")
    return recognise(_start_of(path))


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SNIFFED_BYTES)
    except OSError as error:
        raise NotAnImageError(f"the file cannot be opened: {error.strerror}") from None


def recognise(start: bytes) -> ImageFormat:
    """Return the format of a file that starts with these bytes.

    Raises:
        NotAnImageError: No reader knows it.
        UnsafeImageError: It is a format whose voxels lie in a second file.
    """
    if not start:
        raise NotAnImageError("the file is empty")
    if start.startswith(_GZIP_MAGIC):
        return _nifti(_inflate_start(start), gzipped=True)
    if start.startswith(b"NRRD"):
        return ImageFormat.NRRD
    if _METAIMAGE_START.match(start):
        return ImageFormat.MHA
    if start.startswith(_ZIP_MAGIC) or _at(start, _DICOM_MAGIC):
        raise NotAnImageError(_NO_DICOM)
    return _nifti(start, gzipped=False)


def _nifti(start: bytes, *, gzipped: bool) -> ImageFormat:
    if _at(start, _NIFTI_MAGIC):
        return ImageFormat.NIFTI
    if _at(start, _NIFTI_PAIR_MAGIC):
        raise _detached("a NIfTI header of the .hdr/.img pair")
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


def _inflate_start(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(start, SNIFFED_BYTES)
    except zlib.error as error:
        raise NotAnImageError(f"the gzip stream is damaged ({error})") from None


def _at(start: bytes, magic: tuple[int, bytes]) -> bool:
    offset, expected = magic
    return start[offset : offset + len(expected)] == expected


def _detached(what: str) -> UnsafeImageError:
    return UnsafeImageError(
        f"{what}; only files that hold header and voxels together are read: save the "
        "image as .nii.gz, .nrrd or .mha"
    )
