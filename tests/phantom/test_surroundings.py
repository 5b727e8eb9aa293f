"""Rest, mask and circle change what is around a simulated patient, nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_lab.phantom import make_case
from hanseg_lab.phantom.surroundings import Surroundings
from hanseg_lab.training.prepare import surroundings_of
from hanseg_shared.io.body import find_body

SPACING = (4.0, 4.0, 5.0)
PLAIN = make_case(11, ct_spacing=SPACING, mr=False)


@pytest.mark.parametrize(
    "chosen",
    [
        Surroundings(head_rest=True),
        Surroundings(mask=True),
        Surroundings(circle=True, padding=-2000),
        Surroundings(head_rest=True, mask=True, circle=True),
        Surroundings(head_rest=True, mask=True, couch=True, touching=True),
    ],
    ids=["rest", "mask", "circle", "all", "touching"],
)
def test_what_is_around_changes_no_organ_and_is_no_body(chosen):
    case = make_case(11, ct_spacing=SPACING, mr=False, surroundings=chosen)
    np.testing.assert_array_equal(case.labels.array, PLAIN.labels.array)
    changed = case.ct.array != PLAIN.ct.array
    assert changed.any()
    organs = (PLAIN.labels.array > 0) & (case.ct.array != chosen.padding)
    np.testing.assert_array_equal(case.ct.array[organs], PLAIN.ct.array[organs])
    body = find_body(case.ct)
    assert body is not None
    assert not (organs & ~body).any()


def test_nothing_around_is_the_published_phantom():
    same = make_case(11, ct_spacing=SPACING, mr=False, surroundings=Surroundings())
    np.testing.assert_array_equal(same.ct.array, PLAIN.ct.array)


def test_a_share_of_the_training_patients_has_surroundings():
    drawn = [surroundings_of(seed) for seed in range(200)]
    assert drawn == [surroundings_of(seed) for seed in range(200)]
    assert 60 < sum(each is not None for each in drawn) < 140
