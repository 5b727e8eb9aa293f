"""Sets of labels as bits."""

from __future__ import annotations

import numpy as np

from hanseg_lab.training.label_sets import EVERYTHING, bits_of, mirror_sets
from hanseg_shared.organs import ORGANS


def test_a_set_has_one_bit_for_each_organ():
    assert bits_of(["A_Carotid_L", "Arytenoid"]) == 0b1010


def test_everything_holds_background_and_all_organs():
    assert 1 | bits_of(each.name for each in ORGANS) == EVERYTHING


def test_mirroring_exchanges_sides_and_keeps_the_middle():
    sets = np.array([bits_of(["Parotid_L", "Brainstem"]), 1], np.int32)
    assert mirror_sets(sets).tolist() == [bits_of(["Parotid_R", "Brainstem"]), 1]


def test_mirroring_twice_changes_nothing():
    sets = np.array([bits_of([each.name]) for each in ORGANS], np.int32)
    np.testing.assert_array_equal(mirror_sets(mirror_sets(sets)), sets)
