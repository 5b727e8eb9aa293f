"""Masks as compressed NIfTI files, cut out of a label map slice by slice.

A mask is nearly all zeros, and there are thirty of them. So no mask ever lies in memory
as a whole, and slices without the organ are compressed once for all masks: after a full
flush a deflate stream may be put together from parts (RFC 1951, section 3.2.3).
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813

from hanseg_shared.errors import ImageError, StoreError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_header
from hanseg_shared.io.stream import pieces
from hanseg_shared.itk import to_image
from hanseg_shared.volume import LabelMap, Volume

COMPRESSION_LEVEL = 1
"""Masks are nearly all zeros: higher levels take longer and save next to nothing."""

HEADER_BYTES = 352
"""NIfTI-1 header and its empty extension, before the voxels (nifti1.h)."""

_SLICES_AT = 46
"""Where the header says how many slices there are, a 16-bit number."""

_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""A gzip member without name or time, so that equal masks give equal bytes (RFC 1952,
section 2.3)."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskWriter:
    """Writes masks of one label map.

    Attributes:
        labels: The label map, uint8.
        slices_of: Whether each label ``0..255`` is in each slice, ``(z, 256)``.
        header: The NIfTI header of each mask.
        empty: A slice of zeros.
        empty_packed: The same, compressed, so that anything may follow it.
    """

    labels: Volume
    slices_of: npt.NDArray[np.bool_]
    header: bytes
    empty: bytes
    empty_packed: bytes = field(repr=False)

    @classmethod
    def of(cls, labels: Volume) -> MaskWriter:
        """Return the writer for a label map."""
        slices_of = np.stack(
            [np.bincount(each.ravel(), minlength=256) > 0 for each in labels.array]
        )
        empty = bytes(labels.array[0].size)
        packer = _packer()
        packed = packer.compress(empty) + packer.flush(zlib.Z_FULL_FLUSH)
        return cls(labels, slices_of, _header(labels.grid), empty, packed)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which labels ``0..255`` the label map has."""
        return np.logical_or.reduce(self.slices_of, axis=0)

    def write(self, path: Path, label: int) -> Path:
        """Write the mask of a label, 1 where the label is, and read it back.

        Raises:
            StoreError: It cannot be written, or reads back with another value.
            GridMismatchError: The file cannot hold the label map's grid.
        """
        try:
            with path.open("wb") as file:
                self._write(file, label)
        except OSError as error:
            raise StoreError(f"{path.name} could not be written: {error}") from error
        parts = (part == label for part in self.labels.array)
        require_written(path, self.labels.grid, parts)
        return path

    def _write(self, file: BinaryIO, label: int) -> None:
        file.write(_GZIP_HEAD)
        packer = _packer()
        file.write(packer.compress(self.header))
        check, open_block = zlib.crc32(self.header), True
        for plane, there in zip(
            self.labels.array, self.slices_of[:, label], strict=True
        ):
            if there:
                voxels = (plane == label).tobytes()
                file.write(packer.compress(voxels))
                open_block = True
            else:
                voxels = self.empty
                if open_block:
                    file.write(packer.flush(zlib.Z_FULL_FLUSH))
                    open_block = False
                file.write(self.empty_packed)
            check = zlib.crc32(voxels, check)
        file.write(packer.flush(zlib.Z_FINISH))
        length = len(self.header) + self.labels.array.size
        file.write(struct.pack("<II", check, length & 0xFFFFFFFF))


def require_written(path: Path, grid: Grid, expected: Iterable[LabelMap]) -> None:
    """Compare a file's grid and every voxel with what was meant to be written.

    Args:
        path: A compressed image of uint8.
        grid: Its grid.
        expected: Its voxels, slice by slice.

    Raises:
        StoreError: It cannot be read, or a voxel has another value.
        GridMismatchError: It has another grid.
    """
    try:
        header = read_header(path)
        grid.require_same(header.grid, what=f"what was written to {path.name}")
        stored = pieces(path, header.layout)
        same = header.dtype == np.uint8 and _equal(stored, expected)
    except ImageError as error:
        raise StoreError(f"{path.name} does not read back: {error}") from error
    if not same:
        raise StoreError(
            f"{path.name} reads back with other voxels than were written: the disk"
            " cannot be trusted"
        )


def _equal(stored: Iterator[bytes], expected: Iterable[LabelMap]) -> bool:
    """Whether pieces of any length hold the bytes of the slices."""
    rest = np.empty(0, dtype=np.uint8)
    for plane in expected:
        wanted = np.ascontiguousarray(plane).view(np.uint8).reshape(-1)
        while len(wanted):
            if not len(rest):
                rest = np.frombuffer(next(stored, b""), dtype=np.uint8)
            count = min(len(rest), len(wanted))
            if count == 0 or not np.array_equal(rest[:count], wanted[:count]):
                return False
            rest, wanted = rest[count:], wanted[count:]
    return not len(rest) and not next(stored, b"")


def _header(grid: Grid) -> bytes:
    """Return the header that ITK gives a uint8 image of the grid.

    It writes two slices only; their number is put right afterwards.
    """
    x, y, z = grid.size
    two = Grid((x, y, 2), grid.spacing, grid.origin, grid.direction)
    image = to_image(Volume(np.zeros(two.shape, dtype=np.uint8), two))
    with tempfile.TemporaryDirectory(prefix="hanseg-header-") as folder:
        path = Path(folder, "header.nii")
        try:
            sitk.WriteImage(image, path)
        except RuntimeError as error:
            raise StoreError(f"no mask could be written: {error}") from error
        with path.open("rb") as file:
            header = bytearray(file.read(HEADER_BYTES))
    struct.pack_into("<h", header, _SLICES_AT, z)
    return bytes(header)


def _packer() -> zlib._Compress:
    """Return a compressor of a bare deflate stream."""
    return zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
