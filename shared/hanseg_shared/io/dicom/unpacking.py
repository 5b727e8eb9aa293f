"""JPEG, JPEG-LS and JPEG 2000 frames, unpacked by ITK's GDCM to their stored values.

GDCM is given a file of our own around one frame, which says how the pixels are stored
and nothing else. So it rescales nothing, places nothing, and parses no header that came
from outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from hanseg_shared.errors import ImageError
from hanseg_shared.io.dicom.frame_size import (
    HEAD_BYTES,
    FrameSize,
    read_jpeg_2000_size,
    read_jpeg_size,
)
from hanseg_shared.io.dicom.pixel_format import PixelFormat
from hanseg_shared.io.dicom.syntaxes import SYNTAXES, Coding, Syntax

_MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
_ANY_UID = "2.25.1"


_FILLED_IN = b"premature end of data"
"""What libjpeg prints when a stream ends early; it makes up the rest and goes on."""


class Unpacker:
    """Unpacks frames by way of one file in a folder for that.

    Args:
        folder: Exists, and is removed by the caller.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "frame.dcm"
        self._complaints = folder / "complaints.txt"
        self._reader = sitk.ImageFileReader()
        self._reader.SetImageIO("GDCMImageIO")
        self._reader.SetFileName(str(self._path))

    def unpack(
        self, packed: bytes, *, syntax_uid: str, pixels: PixelFormat, name: str
    ) -> npt.NDArray[np.integer]:
        """Return a frame's cells, as unsigned numbers of shape (rows, columns).

        Args:
            packed: The frame as it lies in the file, its fragments joined.
            syntax_uid: Transfer Syntax UID (0002,0010), one of those.
            pixels: How the pixels are stored.
            name: What messages call the frame.

        Raises:
            ImageError: It is damaged or cut off, or has another size than the header
                says.
        """
        syntax = SYNTAXES[syntax_uid]
        _require_size(packed, syntax, pixels, name)
        _write_frame(self._path, packed, syntax_uid, pixels)
        try:
            with _listen(self._complaints):
                image = self._reader.Execute()
        except RuntimeError:
            raise _damaged(name, syntax) from None
        if _FILLED_IN in self._complaints.read_bytes():
            raise _damaged(name, syntax)
        array = sitk.GetArrayFromImage(image)
        if array.shape != (1, pixels.rows, pixels.columns):
            raise _damaged(name, syntax)
        return _as_cells(array[0], pixels, name, syntax)


@contextmanager
def _listen(path: Path) -> Iterator[None]:
    """Write to a file what libraries print to the process's standard error."""
    standard_error = os.dup(2)
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def _require_size(
    packed: bytes, syntax: Syntax, pixels: PixelFormat, name: str
) -> None:
    """Refuse a frame of another size than the header's, before it is unpacked."""
    head = packed[:HEAD_BYTES]
    try:
        if syntax.coding is Coding.JPEG:
            size = read_jpeg_size(head)
        else:
            size = read_jpeg_2000_size(head)
    except ImageError:
        raise _damaged(name, syntax) from None
    expected = FrameSize(pixels.rows, pixels.columns, 1)
    if size != expected:
        raise ImageError(
            f"{name}: its {syntax.name} data has {size}, but Rows (0028,0010) and "
            f"Columns (0028,0011) say {expected}; export the series again"
        )


def _damaged(name: str, syntax: Syntax) -> ImageError:
    return ImageError(
        f"{name}: its {syntax.name} data is damaged or cut off; export the series "
        "again, uncompressed if you can"
    )


def _write_frame(
    path: Path, packed: bytes, syntax_uid: str, pixels: PixelFormat
) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(_MR_CLASS)
    meta.MediaStorageSOPInstanceUID = UID(_ANY_UID)
    meta.TransferSyntaxUID = UID(syntax_uid)
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = _MR_CLASS, _ANY_UID
    dataset.Modality = "MR"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.rows, pixels.columns
    dataset.BitsAllocated, dataset.BitsStored = pixels.allocated, pixels.stored
    dataset.HighBit, dataset.PixelRepresentation = pixels.high, int(pixels.signed)
    dataset.add_new("PixelData", "OB", encapsulate([packed]))
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)


def _as_cells(
    array: npt.NDArray[np.generic], pixels: PixelFormat, name: str, syntax: Syntax
) -> npt.NDArray[np.integer]:
    """Return what GDCM gives in the cells that the file would have had."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize > 4:
        raise _damaged(name, syntax)
    if array.dtype.itemsize != pixels.cells.itemsize:
        array = array.astype(pixels.cells)
    return array.view(pixels.cells)
