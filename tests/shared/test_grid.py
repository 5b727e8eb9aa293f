"""Facts about grids: where voxels are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanseg_shared.errors import GridMismatchError, ImageContentError
from hanseg_shared.grid import Grid
from tests.grids import AXIAL, CORONAL, DOWNWARD, FLIPPED, GRIDS, OBLIQUE, SAGITTAL

finite = st.floats(-1000, 1000)
points = st.tuples(finite, finite, finite)


@given(point=points, name=st.sampled_from(sorted(GRIDS)))
def test_world_to_index_inverts_index_to_world(point, name):
    grid = GRIDS[name]
    back = grid.world_to_index(grid.index_to_world(point))
    np.testing.assert_allclose(back, point, atol=1e-6)


@given(point=points, name=st.sampled_from(sorted(GRIDS)))
def test_the_matrix_maps_as_index_to_world_does(point, name):
    grid = GRIDS[name]
    mapped = grid.world_from_index @ [*point, 1.0]
    np.testing.assert_allclose(mapped[:3], grid.index_to_world(point), atol=1e-6)


def test_the_first_voxel_lies_at_the_origin(grid):
    np.testing.assert_allclose(grid.index_to_world((0, 0, 0)), grid.origin)


def test_neighbours_are_one_spacing_apart(grid):
    for axis in range(3):
        step = grid.index_to_world(np.eye(3)[axis]) - grid.origin
        assert np.linalg.norm(step) == pytest.approx(grid.spacing[axis])


def test_shape_is_size_backwards():
    assert Grid((2, 3, 4)).shape == (4, 3, 2)


def test_volume_and_extent_can_be_checked_by_hand():
    grid = Grid((10, 10, 5), (1.0, 2.0, 5.0))
    assert grid.voxels == 500
    assert grid.voxel_ml == pytest.approx(0.01)
    assert grid.extent == (10.0, 20.0, 25.0)
    np.testing.assert_allclose(grid.centre, (4.5, 9.0, 10.0))


@pytest.mark.parametrize(
    ("grid", "letters"),
    [
        (AXIAL, "LPS"),
        (FLIPPED, "RAS"),
        (DOWNWARD, "LPI"),
        (CORONAL, "LIP"),
        (SAGITTAL, "PIR"),
        (OBLIQUE, "LPS"),
    ],
)
def test_orientation_names_the_nearest_directions(grid, letters):
    assert grid.orientation == letters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (0, 1, 1)}, "size must be positive"),
        ({"size": (4, -1, 1)}, "size must be positive"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing must be positive"),
        ({"spacing": (1.0, math.nan, 1.0)}, "spacing must be positive and finite"),
        ({"spacing": (1.0, math.inf, 1.0)}, "spacing must be positive and finite"),
        ({"origin": (0.0, math.nan, 0.0)}, "origin must be finite"),
        (
            {"direction": ((1.0, 0.3, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))},
            "direction must be orthonormal",
        ),
        (
            {"direction": ((math.nan, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))},
            "direction must be orthonormal",
        ),
    ],
)
def test_a_grid_that_cannot_be_is_refused(change, message):
    good = {"size": (2, 2, 2), "spacing": (1.0, 1.0, 1.0)}
    with pytest.raises(ImageContentError, match=message):
        Grid(**(good | change))


def test_crop_keeps_every_voxel_in_place(grid):
    part = grid.crop((2, 3, 1), (4, 5, 3))
    assert part.size == (4, 5, 3)
    np.testing.assert_allclose(
        part.index_to_world((1, 1, 1)), grid.index_to_world((3, 4, 2)), atol=1e-9
    )


def test_a_grid_is_the_same_as_itself_within_rounding(grid):
    x, y, z = (float(np.float32(coordinate)) for coordinate in grid.origin)
    rounded = Grid(grid.size, grid.spacing, (x, y, z), grid.direction)
    assert grid.is_same(rounded)


def test_a_tenth_of_a_voxel_makes_another_grid(grid):
    x, y, z = grid.origin
    moved = Grid(
        grid.size, grid.spacing, (x + 0.1 * grid.spacing[0], y, z), grid.direction
    )
    assert not grid.is_same(moved)


def test_another_size_makes_another_grid():
    assert not Grid((4, 4, 4)).is_same(Grid((4, 4, 5)))


def test_a_grid_mismatch_names_what_does_not_fit():
    with pytest.raises(GridMismatchError, match="the mask is not on the grid"):
        AXIAL.require_same(FLIPPED, what="the mask")


@given(points=st.lists(points, min_size=1, max_size=8), margin=st.floats(0, 50))
def test_an_axis_aligned_grid_covers_its_points(points, margin):
    grid = Grid.axis_aligned(points, spacing=(2.0, 3.0, 4.0), margin_mm=margin)
    corners = grid.corners()
    slack = 1e-4
    assert (corners.min(axis=0) <= np.min(points, axis=0) - margin + slack).all()
    assert (corners.max(axis=0) >= np.max(points, axis=0) + margin - slack).all()


def test_a_grid_prints_what_a_physicist_reads():
    printed = repr(Grid((512, 512, 150), (0.9, 0.9, 2.0), (-230.4, -230.4, 10.0)))
    assert printed == (
        "Grid(512x512x150 at 0.9x0.9x2 mm, LPS, from (-230.4, -230.4, 10.0))"
    )
