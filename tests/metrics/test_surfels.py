"""The table of surfel areas, derived from geometry, against hand and oracle."""

import math

import numpy as np
import pytest

from hanseg_shared.metrics.surfels import PATTERNS, surfel_areas
from tests.metrics.oracle import load_oracle

SPACINGS = [(1.0, 1.0, 1.0), (2.5, 0.98, 0.98), (5.0, 0.5, 1.7), (0.7, 3.1, 0.5)]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_table_is_that_of_surface_distance(spacing, monkeypatch):
    tables = load_oracle(monkeypatch).metrics.lookup_tables
    table = tables.create_table_neighbour_code_to_surface_area(spacing)
    np.testing.assert_allclose(surfel_areas(spacing), table, rtol=0, atol=1e-12)


def test_a_cube_without_a_boundary_has_no_surface():
    areas = surfel_areas((1.0, 2.0, 3.0))
    assert areas[0] == areas[255] == 0.0
    assert (areas[1:255] > 0).all()


def test_a_face_parallel_to_the_slices_has_the_area_of_a_pixel():
    assert surfel_areas((2.5, 3.0, 4.0))[0b11110000] == pytest.approx(12.0)


def test_a_single_corner_is_cut_off_by_a_triangle():
    assert surfel_areas((1.0, 1.0, 1.0))[1] == pytest.approx(math.sqrt(3) / 8)


def test_inside_and_outside_have_the_same_surface():
    areas = surfel_areas((1.0, 1.3, 1.7))
    for pattern in range(PATTERNS):
        assert areas[pattern] == pytest.approx(areas[255 - pattern])


def test_the_table_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError, match="read-only"):
        surfel_areas((1.0, 1.0, 1.0))[0] = 1.0
