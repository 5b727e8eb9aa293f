"""How far a registration is from a gold standard of point pairs, in mm.

RIRE's standards (West et al., doi:10.1097/00004728-199707000-00007) list points of a
CT and where each lies in the MR, known from markers fixed to the bone. The points are
corners of a box around the head; what matters is the error inside the head, so the
rigid motion that the pairs define is compared over a region of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from hanseg_shared.errors import ImageContentError, InputError
from hanseg_shared.grid import Grid, Points
from hanseg_shared.itk import resample
from hanseg_shared.volume import Mask, Volume

FIT_TOLERANCE_MM = 0.01
"""How well a rigid motion must explain a standard's point pairs."""

BRAIN_SPACING_MM = 4.0
"""Distance between the points that stand for the brain."""

BRAIN_HU = (0.0, 80.0)
"""Values of brain, with its vessels and fluid; the skull around it is brighter."""

BRAIN_DEPTH_MM = 6.0
"""How far from skull and air a point must be to count as brain: beyond the scalp."""


@dataclass(frozen=True, slots=True)
class LandmarkError:
    """Distances between where points are put and where they belong, in mm."""

    mean_mm: float
    max_mm: float


def landmark_error(
    mr_from_ct: sitk.Transform,
    *,
    ct_points: npt.ArrayLike,
    mr_points: npt.ArrayLike,
    region: Points,
) -> LandmarkError:
    """Return a transform's error over a region, against a standard's point pairs.

    Args:
        mr_from_ct: The transform under test: maps CT points to MR points, mm LPS.
        ct_points: The standard's points in the CT, mm LPS, ``(n, 3)``, n >= 3.
        mr_points: Where those lie in the MR, ``(n, 3)``.
        region: Points of the CT to evaluate over, ``(m, 3)``; see `brain_points`.

    Raises:
        InputError: The region is empty, or no rigid motion explains the pairs.
    """
    if len(region) == 0:
        raise InputError("the region to evaluate over has no points")
    gold = rigid_fit(ct_points, mr_points)
    belongs = region @ gold[:3, :3].T + gold[:3, 3]
    put = np.array([mr_from_ct.TransformPoint(point) for point in region.tolist()])
    distances = np.linalg.norm(put - belongs, axis=1)
    return LandmarkError(float(distances.mean()), float(distances.max()))


def rigid_fit(
    from_points: npt.ArrayLike, to_points: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return the rigid motion, 4 x 4, that maps points to others by least squares.

    Kabsch's solution (doi:10.1107/S0567739476001873).

    Raises:
        InputError: There are fewer than three pairs, or the motion leaves more than
            `FIT_TOLERANCE_MM`.
    """
    first = np.asarray(from_points, dtype=np.float64)
    second = np.asarray(to_points, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2 or len(first) < 3:
        raise InputError(
            "a standard needs three point pairs or more, got shapes "
            f"{first.shape} and {second.shape}"
        )
    middle, other_middle = first.mean(axis=0), second.mean(axis=0)
    u, _, vt = np.linalg.svd((first - middle).T @ (second - other_middle))
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    motion = np.eye(4)
    motion[:3, :3] = vt.T @ handed @ u.T
    motion[:3, 3] = other_middle - motion[:3, :3] @ middle
    _require_fit(first @ motion[:3, :3].T + motion[:3, 3], second)
    return motion


def _require_fit(fitted: Points, wanted: Points) -> None:
    residual = float(np.abs(fitted - wanted).max())
    if not residual <= FIT_TOLERANCE_MM:
        raise InputError(
            f"no rigid motion explains the point pairs: {residual:.3g} mm remain, "
            f"{FIT_TOLERANCE_MM} mm are allowed"
        )


def brain_points(ct: Volume) -> Points:
    """Return points of a CT's brain, a few mm apart, in mm LPS, ``(n, 3)``.

    The brain is the largest piece of soft tissue that stays when everything near
    bone or air is taken away. Empty if there is no such piece.

    Raises:
        ImageContentError: The CT has no voxel with the values of brain.
    """
    spacing = (BRAIN_SPACING_MM, BRAIN_SPACING_MM, BRAIN_SPACING_MM)
    grid = Grid.axis_aligned(ct.grid.corners(), spacing=spacing)
    small = resample(_smooth(ct), grid, background=-1000.0)
    soft = (small.array > BRAIN_HU[0]) & (small.array < BRAIN_HU[1])
    if not soft.any():
        raise ImageContentError("the CT has no voxel with the values of brain")
    depth = ndimage.distance_transform_edt(soft, sampling=spacing)
    return grid.index_to_world(np.argwhere(_largest(depth > BRAIN_DEPTH_MM))[:, ::-1])


def _smooth(ct: Volume) -> Volume:
    """Return the CT blurred to the spacing of the points, so that noise is gone."""
    sigmas = [BRAIN_SPACING_MM / 2.0 / s for s in ct.grid.spacing[::-1]]
    return ct.with_array(ndimage.gaussian_filter(ct.array.astype(np.float32), sigmas))


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    return np.asarray(labels == 1 + np.bincount(labels.ravel())[1:].argmax())
