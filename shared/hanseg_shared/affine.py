"""How far apart two geometries put the voxels of one image, and in what they differ.

An affine here is the 3 x 4 matrix that maps voxel indices (x, y, z, 1) to mm. Headers
state geometries that need not be rigid; a `Grid` holds only those that are.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

Matrix34 = npt.NDArray[np.float64]
Size = tuple[int, int, int]

_REPORTED_VOXELS = 0.02
"""A difference that moves no voxel by more than this share of one is not reported."""

_AXIS_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))


def nearest_rotation(matrix: npt.ArrayLike) -> Matrix34:
    """Return the orthogonal matrix nearest to a 3 x 3 matrix, as mirrored as it is.

    The orthogonal factor of the polar decomposition; K. Fan, A. J. Hoffman (1955),
    https://doi.org/10.1090/S0002-9939-1955-0067841-7.
    """
    left, _, right = np.linalg.svd(np.asarray(matrix, dtype=np.float64))
    return np.asarray(left @ right)


def spacing_of(affine: Matrix34) -> npt.NDArray[np.float64]:
    """Return the lengths of an affine's axes in mm, shape ``(3,)``."""
    return np.asarray(np.linalg.norm(affine[:, :3], axis=0))


def apart_mm(size: Size, one: Matrix34, other: Matrix34) -> float:
    """Return how far apart, at most, two geometries put a voxel of an image, in mm."""
    # the difference of two affines is affine: it is greatest at a corner
    corners = np.array(list(itertools.product(*((0.0, n - 1.0) for n in size))))
    difference = np.asarray(one) - np.asarray(other)
    moved = corners @ difference[:, :3].T + difference[:, 3]
    return float(np.linalg.norm(moved, axis=1).max())


def apart_voxels(size: Size, one: Matrix34, other: Matrix34) -> float:
    """Return the same as a share of the first geometry's shortest voxel edge."""
    return apart_mm(size, one, other) / float(spacing_of(one).min())


def without_shift(affine: Matrix34, other: Matrix34) -> Matrix34:
    """Return the affine, moved so that its first voxel lies where the other's does."""
    return np.column_stack([affine[:, :3], other[:, 3]])


def shear_degrees(affine: Matrix34) -> float:
    """Return by how many degrees two axes are farthest from a right angle."""
    axes = affine[:, :3] / spacing_of(affine)
    cosines = np.abs(axes.T @ axes - np.diag(np.diag(axes.T @ axes))).max()
    return math.degrees(math.asin(min(1.0, float(cosines))))


def turn_degrees(one: Matrix34, other: Matrix34) -> float:
    """Return the angle between two directions of equal handedness, in degrees."""
    first = nearest_rotation(one[:, :3] / spacing_of(one))
    second = nearest_rotation(other[:, :3] / spacing_of(other))
    # from the chord: the cosine of a small angle is rounded to 1
    chord = float(np.linalg.norm(first - second)) / (2.0 * math.sqrt(2.0))
    return math.degrees(2.0 * math.asin(min(1.0, chord)))


def orientation_of(direction: npt.ArrayLike) -> str:
    """Return the nearest anatomical direction of each axis (mm LPS), such as `LPS`."""
    letters = []
    for column in np.asarray(direction, dtype=np.float64).T:
        axis = int(np.abs(column).argmax())
        letters.append(_AXIS_LETTERS[axis][int(column[axis] > 0)])
    return "".join(letters)


def differences(size: Size, expected: Matrix34, got: Matrix34) -> list[str]:
    """Return in what a geometry, in mm LPS, differs from the one that was expected.

    Each is named with its amount, and only if it moves a voxel noticeably, so that no
    two values that look equal are ever called different.

    Args:
        size: Number of voxels along x, y, z.
        expected: Where the voxels should lie.
        got: Where they lie.
    """
    wanted, found = spacing_of(expected), spacing_of(got)
    told = _REPORTED_VOXELS * float(wanted.min())
    parts = []
    if float((np.abs(found - wanted) * (np.array(size) - 1)).max()) > told:
        parts.append("spacing {} mm, not {} mm".format(*_texts(found, wanted, "x")))
    axes = np.column_stack([expected[:, :3] / wanted * found, got[:, 3]])
    if apart_mm(size, axes, got) > told:
        parts.append(_direction(expected, got))
    shift = float(np.linalg.norm(got[:, 3] - expected[:, 3]))
    if shift > told:
        there = "({}), not at ({})".format(
            *_texts(got[:, 3], expected[:, 3], ", ", digits=6)
        )
        parts.append(f"the first voxel lies {shift:.3g} mm away, at {there}")
    return parts


def _direction(expected: Matrix34, got: Matrix34) -> str:
    ways = (
        orientation_of(got[:, :3] / spacing_of(got)),
        orientation_of(expected[:, :3] / spacing_of(expected)),
    )
    if ways[0] != ways[1]:
        return f"its axes run {ways[0]}, not {ways[1]}"
    if np.linalg.det(got[:, :3]) * np.linalg.det(expected[:, :3]) < 0:
        return "one is the other's mirror image"
    shears = [shear_degrees(got), shear_degrees(expected)]
    if max(shears) > 0.5 * turn_degrees(got, expected):
        return f"its axes are sheared by {max(shears):.3g} degrees"
    return f"it is turned by {turn_degrees(got, expected):.3g} degrees"


def _texts(
    one: npt.NDArray[np.float64],
    other: npt.NDArray[np.float64],
    separator: str,
    *,
    digits: int = 4,
) -> tuple[str, str]:
    """Return two lists of numbers with so many digits that they do not look alike."""
    for count in range(digits, 18):
        first, second = (
            separator.join(f"{v + 0.0:.{count}g}" for v in values)
            for values in (one, other)
        )
        if first != second:
            break
    return first, second
