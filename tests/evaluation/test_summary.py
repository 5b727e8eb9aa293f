"""The paper's rule for "mean ± SD over all organs", and what infinity does to it."""

import math

import pytest

from hanseg_lab.evaluation.scores import Score
from hanseg_lab.evaluation.summary import (
    overall_mean,
    overall_sd,
    statistics,
    summarise,
)
from hanseg_shared.metrics.metric import Metric


def scores(organ: str, *values: float) -> list[Score]:
    return [
        Score(f"case_{n}", organ, Metric.DSC, value) for n, value in enumerate(values)
    ]


def test_the_overall_sd_is_the_root_mean_square_of_the_organs():
    assert overall_sd([3.0, 4.0]) == pytest.approx(math.sqrt(12.5))
    assert overall_mean([3.0, 4.0]) == pytest.approx(3.5)


def test_it_is_neither_the_mean_of_sds_nor_the_sd_of_means():
    table = scores("Parotid_L", 0.8, 0.9) + scores("Pituitary", 0.2, 0.8)
    overall = summarise(table, Metric.DSC).overall
    sds = [0.1 / math.sqrt(2), 0.6 / math.sqrt(2)]
    assert overall.sd == pytest.approx(math.sqrt((sds[0] ** 2 + sds[1] ** 2) / 2))
    assert overall.sd != pytest.approx(sum(sds) / 2)
    assert overall.mean == pytest.approx((0.85 + 0.5) / 2)


def test_organs_weigh_the_same_however_often_they_were_drawn():
    table = scores("Parotid_L", 1.0, 1.0, 1.0) + scores("Pituitary", 0.0)
    assert summarise(table, Metric.DSC).overall.mean == pytest.approx(0.5)


def test_organs_come_in_the_order_of_their_labels():
    table = scores("SpinalCord", 0.5) + scores("Arytenoid", 0.5)
    assert list(summarise(table, Metric.DSC).organs) == ["Arytenoid", "SpinalCord"]


def test_infinite_values_are_counted_and_left_out():
    figures = statistics([1.0, math.inf, 3.0])
    assert (figures.count, figures.infinite, figures.mean) == (2, 1, 2.0)


def test_one_value_has_no_spread():
    assert statistics([2.0]).sd is None


def test_nothing_finite_gives_no_figures():
    figures = statistics([math.inf])
    assert figures.mean is figures.sd is figures.median is figures.iqr is None


def test_the_interquartile_range_is_between_the_quartiles():
    assert statistics([0.0, 1.0, 2.0, 3.0, 4.0]).iqr == pytest.approx(2.0)
