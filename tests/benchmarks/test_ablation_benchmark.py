"""The ablation: each variant is a recipe that differs in one setting."""

from __future__ import annotations

import pytest
from benchmarks.ablation import SHOWN, VARIANTS, table, varied
from benchmarks.phantoms import IN_THE_MR, INPUTS, Scores

from hanseg_shared.organs import ORGANS

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_in_what_it_says(name):
    changes = VARIANTS[name]
    plain, changed = (varied(each, 5).variation for each in ({}, changes))
    assert changed == plain.model_copy(update=changes)
    assert (changed == plain) == (not changes)


def test_what_is_shown_can_be_given():
    assert set(SHOWN) <= set(INPUTS)


def test_the_table_tells_organs_of_the_mr_apart():
    dice = {each.name: 0.2 if each.name in IN_THE_MR else 0.8 for each in ORGANS}
    scores = {name: [Scores(dice, {})] for name in SHOWN}
    lines = table({"as it is": scores}).splitlines()
    assert lines[-1].count("0.720 (0.200)") == len(SHOWN)
