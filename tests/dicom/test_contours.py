"""Polygons around masks: their fill is the mask, however holes and pieces lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hanseg_shared.dicom.contours import contours_of, polygons_of
from hanseg_shared.grid import Grid
from tests.dicom.cases import DIRECTIONS, series_source
from tests.dicom.even_odd import windings


def mask(*rows: str) -> np.ndarray:
    """Return the mask of a drawing: # is inside."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def polygons(drawn: np.ndarray) -> list[np.ndarray]:
    return [polygon for _, polygon in polygons_of(drawn[np.newaxis])]


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


RING = mask("#####", "#...#", "#.#.#", "#...#", "#####")
"""A ring at the image's edge, with an island of one voxel in its hole."""

DRAWINGS = {
    "voxel": mask("#"),
    "voxel in the middle": mask("...", ".#.", "..."),
    "row": mask("####"),
    "diagonal": mask("#..", ".#.", "..#"),
    "other diagonal": mask("..#", ".#.", "#.."),
    "ring with island": RING,
    "two holes": mask("#######", "#.###.#", "#######"),
    "hole far from the line to its left": mask(
        "########", "#####.##", "########", "########"
    ),
    "holes above each other": mask("###", "#.#", "###", "#.#", "###"),
    "holes that touch at a corner": mask("####", "#.##", "##.#", "####"),
    "hole that touches the outside at a corner": mask("###.", "#.##", "####"),
    "hole with a point to the left": mask(
        "#######", "####..#", "##....#", "####..#", "#######"
    ),
    "hole with a point upwards": mask(
        "#######", "###.###", "###.###", "#.....#", "#######"
    ),
    "hole around a corner, its own point in the way": mask(
        "########", "#.####.#", "#.####.#", "#......#", "########"
    ),
    "island in a hole of an island in a hole": np.pad(np.pad(RING, 1), 1, mode="edge")
    | np.pad(RING, 2)
    | np.pad(np.zeros((7, 7), bool), 1, constant_values=True),
}


@pytest.mark.parametrize("drawn", DRAWINGS.values(), ids=DRAWINGS)
def test_the_fill_of_the_polygons_is_the_mask(drawn):
    crossings, turns = windings(polygons(drawn), drawn.shape)
    assert (crossings % 2 == drawn).all()
    assert (turns == drawn).all()


@settings(max_examples=200, deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, max_side=9)))
def test_the_fill_of_any_masks_polygons_is_the_mask(masks):
    found = polygons_of(masks)
    for number, drawn in enumerate(masks):
        of_slice = [polygon for other, polygon in found if other == number]
        crossings, turns = windings(of_slice, drawn.shape)
        assert (crossings % 2 == drawn).all()
        assert (turns == drawn).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_the_fill_of_dense_and_sparse_noise_is_the_noise(seed, share):
    drawn = np.random.default_rng(seed).random((24, 24)) < share
    crossings, turns = windings(polygons(drawn), drawn.shape)
    assert (crossings % 2 == drawn).all()
    assert (turns == drawn).all()


def test_an_empty_mask_has_no_polygon():
    assert polygons(np.zeros((4, 5), dtype=bool)) == []


def test_a_voxel_alone_is_a_diamond():
    (found,) = polygons(DRAWINGS["voxel in the middle"])
    assert {tuple(point) for point in found} == {
        (0.5, 1),
        (1, 0.5),
        (1.5, 1),
        (1, 1.5),
    }


def test_straight_lines_have_points_at_their_ends_only():
    (found,) = polygons(np.ones((10, 20), dtype=bool))
    assert len(found) == 8  # a rectangle with its corners cut


def test_voxels_that_touch_at_a_corner_have_polygons_of_their_own():
    assert len(polygons(DRAWINGS["diagonal"])) == 3


def test_an_island_in_a_hole_has_a_polygon_of_its_own():
    ring, island = sorted(polygons(RING), key=len, reverse=True)
    assert area(island) == 0.5
    # the ring is joined to its hole by a bridge of no width: area of the rectangle
    # with cut corners, less the hole
    assert area(ring) == (25 - 4 / 8) - (9 - 4 / 8)


def test_a_hole_turns_the_other_way_than_its_outside():
    solid, ring = np.ones((5, 5), dtype=bool), RING.copy()
    ring[2, 2] = False
    (outside,), (with_hole,) = polygons(solid), polygons(ring)
    assert 0 < area(with_hole) < area(outside)


@pytest.mark.parametrize("drawn", DRAWINGS.values(), ids=DRAWINGS)
def test_every_line_keeps_away_from_voxels_centres(drawn):
    centres = np.argwhere(np.ones(drawn.shape))[:, ::-1]
    for polygon in polygons(drawn):
        ends = np.roll(polygon, -1, axis=0)
        for start, end in zip(polygon, ends, strict=True):
            along = end - start
            share = ((centres - start) @ along / (along @ along)).clip(0, 1)
            nearest = start + share[:, np.newaxis] * along
            assert np.linalg.norm(centres - nearest, axis=1).min() > 0.35


@pytest.mark.parametrize("pose", DIRECTIONS)
def test_points_are_where_the_grid_has_them(pose):
    grid = Grid((6, 5, 4), (0.9, 0.7, 2.5), (-3.0, 7.0, 1.25), DIRECTIONS[pose])
    series = series_source(grid, missing=(1,))
    drawn = np.zeros((2, 2, 3), dtype=bool)
    drawn[1, 1, 2] = True  # column 3 + 2, row 2 + 1
    (found,) = contours_of(drawn, series.slices[1:], series, (3, 2))
    assert found.image.index == 3
    expected = grid.index_to_world([(4.5, 3, 3), (5, 2.5, 3), (5.5, 3, 3), (5, 3.5, 3)])
    assert sorted(map(tuple, found.points.round(9))) == sorted(
        map(tuple, expected.round(9))
    )


def test_slices_are_taken_together_or_one_by_one_alike(monkeypatch):
    masks = np.random.default_rng(1).random((5, 12, 11)) < 0.5
    together = polygons_of(masks)
    monkeypatch.setattr("hanseg_shared.dicom.contours._PIXELS_AT_ONCE", 1)
    alone = polygons_of(masks)
    assert [number for number, _ in together] == [number for number, _ in alone]
    assert all(
        np.array_equal(one, other)
        for (_, one), (_, other) in zip(together, alone, strict=True)
    )
