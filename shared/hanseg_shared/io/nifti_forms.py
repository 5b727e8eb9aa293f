"""Where a NIfTI-1 header puts its voxels: its qform, its sform, and which counts.

A header may say it twice: as pixdim with a quaternion (qform) and as a matrix (sform).
Programs differ in which they follow, so the two must agree. Field offsets and methods:
nifti1.h, https://nifti.nimh.nih.gov/nifti-1.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from hanseg_shared.affine import (
    Matrix34,
    apart_mm,
    apart_voxels,
    nearest_rotation,
    shear_degrees,
    spacing_of,
    turn_degrees,
    without_shift,
)
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import SAME_GRID_VOXELS, Vector
from hanseg_shared.io.layout import Geometry, Size

_SCANNER = 1
_SCANNER_CODES = {1, 2}
"""Codes of the scanner's own space; from 3 on, a matrix leads to an atlas."""

_MM_OF_UNIT = {1: 1000.0, 3: 0.001}
"""Metres and micrometres, by ``xyzt_units & 7``; anything else is read as mm."""

_REFUSED_VOXELS = 1.0
"""Two forms that disagree by more than this over the image are refused."""

_REPORTED_VOXELS = 0.25
"""From this share of a voxel on, two forms put the image in two places."""

_TOLD_DEGREES = 0.001
"""Smaller angles are not reported."""

_QUATERNION_EXCESS = 1e-5
"""Most by which rounding lets ``b² + c² + d²`` exceed 1."""

_HALF_TURN = 1e-7
"""Below this, ``a²`` is taken for 0, as nifti1_io.c does."""

_QUATERNION_STEP = 2.0**-23
"""Most by which ``b² + c² + d²`` of 32-bit numbers is off."""

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])
_AGAIN = "convert it again from the DICOM series"


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """One of the two statements: its name, its 3 x 4 matrix (mm LPS), its vagueness.

    Attributes:
        name: ``qform`` or ``sform``.
        affine: Maps indices (x, y, z, 1) to mm LPS.
        vague_rad: By how much its angles are off, since it is stored in 32 bits.
    """

    name: str
    affine: Matrix34
    vague_rad: float = 0.0


def read_geometry(
    header: bytes, order: str, size: Size
) -> tuple[Geometry, tuple[str, ...]]:
    """Return where the voxels lie, and what a person should know of it.

    ITK's choice: the sform if its code is 1 or there is no qform, else the qform.

    Args:
        header: The first 348 bytes of the file.
        order: Its byte order, as `struct` writes it.
        size: Number of voxels along x, y, z.

    Raises:
        ImageContentError: The header says nothing usable, or contradicts itself.
    """
    qcode, scode = struct.unpack_from(f"{order}hh", header, 252)
    pixdim = _pixdim(header, order)
    if qcode <= 0 and scode <= 0:
        raise ImageContentError(
            "the header does not say how the image lies in the patient (qform_code and "
            f"sform_code are 0), so left and right cannot be told apart; {_AGAIN}"
        )
    qform = _qform(header, order, pixdim) if qcode > 0 else None
    sform = _sform(header, order, alone=qform is None) if scode > 0 else None
    if qform is None or sform is None:
        form = qform or sform
        assert form is not None  # one code is positive, and a lone form must be usable
        return _geometry_of(form, pixdim, size), _spacing_remarks(form, pixdim, size)
    followed = sform if scode == _SCANNER else qform
    if scode not in _SCANNER_CODES and scode != qcode:
        return _geometry_of(followed, pixdim, size), ()
    _require_agreement(qform, sform, size)
    remarks = _remarks(qform, sform, size, followed.name)
    return _geometry_of(followed, pixdim, size), remarks


def _pixdim(header: bytes, order: str) -> Matrix34:
    """Return the voxels' spacing in mm, shape ``(3,)``."""
    pixdim = np.array(struct.unpack_from(f"{order}3f", header, 80), dtype=np.float64)
    spacing = tuple(pixdim.tolist())
    if (pixdim < 0).any():
        raise ImageContentError(
            f"spacing must be positive and finite, got {spacing} mm in pixdim: "
            "programs differ in whether a negative one exchanges left and right; "
            "convert it again from the DICOM series, or make pixdim positive if its "
            "sform is right"
        )
    if not (np.isfinite(pixdim).all() and (pixdim > 0).all()):
        raise ImageContentError(
            f"spacing must be positive and finite, got {spacing} mm in pixdim; {_AGAIN}"
        )
    return pixdim * _mm_of_unit(header)


def _mm_of_unit(header: bytes) -> float:
    return _MM_OF_UNIT.get(header[123] & 7, 1.0)


def _qform(header: bytes, order: str, pixdim: Matrix34) -> _Form:
    """Return the qform (nifti1.h, method 2)."""
    numbers = struct.unpack_from(f"{order}6f", header, 256)
    _require_finite(numbers, "qform")
    quaternion, offset = np.array(numbers[:3]), np.array(numbers[3:])
    square = float(quaternion @ quaternion)
    if square > 1.0 + _QUATERNION_EXCESS:
        raise ImageContentError(
            "the qform's quaternion is no rotation: the squares of b, c and d add up "
            f"to {square:.6g}, more than 1; {_AGAIN}"
        )
    if 1.0 - square < _HALF_TURN:
        quaternion, square = quaternion / math.sqrt(square), 1.0
    rotation = _rotation(math.sqrt(1.0 - square), *quaternion)
    (handed,) = struct.unpack_from(f"{order}f", header, 76)
    scale = pixdim * [1.0, 1.0, -1.0 if handed < 0 else 1.0]
    affine = np.column_stack([rotation * scale, offset * _mm_of_unit(header)])
    return _Form("qform", _LPS_FROM_RAS @ affine, _vague_rad(1.0 - square))


def _rotation(a: float, b: float, c: float, d: float) -> Matrix34:
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


def _vague_rad(square: float) -> float:
    """Return how vague a rotation is whose ``a²`` is only what b, c and d leave of 1.

    Near half a turn, a tilt is the root of a rounding error.
    """
    low, high = max(0.0, square - _QUATERNION_STEP), square + _QUATERNION_STEP
    return 2.0 * (math.sqrt(high) - math.sqrt(low))


def _sform(header: bytes, order: str, *, alone: bool) -> _Form | None:
    """Return the sform (nifti1.h, method 3); None if it is empty and not alone."""
    rows = struct.unpack_from(f"{order}12f", header, 280)
    if not alone and not all(math.isfinite(number) for number in rows):
        return None
    _require_finite(rows, "sform")
    affine = np.array(rows, dtype=np.float64).reshape(3, 4) * _mm_of_unit(header)
    if not spacing_of(affine).all():
        raise ImageContentError(
            "spacing must be positive, but an axis of the sform has no length; "
            f"{_AGAIN}"
        )
    return _Form("sform", _LPS_FROM_RAS @ affine)


def _require_finite(numbers: tuple[float, ...], what: str) -> None:
    if not all(math.isfinite(number) for number in numbers):
        raise ImageContentError(
            f"the {what} must be finite, got {tuple(numbers)}; {_AGAIN}"
        )


def _geometry_of(form: _Form, pixdim: Matrix34, size: Size) -> Geometry:
    """Return spacing, first voxel and direction of the form that counts.

    Raises:
        ImageContentError: Its spacing is not pixdim's.
    """
    lengths = spacing_of(form.affine)
    off = _off_mm(form, pixdim, size)
    if off > _REFUSED_VOXELS * float(pixdim.min()):
        raise ImageContentError(
            f"the header contradicts itself: spacing is {_mm(pixdim)} in pixdim, but "
            f"{_mm(lengths)} in the {form.name}, {off:.3g} mm over the image"
            f"{_tilt(form)}; {_AGAIN}"
        )
    # pixdim has what was meant, without the rounding of the matrix
    spacing = pixdim if off <= SAME_GRID_VOXELS * float(pixdim.min()) else lengths
    first, second, third = (_vector(row) for row in form.affine[:, :3] / spacing)
    return Geometry(
        _vector(spacing), _vector(form.affine[:, 3]), (first, second, third)
    )


def _spacing_remarks(form: _Form, pixdim: Matrix34, size: Size) -> tuple[str, ...]:
    off = _off_mm(form, pixdim, size)
    if off <= _REPORTED_VOXELS * float(pixdim.min()):
        return ()
    return (
        f"spacing is {_mm(pixdim)} in pixdim, but {_mm(spacing_of(form.affine))} in "
        f"the {form.name}, {off:.3g} mm over the image; the {form.name} is followed, "
        "as by nibabel, but not by all programs",
    )


def _off_mm(form: _Form, pixdim: Matrix34, size: Size) -> float:
    """Return how far, over the image, a form's spacing and pixdim lead apart."""
    off = np.abs(spacing_of(form.affine) - pixdim) * (np.array(size) - 1)
    return float(off.max())


def _tilt(form: _Form) -> str:
    shear = shear_degrees(form.affine)
    if shear <= _TOLD_DEGREES:
        return ""
    return (
        f", and its axes are sheared by {shear:.3g} degrees (a gantry tilt must be "
        "resampled onto a rectangular grid)"
    )


def _vector(values: Matrix34) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _require_agreement(qform: _Form, sform: _Form, size: Size) -> None:
    """Refuse two forms that differ in angle, scale, shear or handedness.

    Raises:
        ImageContentError: By more than a voxel over the image, with both named.
    """
    opposite = (qform.affine[:, :3] * sform.affine[:, :3]).sum(axis=0) < 0
    if opposite.any():
        axes = " and ".join(np.array(["x", "y", "z"])[opposite])
        raise ImageContentError(
            f"qform and sform let the image's {axes} axis run in opposite directions, "
            f"so left and right cannot be told apart; {_AGAIN}"
        )
    meant = _as_meant(qform, sform)
    apart = apart_voxels(size, meant, without_shift(sform.affine, meant))
    if apart > _REFUSED_VOXELS:
        raise ImageContentError(
            f"qform and sform contradict each other by up to {apart:.3g} voxels over "
            f"the image ({'; '.join(_contradictions(qform, sform))}), and nobody can "
            f"tell which is right; {_AGAIN}, or keep only the form that is right (set "
            "the other's code to 0)"
        )


def _as_meant(qform: _Form, sform: _Form) -> Matrix34:
    """Return the qform; turned as the sform if only its rounding tells them apart."""
    turn = math.radians(turn_degrees(qform.affine, sform.affine))
    if turn > qform.vague_rad:
        return qform.affine
    linear = sform.affine[:, :3] / spacing_of(sform.affine)
    rotation = nearest_rotation(linear)
    return np.column_stack([rotation * spacing_of(qform.affine), qform.affine[:, 3]])


def _contradictions(qform: _Form, sform: _Form) -> list[str]:
    parts = []
    shear = shear_degrees(sform.affine)
    if shear > _TOLD_DEGREES:
        parts.append(f"the sform is sheared by {shear:.3g} degrees, the qform is not")
    spacings = [spacing_of(form.affine) for form in (qform, sform)]
    if _mm(spacings[0]) != _mm(spacings[1]):
        parts.append(
            f"spacing is {_mm(spacings[0])} in the qform, {_mm(spacings[1])} in the "
            "sform"
        )
    if np.linalg.det(qform.affine[:, :3]) * np.linalg.det(sform.affine[:, :3]) < 0:
        return [*parts, "one is the other's mirror image"]
    turn = turn_degrees(qform.affine, sform.affine)
    if turn > _TOLD_DEGREES and turn > 0.6 * shear:
        parts.append(f"they are turned by {turn:.3g} degrees against each other")
    return parts


def _remarks(qform: _Form, sform: _Form, size: Size, followed: str) -> tuple[str, ...]:
    meant = _as_meant(qform, sform)
    apart = apart_mm(size, meant, sform.affine)
    if apart <= _REPORTED_VOXELS * float(spacing_of(meant).min()):
        return ()
    return (
        f"qform and sform put its voxels up to {apart:.3g} mm apart; the {followed} is "
        "followed, as by ITK and 3D Slicer, but not by all programs",
    )


def _mm(spacing: Matrix34) -> str:
    return " x ".join(f"{value:.6g}" for value in spacing) + " mm"
