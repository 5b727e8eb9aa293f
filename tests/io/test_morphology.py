"""Distances in masks are scipy's, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hanseg_shared.grid import Grid
from hanseg_shared.io import morphology
from hanseg_shared.io.morphology import deeper_than, depth_in, voxels_near

GRID = Grid((17, 14, 9), (1.1, 0.7, 2.3))


@pytest.fixture(params=[0.5, 0.9, 0.999])
def mask(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(1).random(GRID.shape) < request.param


def scipys(mask: np.ndarray) -> np.ndarray:
    found = ndimage.distance_transform_edt(mask, sampling=GRID.spacing[::-1])
    return np.asarray(found)


def test_the_depth_is_scipys(mask: np.ndarray):
    np.testing.assert_array_equal(depth_in(mask, GRID), scipys(mask))


@pytest.mark.parametrize("distance_mm", [0.0, 0.7, 2.2, 2.3, 5.0, 100.0])
def test_voxels_near_are_those_of_the_whole_image(mask: np.ndarray, distance_mm: float):
    near = voxels_near(~mask, distance_mm, GRID)
    np.testing.assert_array_equal(near, scipys(mask) <= distance_mm)


@pytest.mark.parametrize("distance_mm", [0.0, 0.7, 1.4, 2.3, 5.0, 100.0])
def test_what_is_deep_is_what_scipy_says(mask: np.ndarray, distance_mm: float):
    deep = deeper_than(mask, distance_mm, GRID)
    np.testing.assert_array_equal(deep, scipys(mask) > distance_mm)


@pytest.mark.parametrize("edges", [(1, 1, 1), (1, 9, 2), (3, 1, 1)])
def test_a_ball_may_be_larger_than_the_image(edges: tuple[int, int, int]):
    grid = Grid(edges, (1.0, 1.3, 0.9))
    mask = np.zeros(grid.shape, bool)
    mask[0, 0, 0] = True
    for distance_mm in (0.9, 2.6, 6.0):
        expected = ndimage.distance_transform_edt(~mask, sampling=grid.spacing[::-1])
        near = voxels_near(mask, distance_mm, grid)
        np.testing.assert_array_equal(near, expected <= distance_mm)


def test_moving_about_and_measuring_agree_on_the_edge_of_the_ball(
    mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    for multiple in range(1, 6):
        for spacing in GRID.spacing:
            moved = voxels_near(~mask, multiple * spacing, GRID)
            with monkeypatch.context() as patch:
                patch.setattr(morphology, "MOST_SHIFTS", 0)
                measured = voxels_near(~mask, multiple * spacing, GRID)
            np.testing.assert_array_equal(moved, measured)


def test_nothing_is_near_to_nothing_and_all_is_deep_in_all():
    nothing = np.zeros(GRID.shape, bool)
    assert not voxels_near(nothing, 5.0, GRID).any()
    assert deeper_than(~nothing, 5.0, GRID).all()
    assert np.isinf(depth_in(~nothing, GRID)).all()
