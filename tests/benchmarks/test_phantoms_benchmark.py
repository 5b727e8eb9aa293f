"""What MR the simulated patients' benchmark gives, and what its table says."""

import functools
import math

import numpy as np
import pytest
from benchmarks.phantoms import (
    CT_ALONE,
    INPUTS,
    PART,
    WITH_MR,
    WRONG_VIEW,
    Scores,
    by_organ,
    figures,
    part_of,
)

from hanseg_lab.phantom.phantom_case import PhantomCase, make_case
from hanseg_shared.organs import ORGANS


@functools.cache
def patient() -> PhantomCase:
    return make_case(1, ct_spacing=(8.0, 8.0, 8.0), mr=False, t1=True)


def test_a_perfect_mr_is_seen_everywhere():
    mr, view = INPUTS[WITH_MR](patient(), 1)
    assert mr is not None
    assert view is not None
    assert view.array.all()
    truth = patient().t1
    assert truth is not None
    assert np.corrcoef(mr.array.ravel(), truth.array.ravel())[0, 1] > 0.9


def test_a_part_is_seen_where_it_has_data_unless_the_view_lies():
    (mr, view), (same, lie) = (
        INPUTS[name](patient(), 1) for name in (PART, WRONG_VIEW)
    )
    assert mr is not None
    assert same is not None
    assert view is not None
    assert lie is not None
    seen = part_of(patient())
    assert view.array[seen].all()
    assert view.array.sum() == view.array[seen].size < view.array.size
    assert np.array_equal(mr.array, same.array)
    assert lie.array.all()


def scores(value: float, hd95: float = 2.0) -> Scores:
    return Scores(
        {each.name: value for each in ORGANS}, {each.name: hd95 for each in ORGANS}
    )


@pytest.mark.parametrize(
    ("dice", "hd95", "reached"),
    [
        (0.9, 2.0, [True, True]),
        (0.87, 4.0, [False, False]),
        (0.9, math.inf, [True, False]),
    ],
)
def test_figures_are_held_against_what_is_aimed_at(dice, hd95, reached):
    lines = figures({CT_ALONE: [scores(0.7)], WITH_MR: [scores(dice, hd95)]})
    found = [line.reached for line in lines if line.name.startswith(WITH_MR)]
    assert found == reached
    assert all(line.reached for line in lines if "with MR, and without" in line.name)


def test_every_organ_has_a_row():
    rows = by_organ({CT_ALONE: [scores(0.7)], WITH_MR: [scores(0.9)]}).splitlines()
    assert len(rows) == 2 + len(ORGANS)
    assert rows[2].endswith("| 0.70 | 0.90 |")
