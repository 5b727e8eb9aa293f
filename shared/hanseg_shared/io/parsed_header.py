"""What our own parsers find in an image's header: enough to refuse most bad files.

They know every field that could point outside the file, and the caps are applied to
what they find. ITK is not needed here, so that a machine which only sends images can
look at them too; `header` asks it where the voxels of an NRRD or MHA file lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hanseg_shared.affine import apart_voxels
from hanseg_shared.errors import ImageContentError, ImageError, ImageTooLargeError
from hanseg_shared.grid import SAME_GRID_VOXELS, Grid
from hanseg_shared.io.formats import ImageFormat, sniff
from hanseg_shared.io.layout import Geometry, VoxelLayout
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits
from hanseg_shared.io.metaimage import parse_metaimage
from hanseg_shared.io.nifti import HEADER_BYTES, parse_nifti
from hanseg_shared.io.nifti_extensions import require_few_extensions
from hanseg_shared.io.nrrd import parse_nrrd
from hanseg_shared.io.stream import inflate_head, require_enough_bytes

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class ParsedHeader:
    """What a file's header says by our own parsers.

    Attributes:
        format: The file's format.
        layout: Where the file keeps its voxels, and as which type.
        file_bytes: Length of the file.
    """

    format: ImageFormat
    layout: VoxelLayout
    file_bytes: int


def check_header(path: Path, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse a file whose header our own parsers can tell is unusable.

    An NRRD or MHA file that passes may still be refused by `read_header`, which asks
    ITK where its voxels lie.

    Raises:
        ImageError: As `read_header`, but for that.
    """
    with naming(path):
        layout = parse_header(path, limits).layout
        if layout.geometry is not None:
            make_grid(layout, layout.geometry, limits)


def parse_header(path: Path, limits: Limits) -> ParsedHeader:
    """Return what our own parsers find; reads no voxel.

    Raises:
        ImageError: The file is no image, beyond the caps, damaged or cut short.
    """
    image_format = sniff(path)
    file_bytes = path.stat().st_size
    _require_file_within(file_bytes, limits)
    layout = _parse(path, image_format, file_bytes, limits)
    _require_layout_within(layout, limits)
    require_enough_bytes(path, layout)
    return ParsedHeader(image_format, layout, file_bytes)


def make_grid(layout: VoxelLayout, geometry: Geometry, limits: Limits) -> Grid:
    """Return the rectangular grid nearest to what a header states.

    Raises:
        ImageContentError: Its spacing or origin is beyond the caps, or results could
            not be stored on it.
    """
    _require_geometry_within(geometry, limits)
    grid = Grid.nearest(layout.size, **geometry._asdict())
    _require_storable(grid)
    return grid


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what an `ImageError` says."""
    try:
        yield
    except ImageError as error:
        raise type(error)(f"{path.name}: {error}") from None


def _parse(
    path: Path, image_format: ImageFormat, file_bytes: int, limits: Limits
) -> VoxelLayout:
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


def _require_layout_within(layout: VoxelLayout, limits: Limits) -> None:
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
