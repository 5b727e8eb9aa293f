"""The signed-rank test, against SciPy's."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from hanseg_lab.evaluation.wilcoxon import Zeros, signed_rank

SCIPY_TEST: Any = stats.wilcoxon


def differences(seed: int) -> np.ndarray:
    """Return 60 differences with ties and zeros."""
    generator = np.random.default_rng(seed)
    return np.round(generator.normal(0.3, 1.0, 60), 1)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("zeros", list(Zeros))
def test_it_is_scipys_test(seed, zeros):
    values = differences(seed)
    ours = signed_rank(values, zeros=zeros)
    for alternative, p in (("two-sided", ours.p_either), ("greater", ours.p_better)):
        expected = SCIPY_TEST(
            values,
            zero_method=zeros.value,
            correction=False,
            alternative=alternative,
            method="asymptotic",
        )
        assert p == pytest.approx(expected.pvalue, rel=1e-10)


def test_many_series_are_tested_at_once():
    both = np.stack([differences(1), differences(2)])
    together = signed_rank(both)
    assert together.p_either[0] == signed_rank(both[0]).p_either
    assert together.p_either[1] == signed_rank(both[1]).p_either


def test_no_difference_is_no_evidence():
    outcome = signed_rank(np.zeros(30))
    assert outcome.p_either == outcome.p_better == 1


def test_the_smallest_case_by_hand():
    # ranks 1 to 4, all positive: W = 10, mean 5, variance 4 * 5 * 9 / 24 = 7.5
    outcome = signed_rank(np.array([1.0, 2.0, 3.0, 4.0]))
    assert outcome.p_better == pytest.approx(stats.norm.sf(5 / np.sqrt(7.5)))
