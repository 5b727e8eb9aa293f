"""Deformations: the same to us, to ITK and in a file; smooth where they end."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_registration.geometry.deformation import (
    BORDER,
    Deformation,
    compose_transform,
)
from hanseg_registration.geometry.motions import apply, rotation, translation
from hanseg_shared.grid import Grid, Matrix

TURNED: Matrix = ((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
TILTED: Matrix = ((1.0, 0.0, 0.0), (0.0, 0.8, -0.6), (0.0, 0.6, 0.8))


@pytest.fixture(params=[Grid((1, 1, 1)).direction, TURNED, TILTED])
def deformation(request) -> Deformation:
    lattice = Grid((6, 7, 8), (25.0, 24.0, 20.0), (-60.0, -50.0, -70.0), request.param)
    coefficients = np.random.default_rng(0).normal(0.0, 5.0, (3, 8, 7, 6))
    return Deformation.fading(coefficients, lattice)


def points_around(deformation: Deformation):
    index = np.random.default_rng(1).uniform(-4.0, 18.0, (300, 3))
    return deformation.lattice.index_to_world(index)


def moved_by(transform: sitk.Transform, points):
    return np.array([transform.TransformPoint(p) for p in points.tolist()])


def test_itk_moves_points_as_we_do(deformation):
    points = points_around(deformation)
    expected = points + deformation.displacement_mm(points)
    assert moved_by(deformation.to_transform(), points) == pytest.approx(expected)


def test_nothing_moves_far_away(deformation):
    far = np.array([[1000.0, 0.0, 0.0]])
    assert not deformation.displacement_mm(far).any()


def test_the_displacement_fades_out(deformation):
    """The border's points, control points of zero themselves, do not jump."""
    x, y, z = deformation.lattice.size
    edge = deformation.lattice.index_to_world(
        [[1.0, y / 2, z / 2], [x - 2.0, 3.0, 3.0]]
    )
    assert np.abs(deformation.displacement_mm(edge)).max() < 1e-9


def test_a_grid_is_sampled_as_its_points_are(deformation):
    lattice = deformation.lattice
    x, y, z = lattice.crop((2, 3, 4), (1, 1, 1)).origin
    grid = Grid((9, 8, 5), (7.0, 6.0, 11.0), (x, y, z), lattice.direction)
    index = np.indices(grid.shape).reshape(3, -1)[::-1].T
    expected = deformation.displacement_mm(grid.index_to_world(index))
    found = np.moveaxis(deformation.on_grid(grid), 0, -1).reshape(-1, 3)
    assert found == pytest.approx(expected)


def test_a_shifted_deformation_moves_shifted_points_alike(deformation):
    points, offset = points_around(deformation), np.array([300.0, -20.0, 7.0])
    shifted = deformation.shift(offset)
    expected = deformation.displacement_mm(points)
    assert shifted.displacement_mm(points + offset) == pytest.approx(expected)


@pytest.mark.parametrize("direction", [TURNED, TILTED])
def test_a_shear_and_a_stretch_have_the_determinant_of_their_matrix(direction):
    """Control points of a linear displacement make that displacement."""
    lattice = Grid((8, 8, 8), (20.0, 22.0, 24.0), (-60.0, 5.0, 5.0), direction)
    matrix = np.array([[0.1, 0.05, 0.0], [0.0, -0.2, 0.0], [0.3, 0.0, 0.02]])
    index = np.indices(lattice.shape)[::-1].reshape(3, -1).T
    moved = lattice.index_to_world(index) @ matrix.T
    coefficients = moved.T.reshape(3, *lattice.shape)
    inner = Deformation(coefficients, lattice).determinants(4.0)[12:-12, 12:-12, 12:-12]
    assert inner == pytest.approx(np.linalg.det(matrix + np.eye(3)))


def test_a_deformation_of_nothing_keeps_volumes(deformation):
    still = replace(
        deformation, coefficients_mm=np.zeros_like(deformation.coefficients_mm)
    )
    assert still.determinants(5.0) == pytest.approx(1.0)


def test_a_fold_has_a_determinant_below_0(deformation):
    wild = replace(deformation, coefficients_mm=8 * deformation.coefficients_mm)
    assert wild.determinants(3.0).min() < 0.0


def test_a_field_is_met_at_its_points():
    grid = Grid((10, 11, 12), (8.0, 8.0, 8.0), (-30.0, 2.0, 5.0))
    field = np.random.default_rng(2).normal(0.0, 3.0, (3, 12, 11, 10))
    found = Deformation.through(field, grid)
    assert found.on_grid(grid) == pytest.approx(field)
    assert found.lattice.size[0] == 10 + 4 * BORDER


def test_a_composite_deforms_and_then_moves(deformation):
    pose = translation((700.0, 3.0, -50.0)) @ rotation((5, 10, 15), centre=(1, 2, 3))
    points = points_around(deformation)
    expected = apply(pose, points + deformation.displacement_mm(points))
    assert moved_by(compose_transform(pose, deformation), points) == pytest.approx(
        expected
    )


def test_a_composite_without_deformation_is_the_motion():
    assert compose_transform(np.eye(4), None).GetName() == "Euler3DTransform"


def test_a_composite_survives_its_file(deformation, tmp_path):
    transform = compose_transform(translation((700.0, 3.0, -50.0)), deformation)
    sitk.WriteTransform(transform, str(tmp_path / "transform.tfm"))
    read = sitk.ReadTransform(str(tmp_path / "transform.tfm"))
    points = points_around(deformation)
    assert moved_by(read, points) == pytest.approx(moved_by(transform, points))


def test_a_motion_after_a_deformation_is_one_deformation(deformation):
    """Exact where the lattice is all around, whose border then is not zero."""
    motion = translation((3.0, -2.0, 1.0)) @ rotation((4, 2, -3), centre=(1, 2, 3))
    inner = np.random.default_rng(4).uniform(2.0, 8.0, (200, 3))
    points = deformation.lattice.index_to_world(inner)
    expected = apply(motion, points + deformation.displacement_mm(points))
    found = points + deformation.append_motion(motion).displacement_mm(points)
    assert found == pytest.approx(expected)
