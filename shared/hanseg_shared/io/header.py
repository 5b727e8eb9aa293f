"""What an image's header says, checked before any voxel is read.

Our own parsers go first: they know every field that could point outside the file,
and the caps are applied to what they find. Only then does ITK read the same NRRD or
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
from hanseg_shared.errors import ImageContentError, ImageError, ImageTooLargeError
from hanseg_shared.grid import SAME_GRID_VOXELS, Grid
from hanseg_shared.io.formats import ImageFormat, sniff
from hanseg_shared.io.layout import Geometry, Layout
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits
from hanseg_shared.io.metaimage import parse_metaimage
from hanseg_shared.io.nifti import HEADER_BYTES, parse_nifti
from hanseg_shared.io.nifti_extensions import require_few_extensions
from hanseg_shared.io.nrrd import parse_nrrd
from hanseg_shared.io.stream import inflate_head, require_enough_bytes
from hanseg_shared.itk import matrix_rows

_TOLD_VOXELS = 0.01
"""A direction is told to be rounded if that moved a voxel by more than this."""

_GZIP_MAGIC = b"\x1f\x8b"
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
    layout: Layout
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
        image_format = sniff(path)
        file_bytes = path.stat().st_size
        _require_file_within(file_bytes, limits)
        layout = _parse(path, image_format, file_bytes, limits)
        _require_layout_within(layout, limits)
        require_enough_bytes(path, layout)
        geometry = layout.geometry or _itk_geometry(path, image_format, layout)
        _require_geometry_within(geometry, limits)
        grid = Grid.nearest(layout.size, **geometry._asdict())
        _require_storable(grid)
        remarks = layout.remarks + _rounding_remarks(grid, geometry)
        return ImageHeader(image_format, grid, layout, file_bytes, remarks)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what an `ImageError` says."""
    try:
        yield
    except ImageError as error:
        raise type(error)(f"{path.name}: {error}") from None


@contextmanager
def opened_by_itk(
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


def _parse(
    path: Path, image_format: ImageFormat, file_bytes: int, limits: Limits
) -> Layout:
    with path.open("rb") as file:
        head = file.read(limits.max_header_bytes)
    if image_format is ImageFormat.NRRD:
        return parse_nrrd(head)
    if image_format is ImageFormat.MHA:
        return parse_metaimage(head, file_bytes=file_bytes)
    gzipped = head.startswith(_GZIP_MAGIC)
    start = inflate_head(path, HEADER_BYTES) if gzipped else head[:HEADER_BYTES]
    layout = parse_nifti(start, gzipped=gzipped)
    until = min(layout.offset, limits.max_header_bytes)
    whole = inflate_head(path, until) if gzipped else head[:until]
    require_few_extensions(whole)
    return layout


def _require_file_within(file_bytes: int, limits: Limits) -> None:
    if file_bytes > limits.max_file_bytes:
        raise ImageTooLargeError(
            f"the file has {file_bytes} bytes, more than the {limits.max_file_bytes} "
            "allowed; crop it to the head and neck"
        )


def _require_layout_within(layout: Layout, limits: Limits) -> None:
    size = " x ".join(str(n) for n in layout.size)
    if layout.voxels > limits.max_voxels or max(layout.size) > limits.max_axis:
        raise ImageTooLargeError(
            f"the image has {size} voxels; at most {limits.max_voxels} in all and "
            f"{limits.max_axis} along an axis are allowed: crop it to the head and neck"
        )
    if layout.offset > limits.max_header_bytes:
        raise ImageTooLargeError(
            f"the header has {layout.offset} bytes, more than the "
            f"{limits.max_header_bytes} allowed; save the image without extensions"
        )


def _require_geometry_within(geometry: Geometry, limits: Limits) -> None:
    low, high = limits.min_spacing_mm, limits.max_spacing_mm
    if min(geometry.spacing) < low or max(geometry.spacing) > high:
        raise ImageContentError(
            f"spacing must be {low} to {high} mm, got {geometry.spacing}; check the "
            "header's units"
        )
    if max(abs(o) for o in geometry.origin) > limits.max_origin_mm:
        raise ImageContentError(
            f"origin must lie within {limits.max_origin_mm} mm, got {geometry.origin}"
        )


def _require_storable(grid: Grid) -> None:
    """Refuse a grid that results, whose NIfTI headers are of 32 bits, cannot state."""
    stored = grid.affine.astype(np.float32).astype(np.float64)
    apart = apart_voxels(grid.size, grid.affine, stored)
    if apart > SAME_GRID_VOXELS:
        raise ImageContentError(
            f"the image begins at {grid.origin} mm, too far away for voxels of "
            f"{min(grid.spacing):.3g} mm: NIfTI's 32-bit numbers put them {apart:.2g} "
            "voxels off; move its origin nearer to 0"
        )


def _rounding_remarks(grid: Grid, geometry: Geometry) -> tuple[str, ...]:
    apart = apart_voxels(grid.size, grid.affine, _stated(geometry))
    if apart <= _TOLD_VOXELS:
        return ()
    return (
        "its direction cosines are rounded; the nearest rectangular grid, up to "
        f"{apart:.2g} voxels away, is used",
    )


def _stated(geometry: Geometry) -> Matrix34:
    scaled = np.array(geometry.direction) * np.array(geometry.spacing)
    return np.column_stack([scaled, geometry.origin])


def _itk_geometry(path: Path, image_format: ImageFormat, layout: Layout) -> Geometry:
    """Return where ITK puts the voxels, once both readers agree on what they are."""
    with opened_by_itk(path, image_format) as reader:
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


def _same_type(pixel_id: int, layout: Layout) -> bool:
    return bool(pixel_id == _ITK_TYPES[layout.dtype.str[1:]])
