"""A smooth, invertible deformation of a patient, with the neck bent.

It is made as the pull-back ``u -> u + w(u)``, from the bent patient to the CT. With
``|w'| < 1`` that is a contraction's complement: one-to-one, and its inverse, which
moves points of the CT, is the limit of ``u = p - w(u)`` (Banach). `w` is linear
between the points of a lattice, for images and for points alike, so both see the
same deformation to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from hanseg_shared.errors import OptionError
from hanseg_shared.grid import Grid, Points

Vectors = npt.NDArray[np.float64]

LATTICE_MM = 6.0
"""Distance between the lattice's points: a tenth of the shortest wave."""

SMOOTHNESS_MM = (32.0, 40.0, 50.0, 62.0, 78.0)
"""Width of the random part's Gaussian; the first that does not fold is taken."""

FLEXION_LENGTH_MM = 110.0
"""Length of neck over which the bend grows to its full angle."""

FLEXION_SHARE = (0.4, 0.7)
"""Share of the bend in the deformation; the rest is random."""

HEAD_RADIUS_MM = 120.0
"""Beyond it, where no patient is, the bend grows no further."""

LARGEST_STRETCH = 0.75
"""Bound of the largest singular value of ``w'``; below 1 nothing folds."""

ITERATIONS = 60
"""Steps of the inverse: 0.75^60 of a centimetre is far below a rounding error."""

LARGEST_DEFORMATION_MM = 8.0
"""Largest mean deformation; a patient does not deform more."""


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedDeformation:
    """Moves points of the CT to where the bent patient has them, before the pose.

    Attributes:
        grid: The lattice, LPS-aligned, in the CT's coordinates.
        pull: ``w`` in mm on it, shape (z, y, x, 3).
    """

    grid: Grid
    pull: Vectors

    def to_ct(self, bent: npt.ArrayLike) -> Points:
        """Return the CT's points that lie at points of the bent patient, (n, 3)."""
        points = np.reshape(np.asarray(bent, np.float64), (-1, 3))
        return points + self._pull_at(points)

    def to_bent(self, ct_points: npt.ArrayLike) -> Points:
        """Return where points of the CT, ``(n, 3)``, lie in the bent patient."""
        points = np.reshape(np.asarray(ct_points, np.float64), (-1, 3))
        bent = points.copy()
        for _ in range(ITERATIONS):
            bent = points - self._pull_at(bent)
        return bent

    def transform(self) -> sitk.Transform:
        """Return the map from bent points to CT points, for resampling."""
        image = sitk.GetImageFromArray(self.pull, isVector=True)
        image.SetOrigin(self.grid.origin)
        image.SetSpacing(self.grid.spacing)
        return sitk.DisplacementFieldTransform(image)

    def smallest_jacobian(self) -> float:
        """Return the smallest determinant of the pull-back's gradient; 1 is rigid."""
        gradient = _gradient(self.pull) + np.eye(3)
        return float(np.linalg.det(gradient).min())

    def _pull_at(self, points: Points) -> Points:
        index = self.grid.world_to_index(points).T[::-1]
        return np.stack(
            [
                ndimage.map_coordinates(
                    self.pull[..., a], index, order=1, mode="nearest"
                )
                for a in range(3)
            ],
            axis=1,
        )


def draw_deformation(
    body: Points,
    *,
    mean_mm: float,
    region: Grid,
    pivot: npt.ArrayLike,
    rng: np.random.Generator,
) -> SimulatedDeformation:
    """Return a random deformation of known mean over a body, without a rigid part.

    Args:
        body: The points, in mm of the CT, over which the mean is taken, ``(n, 3)``.
        mean_mm: The mean length of their displacement.
        region: Everything that is ever asked for, in the CT's coordinates.
        pivot: Where the neck begins to bend: below the skull's base, mm of the CT.
        rng: Source of randomness.

    Raises:
        OptionError: The mean is negative, or too large for a patient or to be
            invertible.
    """
    if not 0 < mean_mm <= LARGEST_DEFORMATION_MM:
        raise OptionError(
            f"a deformation must have a mean of 0 to {LARGEST_DEFORMATION_MM:g} mm, "
            f"got {mean_mm:g}"
        )
    lattice = Grid.axis_aligned(
        region.corners(), spacing=(LATTICE_MM,) * 3, margin_mm=30.0
    )
    share = float(rng.uniform(*FLEXION_SHARE))
    signs = rng.choice((-1.0, 1.0)), rng.normal(0, 0.3)
    bend = _flexion(lattice, np.asarray(pivot, np.float64), signs)
    for smoothness_mm in SMOOTHNESS_MM:
        waves = _smooth(rng.standard_normal((*lattice.shape, 3)), smoothness_mm)
        pull = share * _unit(bend, lattice, body) + (1 - share) * _unit(
            waves, lattice, body
        )
        found = _scale_to_mean(SimulatedDeformation(lattice, pull), body, mean_mm)
        if not _may_fold(found.pull):
            return found
        share *= 0.6
    raise OptionError(
        f"no deformation of {mean_mm:g} mm is invertible over so small a region"
    )


def _flexion(grid: Grid, pivot: Points, signs: tuple[float, float]) -> Vectors:
    """Return the displacements of a bend of the neck by about half a radian.

    Args:
        grid: The lattice.
        pivot: Where the bend begins, mm.
        signs: Nodding to the front or the back, and the share of bending sideways.
    """
    k, j, i = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    points = grid.index_to_world(np.stack([i, j, k], axis=-1)) - pivot
    near = HEAD_RADIUS_MM * np.tanh(points / HEAD_RADIUS_MM)
    t = np.clip(-points[..., 2] / FLEXION_LENGTH_MM, 0, 1)
    angle = 0.25 * t**2 * (3 - 2 * t)
    moved = np.zeros_like(points)
    for axis, sign in zip((1, 0), signs, strict=True):
        moved[..., axis] += sign * angle * near[..., 2]
        moved[..., 2] -= sign * angle * near[..., axis]
    return moved


def _smooth(noise: Vectors, width_mm: float) -> Vectors:
    sigma = width_mm / LATTICE_MM
    return ndimage.gaussian_filter(noise, (sigma, sigma, sigma, 0), mode="reflect")


def _unit(pull: Vectors, grid: Grid, body: Points) -> Vectors:
    """Return displacements less what a pose explains, of mean length 1 over a body.

    Translation and rotation are fitted as small motions, ``t + r x p``.
    """
    centre = body.mean(axis=0)
    moved = SimulatedDeformation(grid, pull).to_ct(body) - body
    motion, *_ = np.linalg.lstsq(
        _small_motions(body - centre).reshape(-1, 6), moved.ravel(), rcond=None
    )
    k, j, i = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    points = grid.index_to_world(np.stack([i, j, k], axis=-1)) - centre
    rest = pull - _small_motions(points) @ motion
    lengths = np.linalg.norm(
        SimulatedDeformation(grid, rest).to_ct(body) - body, axis=1
    )
    return rest / max(float(lengths.mean()), 1e-9)


def _small_motions(points: Points) -> Vectors:
    """Return ``(..., 3, 6)``: displacements by unit shifts and unit rotations."""
    x, y, z = np.moveaxis(points, -1, 0)
    result = np.zeros((*points.shape, 6))
    result[..., 0, 0] = result[..., 1, 1] = result[..., 2, 2] = 1
    result[..., 1, 3], result[..., 2, 3] = -z, y
    result[..., 2, 4], result[..., 0, 4] = -x, z
    result[..., 0, 5], result[..., 1, 5] = -y, x
    return result


def _scale_to_mean(
    unit: SimulatedDeformation, body: Points, mean_mm: float
) -> SimulatedDeformation:
    """Scale displacements until those of the body's own points have the mean."""
    factor = mean_mm
    for _ in range(3):
        found = SimulatedDeformation(unit.grid, unit.pull * factor)
        if _may_fold(found.pull):
            return found
        factor *= mean_mm / mean_displacement(found, body)
    return SimulatedDeformation(unit.grid, unit.pull * factor)


def mean_displacement(deformation: SimulatedDeformation, points: Points) -> float:
    """Return how far points of the CT, ``(n, 3)``, move in the mean, in mm."""
    return float(np.linalg.norm(deformation.to_bent(points) - points, axis=1).mean())


def _may_fold(pull: Vectors) -> bool:
    """Whether the largest singular value of ``w'`` passes its bound anywhere."""
    gradient = _gradient(pull)
    steep = gradient[np.linalg.norm(gradient, axis=(-2, -1)) > LARGEST_STRETCH]
    return bool((np.linalg.norm(steep, ord=2, axis=(-2, -1)) > LARGEST_STRETCH).any())


def _gradient(pull: Vectors) -> Vectors:
    """Return dw_a/dx_b in every cell's lower corner, shape (..., a, b)."""
    cells = tuple(slice(0, n - 1) for n in pull.shape[:3])
    steps = [np.diff(pull, axis=2 - b)[cells] / LATTICE_MM for b in range(3)]
    return np.stack(steps, axis=-1)
