"""What an image's header says, checked before any voxel is read.

Our own parsers go first; see `parsed_header`. Only then does ITK read the same NRRD or
MHA header and say where the voxels lie; both must agree. Where a NIfTI's voxels lie,
and what their values are, is decided by our parser alone: readers differ there.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_shared.affine import Matrix34, apart_voxels
from hanseg_shared.errors import ImageError
from hanseg_shared.grid import Grid
from hanseg_shared.io.formats import ImageFormat
from hanseg_shared.io.layout import Geometry, VoxelLayout
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits
from hanseg_shared.io.parsed_header import make_grid, naming, parse_header
from hanseg_shared.itk import matrix_rows

_REPORTED_VOXELS = 0.01
"""A rounded direction is remarked upon if it moved a voxel by more, in voxels."""

_ITK_TYPES = {
    "i1": sitk.sitkInt8,
    "u1": sitk.sitkUInt8,
    "i2": sitk.sitkInt16,
    "u2": sitk.sitkUInt16,
    "i4": sitk.sitkInt32,
    "u4": sitk.sitkUInt32,
    "i8": sitk.sitkInt64,
    "u8": sitk.sitkUInt64,
    "f4": sitk.sitkFloat32,
    "f8": sitk.sitkFloat64,
}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What is known of an image before its voxels are read.

    Attributes:
        format: The file's format.
        grid: Where the voxels are.
        layout: Where the file keeps them, and as which type.
        file_bytes: Length of the file.
        remarks: What a person should know, though the image is not refused for it.
    """

    format: ImageFormat
    grid: Grid
    layout: VoxelLayout
    file_bytes: int
    remarks: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of one stored voxel."""
        return self.layout.dtype


def read_header(path: Path | str, limits: Limits = DEFAULT_LIMITS) -> ImageHeader:
    """Return what an image's header says; reads no voxel.

    Args:
        path: A NIfTI, NRRD or MHA file.
        limits: Caps on the file and on what it claims to hold.

    Raises:
        NotAnImageError: The file is missing or no reader knows it.
        UnsafeImageError: Its header points outside the file.
        ImageTooLargeError: It, or what it claims to hold, is beyond the caps.
        ImageContentError: It is no scalar volume on a regular grid.
        ImageError: It is damaged.
    """
    path = Path(path)
    with naming(path):
        parsed = parse_header(path, limits)
        layout = parsed.layout
        geometry = layout.geometry or _itk_geometry(path, parsed.format, layout)
        grid = make_grid(layout, geometry, limits)
        remarks = layout.remarks + _rounding_remarks(grid, geometry)
        return ImageHeader(parsed.format, grid, layout, parsed.file_bytes, remarks)


@contextmanager
def _open_by_itk(
    path: Path, image_format: ImageFormat
) -> Iterator[sitk.ImageFileReader]:
    """Yield ITK's one reader for NRRD or MHA, with the file set.

    ITK's readers look at a file's name, whatever its content; they are given a link
    with the name they expect.
    """
    name, suffix = _ITK_READERS[image_format]
    reader = sitk.ImageFileReader()
    reader.SetImageIO(name)
    with tempfile.TemporaryDirectory(prefix="hanseg-read-") as folder:
        link = Path(folder, f"image{suffix}")
        link.symlink_to(path.resolve())
        reader.SetFileName(str(link))
        try:
            yield reader
        except RuntimeError as error:
            raise ImageError(f"ITK cannot read it: {_reason(error, link)}") from None


_ITK_READERS = {
    ImageFormat.NRRD: ("NrrdImageIO", ".nrrd"),
    ImageFormat.MHA: ("MetaImageIO", ".mha"),
}


def _reason(error: RuntimeError, link: Path) -> str:
    """Return the last line of ITK's message, without addresses and our link's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1].replace(str(link), "the file") if lines else "no reason is given"
    return re.sub(r"^ITK ERROR[^:]*: ", "", last)


def _rounding_remarks(grid: Grid, geometry: Geometry) -> tuple[str, ...]:
    apart = apart_voxels(grid.size, grid.affine, _stated_affine(geometry))
    if apart <= _REPORTED_VOXELS:
        return ()
    return (
        "its direction cosines are rounded; the nearest rectangular grid, up to "
        f"{apart:.2g} voxels away, is used",
    )


def _stated_affine(geometry: Geometry) -> Matrix34:
    scaled = np.array(geometry.direction) * np.array(geometry.spacing)
    return np.column_stack([scaled, geometry.origin])


def _itk_geometry(
    path: Path, image_format: ImageFormat, layout: VoxelLayout
) -> Geometry:
    """Return where ITK puts the voxels, once both readers agree on what they are."""
    with _open_by_itk(path, image_format) as reader:
        reader.ReadImageInformation()
    found = (tuple(reader.GetSize()), reader.GetNumberOfComponents())
    if found != (layout.size, 1) or not _same_type(reader.GetPixelID(), layout):
        raise ImageError(
            "the header can be read in two ways: voxels of type "
            f"{layout.dtype} in {layout.size}, or {found[1]} x "
            f"{sitk.GetPixelIDValueAsString(reader.GetPixelID())} in {found[0]}; save "
            "the image again"
        )
    return Geometry(
        reader.GetSpacing(), reader.GetOrigin(), matrix_rows(reader.GetDirection())
    )


def _same_type(pixel_id: int, layout: VoxelLayout) -> bool:
    return bool(pixel_id == _ITK_TYPES[layout.dtype.str[1:]])
