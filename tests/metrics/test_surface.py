"""Distances between surfaces: by hand, against the oracle, on real organs."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from hanseg_shared.errors import GridMismatchError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_labels
from hanseg_shared.metrics.comparison import compare
from hanseg_shared.metrics.measures import (
    ROUNDING,
    average_symmetric_distance,
    dice,
    hausdorff,
    surface_dice,
)
from hanseg_shared.metrics.surface import (
    bounding_box,
    crop_to_mask,
    lattice_offset,
    surface_distances,
)
from hanseg_shared.volume import Mask, Volume
from tests.metrics.oracle import load_oracle
from tests.metrics.shapes import OBLIQUE, ball, box, mask, random_pair
from tests.real_data import real_data

TOLERANCE_MM = 2.0


def one_voxel(z: int, y: int, x: int, shape: tuple[int, int, int] = (8, 9, 10)) -> Mask:
    return box(shape, slice(z, z + 1), slice(y, y + 1), slice(x, x + 1))


def test_equal_masks_are_nowhere_apart():
    shape = mask(ball((12, 12, 12), (6, 6, 6), 4))
    distances = surface_distances(shape, shape)
    assert hausdorff(distances, 100) == 0
    assert surface_dice(distances, 0.0) == 1
    assert average_symmetric_distance(distances) == 0


def test_two_voxels_are_as_far_apart_as_their_step():
    first = mask(one_voxel(2, 3, 1), (0.5, 1.0, 3.0))
    second = mask(one_voxel(2, 3, 7), (0.5, 1.0, 3.0))
    # six voxels of 0.5 mm lie between the two surfaces' nearer, and farther, sides
    assert hausdorff(surface_distances(first, second), 100) == pytest.approx(3.0)


def test_a_diagonal_step_counts_all_spacings():
    first = mask(one_voxel(1, 1, 1), (0.5, 1.0, 3.0))
    second = mask(one_voxel(3, 4, 5), (0.5, 1.0, 3.0))
    apart = math.hypot(4 * 0.5, 3 * 1.0, 2 * 3.0)
    assert hausdorff(surface_distances(first, second), 100) == pytest.approx(apart)


def test_a_slab_moved_by_a_slice_is_off_by_it_on_its_faces():
    first = mask(box((10, 30, 30), slice(2, 5), slice(5, 25), slice(5, 25)))
    second = mask(box((10, 30, 30), slice(3, 6), slice(5, 25), slice(5, 25)))
    distances = surface_distances(first, second)
    assert hausdorff(distances, 95) == pytest.approx(1.0)
    assert surface_dice(distances, 1.0) == pytest.approx(1.0)


def test_a_mask_at_the_border_has_a_surface_there():
    full = mask(np.ones((3, 4, 5), dtype=bool))
    inside = mask(box((9, 9, 9), slice(3, 6), slice(3, 7), slice(2, 7)))
    area = surface_distances(full, full).from_reference.area_mm2
    other = surface_distances(inside, inside).from_reference.area_mm2
    assert area == pytest.approx(other)


def test_masks_may_cover_different_parts_of_one_lattice():
    whole = mask(ball((20, 20, 20), (9, 10, 11), 5))
    other = mask(ball((20, 20, 20), (10, 10, 11), 5))
    expected = hausdorff(surface_distances(whole, other), 95)
    assert hausdorff(surface_distances(crop_to_mask(whole), other), 95) == expected
    assert hausdorff(surface_distances(whole, crop_to_mask(other)), 95) == expected


def test_a_lattice_shifted_by_half_a_voxel_is_refused():
    first = mask(np.ones((4, 4, 4)))
    second = Volume(first.array, Grid((4, 4, 4), origin=(0.5, 0.0, 0.0)))
    with pytest.raises(GridMismatchError, match=r"lies 0\.5 mm away"):
        surface_distances(first, second)


def test_another_spacing_is_refused():
    first = mask(np.ones((4, 4, 4)))
    with pytest.raises(GridMismatchError, match="not 1x1x1 mm"):
        surface_distances(first, mask(np.ones((4, 4, 4)), (1.0, 1.0, 1.1)))


def test_the_direction_of_the_grid_changes_no_distance():
    first, second = random_pair(3)
    grid = first.grid
    turned = Grid(grid.size, grid.spacing, (10.0, -20.0, 5.0), OBLIQUE)
    straight = surface_distances(first, second)
    oblique = surface_distances(
        Volume(first.array, turned), Volume(second.array, turned)
    )
    assert hausdorff(oblique, 95) == hausdorff(straight, 95)


def test_an_empty_mask_is_infinitely_far():
    distances = surface_distances(mask(np.ones((3, 3, 3))), mask(np.zeros((3, 3, 3))))
    assert hausdorff(distances, 95) == math.inf
    assert average_symmetric_distance(distances) == math.inf
    assert surface_dice(distances, 100.0) == 0


def test_of_two_empty_masks_nothing_is_known():
    empty = mask(np.zeros((3, 3, 3)))
    distances = surface_distances(empty, empty)
    assert math.isnan(surface_dice(distances, 1.0))
    assert hausdorff(distances, 95) == math.inf


def test_the_bounding_box_holds_just_the_voxels():
    array = box((7, 8, 9), slice(1, 3), slice(4, 8), slice(0, 9))
    assert bounding_box(array) == (slice(1, 3), slice(4, 8), slice(0, 9))
    assert bounding_box(np.zeros((2, 2, 2), dtype=bool)) is None


def test_the_offset_of_a_crop_is_where_it_was_cut():
    grid = Grid((20, 30, 40), (0.5, 0.7, 2.5), (3.0, 4.0, 5.0), OBLIQUE)
    assert lattice_offset(grid, grid.crop((3, 5, 7), (4, 4, 4))) == (7, 5, 3)
    assert lattice_offset(grid.crop((3, 5, 7), (4, 4, 4)), grid) == (-7, -5, -3)


def assert_as_oracle(oracle: Any, reference: Volume, prediction: Volume) -> None:
    """Hold all measures against the package, on arrays of one grid."""
    spacing = reference.grid.spacing[::-1]
    theirs = oracle.compute_surface_distances(
        reference.array, prediction.array, spacing
    )
    comparison = compare(reference, prediction)
    ours = comparison.distances
    for percent in (95, 100):
        expected = oracle.compute_robust_hausdorff(theirs, percent)
        assert hausdorff(ours, percent) == pytest.approx(expected, abs=1e-6)
    # the package's own sum decides on distances that are the tolerance, but for
    # rounding; asked with that margin, it agrees
    within = oracle.compute_surface_dice_at_tolerance(theirs, TOLERANCE_MM + ROUNDING)
    assert surface_dice(ours, TOLERANCE_MM) == pytest.approx(within, abs=1e-6)
    moments = [
        float(theirs[f"distances_{a}_to_{b}"] @ theirs[f"surfel_areas_{a}"])
        for a, b in (("gt", "pred"), ("pred", "gt"))
    ]
    area = theirs["surfel_areas_gt"].sum() + theirs["surfel_areas_pred"].sum()
    expected = sum(moments) / area
    assert average_symmetric_distance(ours) == pytest.approx(expected, abs=1e-6)
    expected = oracle.compute_dice_coefficient(reference.array, prediction.array)
    assert dice(comparison) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("first_seed", range(0, 200, 20))
def test_random_pairs_are_measured_as_by_surface_distance(first_seed, monkeypatch):
    oracle = load_oracle(monkeypatch)
    for seed in range(first_seed, first_seed + 20):
        reference, prediction = random_pair(seed)
        if reference.array.any() and prediction.array.any():
            assert_as_oracle(oracle, reference, prediction)


@pytest.mark.parametrize("far_apart", [False, True], ids=["near", "far"])
def test_transform_and_tree_agree_with_surface_distance(far_apart, monkeypatch):
    oracle = load_oracle(monkeypatch)
    shape = (40, 60, 60)
    centre = (30, 45, 45) if far_apart else (9, 14, 13)
    reference = mask(ball(shape, (8, 14, 14), 7), (0.9, 1.1, 2.5))
    prediction = mask(ball(shape, centre, 6), (0.9, 1.1, 2.5))
    assert_as_oracle(oracle, reference, prediction)


def test_a_distance_that_is_the_tolerance_but_for_rounding_is_within(monkeypatch):
    oracle = load_oracle(monkeypatch)
    # 3 steps of 0.1 mm are 0.30000000000000004: surface-distance counts them as more
    # than 0.3 mm, and 3 steps of 0.7 mm as less than 2.1 mm
    slab = box((12, 14, 14), slice(2, 5), slice(2, 12), slice(2, 12))
    reference = mask(slab, (0.1, 0.1, 0.1))
    prediction = reference.with_array(np.roll(slab, 3, axis=0))
    theirs = oracle.compute_surface_distances(
        reference.array, prediction.array, (0.1, 0.1, 0.1)
    )
    assert oracle.compute_surface_dice_at_tolerance(theirs, 0.3) < 1
    assert surface_dice(surface_distances(reference, prediction), 0.3) == 1


@pytest.mark.data
def test_real_organs_are_measured_as_by_surface_distance(monkeypatch):
    oracle = load_oracle(monkeypatch)
    scans = sorted(real_data("deepmind_oars").glob("*_oars.nii.gz"))
    labels = read_labels(scans[0])
    checked = 0
    for label in (5, 6, 7, 8, 10, 12, 14, 16, 18, 20):
        array = labels.array == label
        found = bounding_box(array)
        if found is None:
            continue
        margin = tuple(slice(max(s.start - 3, 0), s.stop + 3) for s in found)
        reference = mask(array[margin], labels.grid.spacing)
        moved = np.roll(reference.array, (1, 2, 1), axis=(0, 1, 2))
        assert_as_oracle(oracle, reference, reference.with_array(moved))
        eroded = ndimage.binary_erosion(reference.array)
        if eroded.any():
            assert_as_oracle(oracle, reference, reference.with_array(eroded))
        checked += 1
    assert checked >= 5
