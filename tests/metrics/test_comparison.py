"""Counts, volumes, centres and added path lengths that one can check by hand."""

import math

import numpy as np
import pytest

from hanseg_shared.grid import Grid
from hanseg_shared.metrics.comparison import added_path_length, compare
from hanseg_shared.metrics.measures import dice, volume_difference_ml, volume_ml
from hanseg_shared.metrics.metric import DEFINITIONS, Metric, measure
from hanseg_shared.volume import Volume
from tests.metrics.shapes import OBLIQUE, box, mask

SHAPE = (6, 12, 12)
SQUARE = box(SHAPE, slice(2, 4), slice(3, 8), slice(3, 8))


def test_half_overlapping_boxes_have_a_dice_of_a_half():
    moved = box(SHAPE, slice(3, 5), slice(3, 8), slice(3, 8))
    assert dice(compare(mask(SQUARE), mask(moved))) == pytest.approx(0.5)


def test_dice_of_two_empty_masks_is_not_a_number():
    empty = mask(np.zeros(SHAPE))
    assert math.isnan(dice(compare(empty, empty)))


def test_volumes_are_voxels_times_their_size():
    comparison = compare(mask(SQUARE, (2.0, 2.0, 5.0)), mask(SQUARE, (2.0, 2.0, 5.0)))
    assert volume_ml(comparison) == pytest.approx(50 * 20 / 1000)
    assert volume_difference_ml(comparison) == 0


def test_a_prediction_that_is_too_large_has_a_positive_difference():
    larger = box(SHAPE, slice(2, 4), slice(3, 8), slice(3, 10))
    difference = volume_difference_ml(compare(mask(SQUARE), mask(larger)))
    assert difference == pytest.approx(2 * 5 * 2 / 1000)


def test_the_centres_of_a_moved_mask_are_apart_by_the_move():
    moved = box(SHAPE, slice(3, 5), slice(3, 8), slice(5, 10))
    comparison = compare(mask(SQUARE, (0.5, 1.0, 2.0)), mask(moved, (0.5, 1.0, 2.0)))
    assert comparison.centre_distance_mm == pytest.approx(math.hypot(2.0, 1.0))


def test_the_centre_of_an_empty_mask_is_infinitely_far():
    comparison = compare(mask(SQUARE), mask(np.zeros(SHAPE)))
    assert comparison.centre_distance_mm == math.inf


def test_nothing_is_added_to_a_perfect_contour():
    assert added_path_length(mask(SQUARE), mask(SQUARE)) == 0


def test_all_contours_are_added_where_nothing_was_drawn():
    # two slices, each with the 16 border pixels of a 5 x 5 square, of 0.5 mm
    drawn = mask(SQUARE, (0.5, 0.5, 3.0))
    added = added_path_length(drawn, drawn.with_array(np.zeros(SHAPE, dtype=bool)))
    assert added == pytest.approx(2 * 16 * 0.5)


def test_only_the_contour_that_is_missing_is_added():
    shorter = box(SHAPE, slice(2, 4), slice(3, 8), slice(3, 7))
    # one column of five is gone, and what it hid is inside no more: per slice the
    # five pixels of the reference's last column
    added = added_path_length(mask(SQUARE), mask(shorter))
    assert added == pytest.approx(2 * 5)


def test_removing_what_is_too_much_adds_no_path_where_contours_agree():
    extra_slice = box(SHAPE, slice(2, 5), slice(3, 8), slice(3, 8))
    assert added_path_length(mask(SQUARE), mask(extra_slice)) == 0


def test_slices_are_cut_across_the_patients_long_axis():
    sagittal = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    array = SQUARE.transpose(2, 0, 1)  # stored x, z, y
    x, z, y = array.shape
    grid = Grid((y, z, x), (0.5, 3.0, 0.5), direction=sagittal)
    stored = Volume(np.ascontiguousarray(array), grid)
    nothing = stored.with_array(np.zeros_like(array))
    assert added_path_length(stored, nothing) == pytest.approx(2 * 16 * 0.5)


def test_an_oblique_grid_measures_the_same():
    moved = box(SHAPE, slice(3, 5), slice(4, 9), slice(3, 8))
    grid = mask(SQUARE, (0.5, 0.7, 2.0)).grid
    turned = Grid(grid.size, grid.spacing, (1.0, 2.0, 3.0), OBLIQUE)
    straight, oblique = (
        measure(compare(Volume(SQUARE, g), Volume(moved, g)), tolerance_mm=1.0)
        for g in (grid, turned)
    )
    assert straight == pytest.approx(oblique)


def test_every_metric_is_defined_and_measured():
    values = measure(compare(mask(SQUARE), mask(SQUARE)), tolerance_mm=1.0)
    assert set(values) == set(DEFINITIONS) == set(Metric)
