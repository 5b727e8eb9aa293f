"""The published results as data, and the arithmetic that holds them together."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanseg_lab.evaluation.paper import (
    ALL_ORGANS,
    COLUMNS,
    overall_of_organs,
    read_paper_table,
    read_published,
    wins,
)
from hanseg_shared.errors import InputError
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.organs import ORGANS


def write(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def simulated_table(seed: int = 0) -> list[tuple[Any, ...]]:
    """Return rows of two methods with figures rounded as a paper prints them."""
    generator = np.random.default_rng(seed)
    rows = []
    for method in ("a", "b"):
        means = generator.uniform(40, 95, len(ORGANS)).round(1)
        sds = generator.uniform(1, 20, len(ORGANS)).round(1)
        rows += [
            ("DSC", organ.name, method, mean, sd, "", "")
            for organ, mean, sd in zip(ORGANS, means, sds, strict=True)
        ]
        mean, sd = means.mean().round(1), math.sqrt((sds**2).mean())
        rows.append(("DSC", ALL_ORGANS, method, mean, round(sd, 1), "", ""))
    return rows


def test_all_six_methods_are_there_in_both_metrics():
    table = read_published()
    assert table.methods == (
        *("eli1", "cwlg102", "CHB-QuantIF", "Mamaa", "m.m.gs", "TurboMiki"),
    )
    for method in table.methods:
        for metric in (Metric.DSC, Metric.HD95):
            assert table.find(metric, ALL_ORGANS, method) is not None


def test_the_winner_is_printed_as_in_the_paper():
    dice = read_published().find(Metric.DSC, ALL_ORGANS, "eli1")
    distance = read_published().find(Metric.HD95, ALL_ORGANS, "eli1")
    assert dice is not None
    assert distance is not None
    assert (dice.mean, dice.sd, dice.median, dice.iqr) == (76.9, 8.4, 81.0, 18.6)
    assert (distance.mean, distance.sd) == (3.5, 2.4)


def test_the_organs_give_the_overall_figures_as_printed():
    table = read_published()
    assert len(table.of_organs(Metric.DSC, "eli1")) == len(ORGANS)
    for method in table.methods:
        mean, sd = overall_of_organs(table.of_organs(Metric.DSC, method))
        printed = table.find(Metric.DSC, ALL_ORGANS, method)
        assert printed is not None
        assert (round(mean, 1), round(sd, 1)) == (printed.mean, printed.sd)


def test_the_published_wins_are_those_of_the_paper():
    won = wins(read_published(), Metric.DSC)
    assert sorted(won.values(), reverse=True) == [14, 12, 2, 1, 1, 0]
    assert (won["cwlg102"], won["eli1"], won["m.m.gs"]) == (14, 12, 2)


def test_a_table_with_organs_is_held_against_its_own_overall_figures(tmp_path):
    table = read_paper_table(write(tmp_path / "table.csv", simulated_table()))
    for method in table.methods:
        mean, sd = overall_of_organs(table.of_organs(Metric.DSC, method))
        printed = table.find(Metric.DSC, ALL_ORGANS, method)
        assert printed is not None
        assert mean == pytest.approx(printed.mean, abs=0.1)
        assert sd == pytest.approx(printed.sd, abs=0.1)


def test_a_mistyped_figure_is_found(tmp_path):
    rows = simulated_table()
    rows[3] = (*rows[3][:3], rows[3][3] - 30, *rows[3][4:])
    with pytest.raises(InputError, match="the organs' DSC of a give"):
        read_paper_table(write(tmp_path / "table.csv", rows))


def test_wins_count_the_organs_with_the_best_mean(tmp_path):
    rows = [
        ("DSC", "Lips", "a", 80, 1, "", ""),
        ("DSC", "Lips", "b", 70, 1, "", ""),
        ("DSC", "Glottis", "a", 60, 1, "", ""),
        ("DSC", "Glottis", "b", 60, 1, "", ""),
        ("HD95", "Lips", "a", 3, 1, "", ""),
        ("HD95", "Lips", "b", 2, 1, "", ""),
    ]
    table = read_paper_table(write(tmp_path / "table.csv", rows))
    assert wins(table, Metric.DSC) == {"a": 1, "b": 0}
    assert wins(table, Metric.HD95) == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("DSC", "Tongue", "a", 1, 1, "", ""), "Tongue"),
        (("ASSD", "Lips", "a", 1, 1, "", ""), "DSC or HD95"),
        (("DSC", "Lips", "a", "x", 1, "", ""), "line 2"),
        (("DSC", "Lips", "a", "nan", 1, "", ""), "finite"),
        (("DSC", "Lips", "a", 1, -1, "", ""), "finite"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read_paper_table(write(tmp_path / "table.csv", [row]))


def test_a_method_without_an_organ_is_named(tmp_path):
    rows = [
        ("DSC", "Lips", "a", 80, 1, "", ""),
        ("DSC", "Glottis", "a", 60, 1, "", ""),
        ("DSC", "Lips", "b", 70, 1, "", ""),
    ]
    with pytest.raises(InputError, match="b has no DSC of Glottis"):
        read_paper_table(write(tmp_path / "table.csv", rows))
