"""Facts about grids: where voxels are."""

from __future__ import annotations

import math
import re
from dataclasses import replace

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


def test_a_fifth_of_a_voxel_makes_another_grid(grid):
    x, y, z = grid.origin
    moved = Grid(
        grid.size, grid.spacing, (x + 0.2 * grid.spacing[0], y, z), grid.direction
    )
    assert not grid.is_same(moved)


def test_another_size_makes_another_grid():
    assert not Grid((4, 4, 4)).is_same(Grid((4, 4, 5)))


def test_a_grid_mismatch_names_what_does_not_fit():
    with pytest.raises(GridMismatchError, match="the mask is not on the grid"):
        AXIAL.require_same(FLIPPED, what="the mask")


EXPECTED = Grid((100, 90, 40), (1.0, 1.0, 3.0), (-50.0, -45.0, 10.0))
TURN = math.radians(0.4)
OTHERS = {
    "size": (
        replace(EXPECTED, size=(100, 90, 41)),
        r"has 100x90x41 voxels, not 100x90",
    ),
    "spacing": (
        replace(EXPECTED, spacing=(1.0, 1.0, 3.00625)),
        r"up to 0\.244 mm \(0\.244 voxels\) away \(spacing 1x1x3\.006 mm, not 1x1x3 mm",
    ),
    "a little spacing": (
        replace(EXPECTED, size=(4000, 4, 4), spacing=(1.00004, 1.0, 3.0)),
        r"0\.16 voxels\) away \(spacing 1\.00004x1x3 mm, not 1x1x3 mm\)",
    ),
    "origin": (
        replace(EXPECTED, origin=(-50.0, -44.75, 10.0)),
        r"lies 0\.25 mm away, at \(-50, -44\.75, 10\), not at \(-50, -45, 10\)\)",
    ),
    "turn": (
        replace(
            EXPECTED,
            direction=(
                (math.cos(TURN), -math.sin(TURN), 0.0),
                (math.sin(TURN), math.cos(TURN), 0.0),
                (0.0, 0.0, 1.0),
            ),
        ),
        r"away \(it is turned by 0\.4 degrees\)",
    ),
    "axes": (
        replace(EXPECTED, direction=FLIPPED.direction),
        "its axes run RAS, not LPS",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_mismatch_says_what_differs_and_by_how_much(name):
    other, told = OTHERS[name]
    expected = replace(EXPECTED, size=other.size) if "little" in name else EXPECTED
    with pytest.raises(GridMismatchError, match=told):
        expected.require_same(other, what="the mask")


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing": (1.0005, 1.0, 3.0)},
        {"origin": (-50.0, -45.0, 10.08)},
        {"spacing": (1.0, 1.0, 3.001), "origin": (-50.0, -45.0, 9.99)},
    ],
)
def test_less_than_a_tenth_of_a_voxel_over_the_image_does_not_matter(changes):
    other = replace(EXPECTED, **changes)
    assert EXPECTED.is_same(other)
    assert other.is_same(EXPECTED)


@given(shift=st.floats(0.101, 1.0))
def test_a_mismatch_never_prints_two_equal_values(shift):
    near = replace(EXPECTED, origin=(-51.123456, 12.3, 1234.5678))
    far = replace(EXPECTED, origin=(-51.123456, 12.3 + shift, 1234.5678))
    found = re.search(r"at (\(.*?\)), not at (\(.*?\))", near.difference_of(far))
    assert found is not None
    assert found.group(1) != found.group(2)


def test_a_part_between_the_voxels_is_told():
    part = replace(EXPECTED.crop((3, 4, 5), (6, 7, 8)), origin=(-47.0, -40.6, 25.0))
    assert EXPECTED.offset_of(part) is None
    told = EXPECTED.difference_of_part(part)
    assert "lies 0.4 mm away, at (-47, -40.6, 25), not at (-47, -41, 25)" in told


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
