"""NIfTI-1 headers, parsed before any other reader sees the file.

Field offsets: the NIfTI-1 standard, https://nifti.nimh.nih.gov/nifti-1 (nifti1.h).
"""

from __future__ import annotations

import math
import struct

import numpy as np

from hanseg_shared.errors import ImageContentError, ImageError
from hanseg_shared.io.layout import Encoding, Size, VoxelLayout
from hanseg_shared.io.nifti_forms import read_geometry

HEADER_BYTES = 348
_DATA_START = 352

_DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_COLOUR_OR_COMPLEX = {32: "complex", 128: "RGB", 1792: "complex", 2304: "RGBA"}


def parse_nifti(header: bytes, *, gzipped: bool) -> VoxelLayout:
    """Return what a NIfTI-1 header says about its voxels.

    Args:
        header: The first 348 bytes of the (inflated) file.
        gzipped: Whether the file is a gzip stream.

    Raises:
        ImageError: The header is damaged or contradicts itself.
        ImageContentError: It is no scalar volume, or does not say how it lies in
            the patient.
    """
    if len(header) < HEADER_BYTES:
        raise ImageError(f"the header ends after {len(header)} of {HEADER_BYTES} bytes")
    order = _byte_order(header)
    size = _size(struct.unpack_from(f"{order}8h", header, 40))
    dtype = _dtype(order, *struct.unpack_from(f"{order}hh", header, 70))
    geometry, remarks = read_geometry(header, order, size)
    slope, intercept = _scaling(*struct.unpack_from(f"{order}ff", header, 112))
    return VoxelLayout(
        size=size,
        dtype=dtype,
        encoding=Encoding.GZIP_FILE if gzipped else Encoding.RAW,
        offset=_offset(struct.unpack_from(f"{order}f", header, 108)[0]),
        slope=slope,
        intercept=intercept,
        geometry=geometry,
        remarks=remarks,
    )


def _byte_order(header: bytes) -> str:
    for order in "<>":
        if struct.unpack_from(f"{order}i", header, 0)[0] == HEADER_BYTES:
            return order
    raise ImageError("the header does not begin with its length, 348")


def _size(dim: tuple[int, ...]) -> Size:
    axes = dim[0]
    if not 1 <= axes <= 7:
        raise ImageError(f"the header's number of axes must be 1 to 7, got {axes}")
    lengths = dim[1 : axes + 1]
    if any(n < 1 for n in lengths):
        raise ImageContentError(f"the image holds no voxels: its size is {lengths}")
    if axes < 3 or any(n > 1 for n in lengths[3:]):
        spatial = axes if axes < 3 else 3 + sum(n > 1 for n in lengths[3:])
        raise ImageContentError(
            f"one volume of three axes is needed, but the image has {spatial} axes: "
            f"{lengths}"
        )
    x, y, z = lengths[:3]
    return x, y, z


def _dtype(order: str, datatype: int, bits: int) -> np.dtype[np.generic]:
    if datatype in _COLOUR_OR_COMPLEX:
        kind = _COLOUR_OR_COMPLEX[datatype]
        raise ImageContentError(f"voxels must be single numbers, but they are {kind}")
    if datatype not in _DTYPES:
        raise ImageError(f"voxel type {datatype} is not one that can be read")
    dtype = np.dtype(order + _DTYPES[datatype])
    if bits != dtype.itemsize * 8:
        raise ImageError(
            f"the header contradicts itself: voxel type {datatype} has "
            f"{dtype.itemsize * 8} bits, not {bits}"
        )
    return dtype


def _offset(vox_offset: float) -> int:
    if not (math.isfinite(vox_offset) and vox_offset == int(vox_offset)):
        raise ImageError(f"the voxels' offset must be whole bytes, got {vox_offset}")
    if vox_offset != 0 and vox_offset < _DATA_START:
        raise ImageError(
            f"the voxels' offset must be {_DATA_START} or more, got {vox_offset:.0f}"
        )
    return max(int(vox_offset), _DATA_START)


def _scaling(slope: float, intercept: float) -> tuple[float, float]:
    """Return slope and intercept; without a finite slope but 0, nothing is scaled.

    The intercept then says nothing (nifti1.h, "data scaling"; nibabel reads so, ITK
    adds it all the same).

    Raises:
        ImageError: The values are scaled, but the intercept is no number.
    """
    if not math.isfinite(slope) or slope == 0.0:
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise ImageError(
            f"the values' scaling must be finite, got scl_slope {slope:g} and "
            f"scl_inter {intercept:g}; convert the image again"
        )
    return slope, intercept
