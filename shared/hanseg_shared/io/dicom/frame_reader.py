"""The stored values of single frames, packed or not, straight from their files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hanseg_shared.errors import ImageError
from hanseg_shared.io.dicom.attributes import describe_tag
from hanseg_shared.io.dicom.fragments import Fragment, find_frames, read_packed
from hanseg_shared.io.dicom.frames import Frame
from hanseg_shared.io.dicom.header import Header
from hanseg_shared.io.dicom.pixel_format import PixelFormat
from hanseg_shared.io.dicom.run_lengths import unpack_run_lengths
from hanseg_shared.io.dicom.syntaxes import Coding

if TYPE_CHECKING:
    from hanseg_shared.io.dicom.unpacking import Unpacker

Stored = npt.NDArray[np.integer]
Padded = npt.NDArray[np.bool_]


@contextmanager
def open_frames() -> Iterator[FrameReader]:
    """Yield a reader of frames, and remove what it needed on the disk."""
    with tempfile.TemporaryDirectory(prefix="hanseg-frames-") as folder:
        yield FrameReader(Path(folder))


class FrameReader:
    """Reads frames one by one, and remembers where those of the last file lie.

    Args:
        folder: Exists, and is removed by the caller; packed frames are unpacked there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unpacker: Unpacker | None = None
        self._header: Header | None = None
        self._pixels: PixelFormat | None = None
        self._fragments: list[list[Fragment]] = []

    def read(self, frame: Frame) -> tuple[Stored, Padded | None]:
        """Return a frame's stored values, and where they are padding if anywhere."""
        header = frame.header
        if self._header is not header or self._pixels is None:
            self._header = header
            self._pixels = PixelFormat.of(header.attributes)
            self._fragments = []
        pixels = self._pixels
        number = frame.number or 1
        if header.syntax.encapsulated:
            cells = self._read_packed(frame, pixels, number)
        else:
            cells = _read_native(header, pixels, number)
        values = pixels.values_of(cells)
        return values, pixels.padding_of(cells, values)

    def _read_packed(self, frame: Frame, pixels: PixelFormat, number: int) -> Stored:
        header = frame.header
        if header.pixels is None or header.pixels.length is not None:
            raise _unlike_syntax(header)
        count = int(header.attributes.number("NumberOfFrames") or 1)
        with header.file.path.open("rb") as stream:
            if not self._fragments:
                self._fragments = find_frames(
                    stream, header.pixels.offset, frames=count, name=header.name
                )
            packed = read_packed(stream, self._fragments[number - 1])
        if header.syntax.coding is Coding.RLE:
            cells = unpack_run_lengths(
                packed,
                cells=pixels.rows * pixels.columns,
                cell_type=pixels.cells,
                name=frame.name,
            )
            return cells.reshape(pixels.rows, pixels.columns)
        return self._get_unpacker().unpack(
            packed,
            syntax_uid=header.transfer_syntax_uid,
            pixels=pixels,
            name=frame.name,
        )

    def _get_unpacker(self) -> Unpacker:
        """Return what unpacks frames; ITK is only loaded for packed ones."""
        if self._unpacker is None:
            from hanseg_shared.io.dicom.unpacking import Unpacker

            self._unpacker = Unpacker(self._folder)
        return self._unpacker


def _read_native(header: Header, pixels: PixelFormat, number: int) -> Stored:
    if header.pixels is None or header.pixels.length is None:
        raise _unlike_syntax(header)
    count = int(header.attributes.number("NumberOfFrames") or 1)
    needed = pixels.frame_bytes * count
    there = header.file.path.stat().st_size - header.pixels.offset
    if min(header.pixels.length, there) < needed:
        raise ImageError(
            f"{header.name}: {describe_tag('PixelData')} holds "
            f"{min(header.pixels.length, there)} bytes, but {count} frames of "
            f"{pixels.columns} x {pixels.rows} pixels need {needed}: the file is cut "
            "off or its header is wrong; export the series again"
        )
    offset = header.pixels.offset + (number - 1) * pixels.frame_bytes
    cells = np.fromfile(
        header.file.path,
        dtype=pixels.cells,
        count=pixels.rows * pixels.columns,
        offset=offset,
    )
    return cells.reshape(pixels.rows, pixels.columns)


def _unlike_syntax(header: Header) -> ImageError:
    return ImageError(
        f"{header.name}: {describe_tag('PixelData')} is missing, or not stored as "
        f"{describe_tag('TransferSyntaxUID')} {header.transfer_syntax_uid} says; "
        "export the series again"
    )
