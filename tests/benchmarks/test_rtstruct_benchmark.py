"""What the structure sets' benchmark measures, and when its table says no."""

import dataclasses

import numpy as np
from benchmarks.rtstruct import Row, Speed, area_of, figures, ragged

from hanseg_shared.grid import Grid

ROW = Row("HFS", (1.0, 1.0, 2.0), 30, 1.0, 0.9995, "Lips", 0, (0.97, 1.0))
SPEED = Speed(
    seconds=2.0,
    cpu_seconds=1.0,
    lint_seconds=1.0,
    peak_mib=80.0,
    structures=32,
    contours=4000,
    points=200_000,
    megabytes=5.0,
    errors=0,
)


def reached(row=None, cost=None) -> list[bool | None]:
    return [line.reached for line in figures([row] if row else [], cost)]


def test_the_area_of_contours_is_counted_in_pixels():
    grid = Grid((10, 10, 3), (0.5, 2.0, 3.0), (1.0, 2.0, 3.0))
    square = grid.index_to_world([(0, 0, 1), (4, 0, 1), (4, 3, 1), (0, 3, 1)])
    assert area_of(np.tile(square, (2, 1)), np.array([4, 4]), grid) == 24.0


def test_ragged_labels_have_the_same_organs_in_other_places():
    labels = np.zeros((4, 20, 20), dtype=np.uint8)
    labels[:, 5:15, 5:15] = 7
    moved = ragged(labels)
    assert set(np.unique(moved)) == {0, 7}
    assert (moved[:, 6:14, 6:14] == 7).all()
    assert (moved != labels).any()


def test_a_row_is_good_if_all_of_both_readers_masks_are():
    assert reached(ROW) == [True]
    assert reached(dataclasses.replace(ROW, reader=0.998)) == [False]
    assert reached(dataclasses.replace(ROW, plastimatch=0.998)) == [False]
    assert reached(dataclasses.replace(ROW, slices=1)) == [False]


def test_time_memory_and_errors_are_judged():
    assert reached(cost=SPEED) == [True, True, None, True]
    assert reached(cost=dataclasses.replace(SPEED, seconds=5.1))[0] is False
    assert reached(cost=dataclasses.replace(SPEED, peak_mib=290.0))[1] is False
    assert reached(cost=dataclasses.replace(SPEED, errors=1))[3] is False
