"""The bricks of the simulated patient."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_lab.phantom.shapes import (
    Both,
    Column,
    Coordinates,
    Ellipsoid,
    Mirror,
    Shape,
    Tube,
)


def points(*rows: tuple[float, float, float]) -> Coordinates:
    x, y, z = np.array(rows, np.float32).T
    return x, y, z


def lattice(step: float = 1.0, reach: float = 40.0) -> Coordinates:
    axis = np.arange(-reach, reach + step / 2, step, dtype=np.float32)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return x, y, z


BALL = Ellipsoid((10, 0, 0), (5, 5, 5))
SHAPES: dict[str, Shape] = {
    "ellipsoid": Ellipsoid((3, -4, 5), (10, 6, 8)),
    "cut ellipsoid": Ellipsoid((3, -4, 5), (10, 6, 8), y_max=-4),
    "tube": Tube(((-10, 0, 0), (10, 5, 3), (12, 8, 20)), (4, 6, 3), (1, 1.5, 1)),
    "column": Column(((-10, 0, 0, 5, 4), (10, 4, 2, 8, 9))),
    "both": Both(Ellipsoid((15, 0, 0), (5, 6, 7))),
    "mirror": Mirror(Ellipsoid((15, 0, 0), (5, 6, 7))),
}


def test_an_ellipsoid_has_its_volume():
    found = Ellipsoid((0, 0, 0), (10, 12, 14)).contains(lattice()).sum()
    assert found == pytest.approx(4 / 3 * np.pi * 10 * 12 * 14, rel=0.01)


def test_a_tube_has_the_volume_of_a_capsule():
    found = Tube(((-10, 0, 0), (10, 0, 0)), (8, 8)).contains(lattice()).sum()
    assert found == pytest.approx(np.pi * 64 * 20 + 4 / 3 * np.pi * 512, rel=0.03)


def test_a_column_keeps_to_its_levels():
    shape = Column(((-5, 0, 0, 10, 10), (5, 0, 0, 10, 10)))
    inside = shape.contains(points((0, 0, 4.9), (0, 0, 5.1), (9, 0, 0), (11, 0, 0)))
    assert inside.tolist() == [True, False, True, False]


def test_a_cut_ellipsoid_ends_at_its_plane():
    shape = Ellipsoid((0, 0, 0), (10, 10, 10), y_max=-3)
    assert shape.contains(points((0, -4, 0), (0, -2, 0))).tolist() == [True, False]


def test_both_lies_on_both_sides():
    inside = Both(BALL).contains(points((10, 0, 0), (-10, 0, 0), (0, 0, 0)))
    assert inside.tolist() == [True, True, False]


def test_a_mirror_lies_on_the_right_only():
    assert Mirror(BALL).contains(points((10, 0, 0), (-10, 0, 0))).tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_nothing_lies_outside_the_bounds(shape: Shape):
    where = lattice()
    inside = shape.contains(where)
    low, high = shape.bounds()
    assert inside.any()
    for axis, a, b in zip(where, low, high, strict=True):
        assert axis[inside].min() >= a - 1e-4
        assert axis[inside].max() <= b + 1e-4
