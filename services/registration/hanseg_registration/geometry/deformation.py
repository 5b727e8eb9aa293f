"""A smooth displacement of the CT's points: cubic B-splines on a lattice.

The free-form deformation of Rueckert et al. (1999, doi:10.1109/42.796284). Beyond the
lattice nothing moves; the outermost `BORDER` control points on every side are zero, so
that the displacement fades out instead of ending at an edge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float
from scipy import ndimage
from scipy.interpolate import BSpline

from hanseg_registration.geometry.motions import Motion, to_transform
from hanseg_shared.grid import Grid, Points
from hanseg_shared.itk import to_image
from hanseg_shared.volume import Volume

ORDER: Final = 3
"""Cubic: the displacement and its derivative are continuous."""

BORDER = 3
"""Control points of zero around those that were found: the reach of a cubic spline."""

Coefficients = Float[np.ndarray, "3 z y x"]
Component = npt.NDArray[np.float64]
Weights = Float[np.ndarray, "samples controls"]


@dataclass(frozen=True, slots=True, eq=False)
class Deformation:
    """How far a patient's tissue is displaced in the MR from where the CT has it.

    A point p of the CT is moved to p + u(p) before the rigid motion.

    Attributes:
        coefficients_mm: Of u's x, y and z component at each control point.
        lattice: Where the control points are, in the CT's frame.
    """

    coefficients_mm: Coefficients
    lattice: Grid

    @classmethod
    def fading(cls, coefficients_mm: Coefficients, lattice: Grid) -> Deformation:
        """Return a deformation that fades out beyond the control points given."""
        around = [(0, 0)] + [(BORDER, BORDER)] * 3
        x, y, z = (n + 2 * BORDER for n in lattice.size)
        grid = lattice.crop((-BORDER, -BORDER, -BORDER), (x, y, z))
        return cls(np.pad(coefficients_mm, around), grid)

    @classmethod
    def through(cls, displacement_mm: Coefficients, grid: Grid) -> Deformation:
        """Return the deformation that has given displacements at a grid's points.

        Args:
            displacement_mm: Of each point, its x, y and z component.
            grid: Where the points are.
        """
        around = [(0, 0)] + [(BORDER, BORDER)] * 3
        padded = np.pad(displacement_mm, around)
        x, y, z = (n + 2 * BORDER for n in grid.size)
        controls = np.stack([_controls(component) for component in padded])
        wider = grid.crop((-BORDER, -BORDER, -BORDER), (x, y, z))
        return cls.fading(controls, wider)

    def shift(self, offset_mm: Points) -> Deformation:
        """Return the same deformation where the CT's frame has another origin."""
        x, y, z = (np.array(self.lattice.origin) + offset_mm).tolist()
        return replace(self, lattice=replace(self.lattice, origin=(x, y, z)))

    def append_motion(self, motion: Motion) -> Deformation:
        """Return the deformation that does what this one and then a motion do.

        A spline through control points on a line is that line, so this is exact for
        points well within the lattice; the border's control points are not zero.
        """
        linear = motion[:3, :3]
        index = np.indices(self.lattice.shape).reshape(3, -1)[::-1].T
        points = self.lattice.index_to_world(index)
        moved = (points @ (linear - np.eye(3)).T + motion[:3, 3]).T
        turned = np.tensordot(linear, self.coefficients_mm, axes=1)
        return replace(self, coefficients_mm=turned + moved.reshape(turned.shape))

    def displacement_mm(self, points: Points) -> Points:
        """Return u at points in mm LPS, ``(n, 3)`` -> ``(n, 3)``."""
        index = self.lattice.world_to_index(points)[:, ::-1].T
        moved = [
            _evaluate_spline(component, index) for component in self.coefficients_mm
        ]
        return np.stack(moved, axis=1)

    def on_grid(self, grid: Grid) -> Coefficients:
        """Return u at every voxel of a grid that has the lattice's directions."""
        return self._sample(*self._indices(grid), derivative=None)

    def determinants(self, spacing_mm: float) -> npt.NDArray[np.float64]:
        """Return by how much the deformation changes a small volume, as a factor.

        It is the determinant of the Jacobian of p + u(p); where it is not positive,
        tissue is folded.

        Args:
            spacing_mm: Distance of the points, at most, that it is computed at; they
                cover the lattice.

        Returns:
            The determinants, shape ``(z, y, x)``.
        """
        x, y, z = (
            np.linspace(0, n - 1, 1 + int(np.ceil((n - 1) * s / spacing_mm)))
            for n, s in zip(self.lattice.size, self.lattice.spacing, strict=True)
        )
        steps = np.array(self.lattice.spacing)
        columns = [
            self._sample(x, y, z, derivative=axis) / steps[axis] for axis in range(3)
        ]
        along_axes = np.moveaxis(np.stack(columns), (0, 1), (-1, -2))
        jacobian = along_axes @ np.array(self.lattice.direction).T
        return np.linalg.det(jacobian + np.eye(3))

    def to_transform(self) -> sitk.Transform:
        """Return the deformation as an ITK transform: p -> p + u(p)."""
        images = [
            to_image(Volume(np.ascontiguousarray(each), self.lattice))
            for each in self.coefficients_mm
        ]
        return sitk.BSplineTransform(images, ORDER)

    def _indices(self, grid: Grid) -> tuple[Points, Points, Points]:
        """Return the lattice indices of a grid's columns, rows and slices."""
        start = self.lattice.world_to_index(grid.origin)
        x, y, z = (
            first + np.arange(n) * (step / own)
            for first, n, step, own in zip(
                start, grid.size, grid.spacing, self.lattice.spacing, strict=True
            )
        )
        return x, y, z

    def _sample(
        self, x: Points, y: Points, z: Points, *, derivative: int | None
    ) -> Coefficients:
        """Return u, or its derivative along an axis of the lattice, in lattice units.

        On a grid the spline is a product of three matrices, one an axis.
        """
        across, along, up = (
            _weights(at, n, derivative=int(axis == derivative))
            for axis, (at, n) in enumerate(
                zip((x, y, z), self.lattice.size, strict=True)
            )
        )
        slices = np.einsum("kc,xcba->xkba", up, self.coefficients_mm)  # few of them
        return np.asarray((along @ slices) @ across.T)


def compose_transform(pose: Motion, deformation: Deformation | None) -> sitk.Transform:
    """Return the map of points of the CT to points of the MR: deformed, then moved."""
    rigid = to_transform(pose)
    if deformation is None:
        return rigid
    return sitk.CompositeTransform([rigid, deformation.to_transform()])


def _controls(values: Component) -> Component:
    """Return the control points of the spline through values on the same lattice."""
    return ndimage.spline_filter(values, ORDER, output=np.float64)


def _evaluate_spline(controls: Component, index: Points) -> Points:
    """Return a spline's values at indices (z, y, x), ``(3, n)`` -> ``(n,)``."""
    return ndimage.map_coordinates(
        controls,
        index,
        output=np.float64,
        order=ORDER,
        mode="grid-constant",
        prefilter=False,
    )


def _weights(at: Points, controls: int, *, derivative: int) -> Weights:
    """Return how much each control point adds to each place along an axis."""
    knots = np.arange(-2.0, 3.0)
    kernel = BSpline.basis_element(knots, extrapolate=False)
    wave = kernel.derivative(derivative) if derivative else kernel
    values = wave(at[:, None] - np.arange(controls))
    return np.nan_to_num(values)
