"""The ranking: simulated challenges against an independent computation, and rules."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from hanseg_lab.evaluation.methods import MetricTable, Worst, metric_table
from hanseg_lab.evaluation.ranking import (
    Correction,
    RankingOptions,
    rank_methods,
    shared_ranks,
)
from hanseg_lab.evaluation.scores import Score
from hanseg_lab.evaluation.stability import bootstrap
from hanseg_lab.evaluation.wilcoxon import Sides, Zeros
from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.metrics.metric import Metric
from tests.evaluation.simulated import CASES, challenge

SCIPY_TEST: Any = stats.wilcoxon

Methods = dict[str, list[Score]]

QUALITY = {
    "first": 0.05,
    "second": 0.03,
    "third": 0.0,
    "also_third": 0.0,
    "fifth": -0.03,
    "last": -0.15,
}


def tables(scores: Methods, worst: Worst = Worst.VALUES) -> list[MetricTable]:
    return [metric_table(scores, metric, worst) for metric in (Metric.DSC, Metric.HD95)]


def independent_scores(
    table: MetricTable, *, alternative: str, zeros: str, factor: int, alpha: float
) -> list[int]:
    """Return significance scores by SciPy's test, pair by pair."""
    count = len(table.methods)
    won = [0] * count
    for first, second in itertools.permutations(range(count), 2):
        gain = (table.values[first] - table.values[second]) * table.sign
        test = SCIPY_TEST(
            gain,
            zero_method=zeros,
            correction=False,
            alternative=alternative,
            method="asymptotic",
        )
        ahead = stats.rankdata(abs(gain)) @ np.sign(gain) > 0
        if test.pvalue * factor < alpha and ahead:
            won[first] += 1
    return won


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_known_effects_give_the_ranks_they_were_made_for(seed):
    ranking = rank_methods(tables(challenge(QUALITY, seed=seed)), RankingOptions())
    final = dict(zip(ranking.methods, ranking.final.tolist(), strict=True))
    assert [final[m] for m in ("first", "second", "fifth", "last")] == [1, 2, 5, 6]
    assert {final["third"], final["also_third"]} <= {3, 4}


@pytest.mark.parametrize("sides", list(Sides))
@pytest.mark.parametrize("zeros", list(Zeros))
@pytest.mark.parametrize("correction", list(Correction))
def test_an_independent_computation_gives_the_same(sides, zeros, correction):
    close = {"a": 0.006, "b": 0.003, "c": 0.0, "d": -0.001}
    found = rank_methods(
        tables(challenge(close)),
        RankingOptions(sides=sides, zeros=zeros, correction=correction),
    )
    for metric in found.metrics:
        expected = independent_scores(
            metric.table,
            alternative="two-sided" if sides is Sides.TWO else "greater",
            zeros=zeros.value,
            factor={"none": 1, "rivals": 3, "pairs": 6, "tests": 12}[correction.value],
            alpha=0.05,
        )
        assert metric.scores.tolist() == expected
        ranks = stats.rankdata([-score for score in expected], method="min")
        assert metric.ranks.tolist() == ranks.tolist()


def test_a_stricter_correction_never_finds_more():
    close = challenge({"a": 0.004, "b": 0.002, "c": 0.0})
    found = [
        rank_methods(tables(close), RankingOptions(correction=c)).metrics[0].better
        for c in (Correction.NONE, Correction.RIVALS, Correction.PAIRS)
    ]
    assert (found[0] >= found[1]).all()
    assert (found[1] >= found[2]).all()


def test_equals_share_a_rank_and_the_next_is_skipped():
    assert shared_ranks([-5, -4, -3, -3, -1, 0]).tolist() == [1, 2, 3, 3, 5, 6]


def standing(dice: list[float], hd95: list[float]) -> list[MetricTable]:
    """Return two metrics of methods with one value each organ, and no significance."""
    items = tuple((case, "Parotid_L") for case in CASES[:3])
    names = tuple("abc"[: len(dice)])
    spread = np.array([0.0, 0.3, -0.3])
    return [
        MetricTable(Metric.DSC, names, items, np.add.outer(dice, 0 * spread), {}),
        MetricTable(Metric.HD95, names, items, np.add.outer(hd95, 0 * spread), {}),
    ]


def test_a_tie_is_broken_by_means_that_agree():
    ranking = rank_methods(standing([0.7, 0.8], [4.0, 3.0]), RankingOptions())
    assert ranking.rank_sums.tolist() == [2, 2]
    assert ranking.final.tolist() == [2, 1]


def test_a_tie_with_means_that_contradict_each_other_is_shared():
    # as the challenge's third place: one better in Dice, the other in HD95
    ranking = rank_methods(standing([0.752, 0.751], [3.9, 3.7]), RankingOptions())
    assert ranking.final.tolist() == [1, 1]


def test_one_method_alone_cannot_be_ranked():
    with pytest.raises(InputError, match="two methods"):
        rank_methods(standing([0.7], [3.0]), RankingOptions())


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan, -1.0])
def test_a_level_must_be_a_probability(alpha):
    with pytest.raises(OptionError, match="alpha"):
        RankingOptions(alpha=alpha)


def test_a_missed_organ_has_the_worst_distance_of_all_methods():
    missed = [("a", "case_03", "Pituitary")]
    scores = challenge({"a": 0.02, "b": 0.0}, missed=missed)
    table = metric_table(scores, Metric.HD95)
    all_of_organ = [
        s.value
        for each in scores.values()
        for s in each
        if s.organ == "Pituitary" and s.metric is Metric.HD95
    ]
    place = table.items.index(("case_03", "Pituitary"))
    assert table.values[0, place] == max(v for v in all_of_organ if v < math.inf)
    assert table.replaced == {"a": 1, "b": 0}


def test_or_the_worst_mean():
    missed = [("a", "case_03", "Pituitary")]
    scores = challenge({"a": 0.02, "b": 0.0}, missed=missed)
    table = metric_table(scores, Metric.HD95, Worst.MEANS)
    place = table.items.index(("case_03", "Pituitary"))
    others = [n for n, item in enumerate(table.items) if item[1] == "Pituitary"]
    means = [
        np.mean([table.values[m, n] for n in others if (m, n) != (0, place)])
        for m in (0, 1)
    ]
    assert table.values[0, place] == pytest.approx(max(means))


def test_an_organ_that_nobody_found_is_left_out_and_named():
    missed = [(m, case, "Pituitary") for m in "ab" for case in CASES]
    table = metric_table(challenge({"a": 0.02, "b": 0.0}, missed=missed), Metric.HD95)
    assert table.dropped == ("Pituitary",)
    assert len(table.items) == 14 * 29


def test_methods_with_other_organs_cannot_be_compared():
    scores = challenge({"a": 0.02, "b": 0.0})
    scores["b"] = [s for s in scores["b"] if s.organ != "Lips"]
    with pytest.raises(InputError, match="b: no DSC of Lips in case_01"):
        metric_table(scores, Metric.DSC)


def test_the_mean_is_that_of_the_organs_means():
    scores = {
        "a": [
            Score("case_01", "Lips", Metric.DSC, 1.0),
            Score("case_02", "Lips", Metric.DSC, 0.5),
            Score("case_01", "Glottis", Metric.DSC, 0.25),
        ]
    }
    assert metric_table(scores, Metric.DSC).means.tolist() == [0.5]


def test_clear_effects_are_stable():
    found = bootstrap(
        tables(challenge({"a": 0.1, "b": 0.0, "c": -0.1})),
        RankingOptions(),
        samples=50,
        seed=0,
    )
    assert found.unchanged == 1
    assert found.interval(0) == (1, 1)
    np.testing.assert_array_equal(found.shares, np.eye(3))


def test_close_methods_are_not():
    close = challenge({"a": 0.0022, "b": 0.0, "c": -0.1})
    found = bootstrap(tables(close), RankingOptions(), samples=60, seed=0)
    assert found.unchanged < 1
    assert found.shares.sum(axis=1) == pytest.approx(1)
    assert found.interval(2) == (3, 3)


def test_a_seed_gives_the_same_draws():
    close = tables(challenge({"a": 0.002, "b": 0.0}))
    first, second = (
        bootstrap(close, RankingOptions(), samples=20, seed=3) for _ in range(2)
    )
    np.testing.assert_array_equal(first.shares, second.shares)
