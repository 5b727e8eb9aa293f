"""What a clinic's oesophagus and ours are compared on."""

import numpy as np
import pytest
from benchmarks.validation import comparable


def column(first: int, last: int) -> np.ndarray:
    """Return a mask of one voxel a slice."""
    mask = np.zeros((20, 1, 1), dtype=bool)
    mask[first:last] = True
    return mask


def levels(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask.any(axis=(1, 2))).tolist()


def test_the_drawing_counts_above_our_lower_end():
    drawn, ours = comparable(column(0, 12), column(8, 14), column(0, 0))
    assert levels(drawn) == [8, 9, 10, 11]
    assert levels(ours) == [8, 9, 10, 11, 12, 13]


def test_our_inlet_counts_below_the_upper_end_of_the_drawing():
    drawn, ours = comparable(column(0, 12), column(8, 18), column(10, 18))
    assert levels(drawn) == [8, 9, 10, 11]
    assert levels(ours) == [8, 9, 10, 11]


@pytest.mark.parametrize(
    ("drawn", "ours"), [((0, 5), (0, 0)), ((0, 0), (3, 8)), ((0, 0), (0, 0))]
)
def test_an_organ_that_is_missing_is_not_cut(drawn, ours):
    left = comparable(column(*drawn), column(*ours), column(3, 8))
    assert [levels(each) for each in left] == [
        list(range(*drawn)),
        list(range(*ours)),
    ]
