"""NIfTI-1 headers, parsed before any other reader sees the file.

Field offsets: the NIfTI-1 standard, https://nifti.nimh.nih.gov/nifti-1 (nifti1.h).
"""

from __future__ import annotations

import math
import struct

import numpy as np
import numpy.typing as npt

from hanseg_shared.errors import ImageContentError, ImageError
from hanseg_shared.io.layout import Affine, Encoding, Layout, Size

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

_SCANNER_CODES = {1, 2}
_MM_UNITS = {0, 2}

_SCALE_TOLERANCE = 0.01
"""Share by which the sform's column lengths may differ from pixdim."""

_SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two axes of the sform that rounding explains."""


def parse_nifti(header: bytes, *, gzipped: bool) -> Layout:
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
    _require_geometry(header, order)
    slope, intercept = _scaling(*struct.unpack_from(f"{order}ff", header, 112))
    return Layout(
        size=size,
        dtype=dtype,
        encoding=Encoding.GZIP_FILE if gzipped else Encoding.RAW,
        offset=_offset(struct.unpack_from(f"{order}f", header, 108)[0]),
        slope=slope,
        intercept=intercept,
        geometries=_geometries(header, order),
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
    """Return slope and intercept; a slope of 0 or NaN means: not scaled."""
    if math.isinf(slope) or math.isinf(intercept):
        raise ImageError(f"the values' scaling must be finite: {slope}, {intercept}")
    if math.isnan(intercept):
        intercept = 0.0
    if math.isnan(slope) or slope == 0.0:
        slope = 1.0
    return slope, intercept


def _require_geometry(header: bytes, order: str) -> None:
    qform, sform = struct.unpack_from(f"{order}hh", header, 252)
    pixdim = np.array(struct.unpack_from(f"{order}3f", header, 80), dtype=np.float64)
    if not (np.isfinite(pixdim).all() and (pixdim > 0).all()):
        raise ImageContentError(
            f"spacing must be positive and finite, got {tuple(pixdim.tolist())} mm"
        )
    if qform <= 0 and sform <= 0:
        raise ImageContentError(
            "the header does not say how the image lies in the patient (qform_code and "
            "sform_code are 0), so left and right cannot be told apart; convert it "
            "again from the DICOM series"
        )
    if qform > 0:
        _require_finite(struct.unpack_from(f"{order}6f", header, 256), "qform")
    else:
        _require_rigid_sform(struct.unpack_from(f"{order}12f", header, 280), pixdim)


def _geometries(header: bytes, order: str) -> tuple[tuple[str, Affine], ...]:
    """Return qform and sform, in LPS, where both are there and should agree.

    An sform to an atlas (codes 3 and above) is meant to differ.

    Raises:
        ImageContentError: They let an axis run in opposite directions.
    """
    qform, sform = struct.unpack_from(f"{order}hh", header, 252)
    if qform <= 0 or sform not in _SCANNER_CODES or header[123] & 7 not in _MM_UNITS:
        return ()
    rows = np.array(struct.unpack_from(f"{order}12f", header, 280), dtype=np.float64)
    if not np.isfinite(rows).all():
        return ()
    qform_affine, sform_affine = _qform(header, order), rows.reshape(3, 4)
    _require_same_way(qform_affine, sform_affine)
    both = (("qform", qform_affine), ("sform", sform_affine))
    return tuple((name, _lps(affine)) for name, affine in both)


def _require_same_way(
    qform: npt.NDArray[np.float64], sform: npt.NDArray[np.float64]
) -> None:
    """Refuse a header in which an axis runs one way and also the opposite way."""
    opposite = (qform[:, :3] * sform[:, :3]).sum(axis=0) < 0
    if opposite.any():
        axes = " and ".join(np.array(["x", "y", "z"])[opposite])
        raise ImageContentError(
            f"qform and sform let the image's {axes} axis run in opposite directions, "
            "so left and right cannot be told apart; convert it again from the DICOM "
            "series"
        )


def _qform(header: bytes, order: str) -> npt.NDArray[np.float64]:
    """Return the qform as a 3 x 4 matrix, in RAS (nifti1.h, method 2)."""
    b, c, d, *offset = struct.unpack_from(f"{order}6f", header, 256)
    a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handed, dx, dy, dz = struct.unpack_from(f"{order}4f", header, 76)
    scale = np.array([dx, dy, -dz if handed < 0 else dz])
    return np.column_stack([rotation * scale, offset])


def _lps(affine: npt.NDArray[np.float64]) -> Affine:
    return tuple(map(tuple, (np.diag([-1.0, -1.0, 1.0]) @ affine).tolist()))


def _require_finite(numbers: tuple[float, ...], what: str) -> None:
    if not all(math.isfinite(number) for number in numbers):
        raise ImageContentError(f"the {what} must be finite, got {numbers}")


def _require_rigid_sform(
    rows: tuple[float, ...], pixdim: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    """Refuse an sform that ITK would quietly replace by another geometry."""
    _require_finite(rows, "sform")
    columns = np.array(rows, dtype=np.float64).reshape(3, 4)[:, :3].T
    lengths = np.linalg.norm(columns, axis=1)
    if not (np.abs(lengths - pixdim) <= _SCALE_TOLERANCE * pixdim).all():
        raise ImageContentError(
            "the header contradicts itself: spacing in mm is "
            f"{tuple(pixdim.round(4).tolist())} in pixdim, but "
            f"{tuple(lengths.round(4).tolist())} in the sform; convert the image again"
        )
    axes = columns / lengths[:, None]
    shear = float(np.abs(axes @ axes.T - np.eye(3)).max())
    if shear > _SHEAR_TOLERANCE:
        raise ImageContentError(
            f"direction must be orthonormal, but the sform is sheared by {shear:.3g}; "
            "resample the image onto a rectangular grid"
        )
