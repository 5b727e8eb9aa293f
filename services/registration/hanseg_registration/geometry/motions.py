"""Motions of points: homogeneous 4 x 4 matrices in mm LPS, and the same for ITK.

A matrix is named after what it does: ``mr_from_ct`` maps points of the CT to points
of the MR, as an ITK transform that resamples the MR onto the CT does. Read aloud,
``mr_from_ct @ ct_from_head`` is in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from hanseg_shared.errors import OptionError, RegistrationError
from hanseg_shared.grid import Points
from hanseg_shared.itk import matrix_of

Motion = Float[np.ndarray, "4 4"]

ORTHONORMAL_TOLERANCE = 1e-6
"""Largest deviation of ``R R^T`` from identity of a motion that counts as rigid."""


def translation(offset_mm: npt.ArrayLike) -> Motion:
    """Return the motion that adds `offset_mm` (x, y, z) to a point."""
    motion = np.eye(4)
    motion[:3, 3] = offset_mm
    return motion


def rotation(angles_deg: npt.ArrayLike, *, centre: npt.ArrayLike) -> Motion:
    """Return the turn by angles about x, then y, then z, that keeps `centre`."""
    turn = np.eye(4)
    turn[:3, :3] = _rotation_matrix(angles_deg)
    middle = np.asarray(centre, dtype=np.float64)
    return translation(middle) @ turn @ translation(-middle)


def _rotation_matrix(angles_deg: npt.ArrayLike) -> npt.NDArray[np.float64]:
    angles = np.asarray(angles_deg, dtype=np.float64)
    return Rotation.from_euler("xyz", angles, degrees=True).as_matrix()


def inverse(motion: Motion) -> Motion:
    """Return the motion that undoes another.

    Raises:
        RegistrationError: The motion is not finite or squeezes space flat.
    """
    if not is_invertible(motion):
        raise RegistrationError("the transform is not finite and invertible")
    return np.linalg.inv(motion)


def is_invertible(motion: Motion) -> bool:
    """Whether a motion is finite, keeps handedness and can be undone."""
    if not np.isfinite(motion).all():
        return False
    return bool(np.linalg.det(motion[:3, :3]) > 0.1)


def is_rigid(motion: Motion) -> bool:
    """Whether a motion only turns and shifts."""
    linear = motion[:3, :3]
    deviation = np.abs(linear @ linear.T - np.eye(3)).max()
    return bool(deviation <= ORTHONORMAL_TOLERANCE and np.linalg.det(linear) > 0)


def apply(motion: Motion, points: npt.ArrayLike) -> Points:
    """Return where a motion takes points in mm LPS, shape ``(..., 3)``."""
    return np.asarray(points, dtype=np.float64) @ motion[:3, :3].T + motion[:3, 3]


def rotation_deg(motion: Motion) -> float:
    """Return the angle of a motion's rotation, in degrees, 0..180.

    The rotation of an affine motion is that of its polar decomposition.
    """
    u, _, vt = np.linalg.svd(motion[:3, :3])
    return float(np.degrees(Rotation.from_matrix(u @ vt).magnitude()))


def stretch(motion: Motion) -> float:
    """Return the largest change of a length by a motion, as a share of it."""
    return float(np.abs(np.linalg.svd(motion[:3, :3])[1] - 1.0).max())


def scale(motion: Motion) -> float:
    """Return how much a motion grows lengths on average over directions, as a share."""
    return float(np.cbrt(np.linalg.det(motion[:3, :3])) - 1.0)


def shear(motion: Motion) -> float:
    """Return the largest change of a right angle between two axes, in radians.

    It is twice the largest off-diagonal of the symmetric part of the motion's polar
    decomposition, along the patient's axes.
    """
    _, sizes, vt = np.linalg.svd(motion[:3, :3])
    symmetric = vt.T @ np.diag(sizes) @ vt
    return float(2.0 * np.abs(symmetric - np.diag(np.diag(symmetric))).max())


def distances_mm(one: Motion, other: Motion, points: Points) -> Points:
    """Return how far apart two motions put each point, in mm, shape ``(n,)``."""
    return np.linalg.norm(apply(one, points) - apply(other, points), axis=-1)


def mean_motion(motions: Sequence[Motion], *, centre: Points) -> Motion:
    """Return the rigid motion in the middle of rigid motions that are close together.

    The rotation is the chordal mean (Hartley et al. 2013,
    doi:10.1007/s11263-012-0601-0); the shift takes `centre` to the mean of the points
    that the motions take it to.
    """
    turns = Rotation.from_matrix(np.stack([each[:3, :3] for each in motions]))
    middle = np.eye(4)
    middle[:3, :3] = turns.mean().as_matrix()
    there = np.mean([apply(each, centre) for each in motions], axis=0)
    middle[:3, 3] = there - middle[:3, :3] @ centre
    return middle


def to_transform(motion: Motion) -> sitk.Transform:
    """Return a motion as an ITK transform: Euler where it is rigid, else affine."""
    linear = [float(v) for v in motion[:3, :3].ravel()]
    transform = sitk.Euler3DTransform() if is_rigid(motion) else sitk.AffineTransform(3)
    transform.SetMatrix(linear)
    transform.SetTranslation([float(v) for v in motion[:3, 3]])
    return transform


def from_transform(transform: sitk.Transform) -> Motion:
    """Return a linear ITK transform as a matrix.

    Raises:
        RegistrationError: The transform is not linear.
    """
    motion = matrix_of(transform)
    if motion is None:
        raise RegistrationError(f"{transform.GetName()} is not a linear transform")
    return motion


def read_motion(path: Path) -> Motion:
    """Return the motion in an ITK transform file.

    Raises:
        OptionError: It is no such file, or the transform is not linear.
    """
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError:
        raise OptionError(
            f"{path.name} is no transform that ITK reads; write it as a .tfm file"
        ) from None
    if not transform.IsLinear():
        raise OptionError(
            f"{path.name} holds a {transform.GetName()}, which is not linear; a "
            "registration that is given must be rigid or affine"
        )
    return from_transform(transform)
