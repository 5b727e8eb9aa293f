"""The page: its tables against SciPy, what it says of learning, and of the paper."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hanseg_lab.challenge.agreement import (
    compare_orders,
    compare_organs,
    order_sentences,
)
from hanseg_lab.challenge.conditions import scale_rows
from hanseg_lab.challenge.files import copy_page
from hanseg_lab.challenge.ledger import Ledger
from hanseg_lab.challenge.methods import choose_methods
from hanseg_lab.challenge.mr_inputs import MR_INPUTS, WITH_MR
from hanseg_lab.challenge.places import Places
from hanseg_lab.challenge.report import (
    learning_rows,
    learning_sentences,
    mr_rows,
    read_results,
    write_report,
)
from hanseg_lab.challenge.run import run_steps
from hanseg_lab.challenge.settings import ChallengeSettings
from hanseg_lab.challenge.stages import Stages
from hanseg_lab.challenge.tables import organ_rows, paper_rows, ranking_rows
from hanseg_lab.evaluation.paper import read_published
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.organs import ORGANS
from tests.miniature.fakes import SMALL, FakeProduct, made_up_scores

PAGE = "challenge.md"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    places = Places(tmp_path_factory.mktemp("challenge"))
    stages = Stages(
        places, SMALL, FakeProduct(), lambda: write_report(places, SMALL, ledger)
    )
    ledger = Ledger(places.records, stages.steps())
    assert run_steps(ledger.steps, ledger, at_once=1) == ()
    return places


@pytest.fixture(scope="module")
def results(places: Places):
    stages = Stages(places, SMALL, FakeProduct(), lambda: None)
    return read_results(places, SMALL, Ledger(places.records, stages.steps()))


@pytest.fixture(scope="module")
def page(places: Places) -> str:
    return (places.report / PAGE).read_text()


def values(metric: Metric) -> dict[str, np.ndarray]:
    """Return each method's values (case, organ), infinite ones as the challenge's."""
    found = {
        name: np.array(
            [s.value for s in made_up_scores(name) if s.metric is metric]
        ).reshape(2, len(ORGANS))
        for name in SMALL.methods
    }
    for organ in range(len(ORGANS)):
        every = np.concatenate([each[:, organ] for each in found.values()])
        worst = every[np.isfinite(every)].max()
        for each in found.values():
            column = each[:, organ]
            column[~np.isfinite(column)] = worst
    return found


def tables_of(page: str) -> list[list[list[str]]]:
    """Return every Markdown table's cells."""
    blocks = re.findall(r"(?:^\|.*\|\n?)+", page, flags=re.MULTILINE)
    return [
        [
            [cell.strip() for cell in line.strip("| ").split("|")]
            for line in b.split("\n")
        ]
        for b in (block.strip() for block in blocks)
    ]


@pytest.mark.parametrize(
    ("metric", "factor", "number"), [(Metric.DSC, 100, 0), (Metric.HD95, 1, 1)]
)
def test_tables_2_and_3_are_means_and_deviations(page, metric, factor, number):
    rows = tables_of(page)[number]
    assert rows[0] == ["organ", *SMALL.methods]
    for index, organ in enumerate(ORGANS):
        row = rows[2 + index]
        assert row[0] == organ.name
        for cell, each in zip(row[1:], values(metric).values(), strict=True):
            column = factor * each[:, index]
            text = f"{column.mean():.1f} ± {column.std(ddof=1):.1f}"
            assert cell.strip("*") == text


@pytest.mark.parametrize(
    ("metric", "factor", "number"), [(Metric.DSC, 100, 0), (Metric.HD95, 1, 1)]
)
def test_the_last_rows_are_over_all_organs(page, metric, factor, number):
    *_, overall, median = tables_of(page)[number]
    assert (overall[0], median[0]) == ("**all organs**", "median (IQR)")
    for mean_cell, median_cell, each in zip(
        overall[1:], median[1:], values(metric).values(), strict=True
    ):
        scaled = factor * each
        mean = scaled.mean(axis=0).mean()
        sd = np.sqrt((scaled.std(axis=0, ddof=1) ** 2).mean())
        assert mean_cell.strip("*") == f"{mean:.1f} ± {sd:.1f}"
        low, middle, high = np.quantile(scaled, [0.25, 0.5, 0.75])
        assert median_cell == f"{middle:.1f} ({high - low:.1f})"


def test_the_best_mean_of_each_organ_is_bold(results):
    for metric, best in ((Metric.DSC, max), (Metric.HD95, min)):
        for row in organ_rows(results.tables[metric])[1:31]:
            means = [float(cell.strip("*").split(" ")[0]) for cell in row[1:]]
            bold = {
                m for m, c in zip(means, row[1:], strict=True) if c.startswith("**")
            }
            assert bold == {best(means)}


def scipy_scores(metric: Metric, names: list[str]) -> dict[str, int]:
    """Return how many others each is better than: SciPy alone, Bonferroni by pairs."""
    sign = 1 if metric is Metric.DSC else -1
    found, pairs = values(metric), list(combinations(names, 2))
    scores = dict.fromkeys(names, 0)
    for one, other in pairs:
        difference = sign * (found[one] - found[other]).ravel()
        test = stats.wilcoxon(difference, method="asymptotic", correction=False)  # type: ignore[call-overload]
        if test.pvalue * len(pairs) < 0.05:
            ranks = stats.rankdata(np.abs(difference))
            up = ranks[difference > 0].sum() > ranks[difference < 0].sum()
            scores[one if up else other] += 1
    return scores


@pytest.mark.parametrize(("number", "which"), [(2, "teams"), (3, "all")])
def test_table_4_equals_an_independent_computation(page, number, which):
    header, _, *rows = tables_of(page)[number]
    assert header[1:5] == ["S DSC", "R DSC", "S HD95", "R HD95"]
    names = [row[0] for row in rows]
    six = ["eli1", "cwlg102", "TurboMiki"]
    assert sorted(names) == sorted(six if which == "teams" else SMALL.methods)
    sums: dict[str, int] = {}
    for column, metric in ((1, Metric.DSC), (3, Metric.HD95)):
        scores = scipy_scores(metric, names)
        for row in rows:
            better = sum(other > scores[row[0]] for other in scores.values())
            assert row[column : column + 2] == [str(scores[row[0]]), str(better + 1)]
            sums[row[0]] = sums.get(row[0], 0) + better + 1
    for row in rows:
        assert row[5] == str(sums[row[0]])
        assert int(row[6]) == 1 + sum(s < sums[row[0]] for s in sums.values())


def test_the_papers_ranks_stand_beside(results):
    rows = {row[0]: row[-1] for row in ranking_rows(results.rankings["teams"])}
    assert rows["eli1"] == "1"
    assert rows["cwlg102"] == "2"
    assert rows["TurboMiki"] == "6"


def test_figure_and_curves_are_shown_if_they_are_there(page, places):
    shown = re.findall(r"\(pictures/(\w+)\.png\)", page)
    there = {path.stem for path in (places.report / "pictures").iterdir()}
    assert set(shown) == there == {"loss", "dice"}


def test_each_methods_learning_is_in_a_row(results):
    header, *rows = learning_rows(results)
    by_name = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_name["eli1"]["learnt"] == "yes"
    assert by_name["TurboMiki"]["learnt"] == "**no**"
    assert by_name["TurboMiki"]["organs at 0"] == "1"
    assert by_name["nearest"]["learnt"] == by_name["nearest"]["asked"] == "-"
    assert by_name["cwlg102"]["networks"] == "2"
    assert by_name["cwlg102"]["iterations"] == "60 60"
    assert by_name["eli1"]["loss"] == "1.90 to 0.63"
    assert by_name["eli1"]["held out"] == "0.73"
    assert by_name["default"]["asked"] == "65"


def test_the_page_says_who_did_not_learn(results):
    said = " ".join(learning_sentences(results))
    assert "TurboMiki has found no Pituitary." in said
    assert re.search(r"TurboMiki reaches \d+\.\d % of the 45 %", said)
    assert "copied" in said
    assert "no better: TurboMiki" in said


def test_a_page_of_another_scale_says_so(page):
    assert "This is not the challenge's scale" in page
    assert "training_cases" in page


def test_mrs_of_training_and_test_cases_are_counted(results):
    header, *rows = scale_rows(SMALL, results.taught_mrs, results.verdicts)
    by_name = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_name["eli1"]["test MRs"] == "1 rejected, 1 used"
    assert by_name["eli1"]["training MRs"] == "2 used"
    assert by_name["eli1"]["registration"] == "rigid-elastix"
    assert by_name["cwlg102"]["test MRs"] == by_name["cwlg102"]["training MRs"] == "-"


def test_the_six_stand_beside_the_papers_figures(results):
    header, *rows = paper_rows(results.tables, read_published())
    assert header[1:3] == ["DSC here", "DSC in the paper"]
    assert [row[0] for row in rows] == ["eli1", "cwlg102", "TurboMiki"]
    assert rows[0][2::2] == ["76.9 ± 8.4", "3.5 ± 2.4"]
    assert rows[0][1] == organ_rows(results.tables[Metric.DSC])[31][1].strip("*")


def test_costs_are_in_the_page(page):
    costs = tables_of(page)[-1]
    rows = {row[0]: row[1:] for row in costs}
    assert rows["train eli1"] == ["1.0", "1.5"]
    assert rows["data training"] == ["2.0", "3.0"]


def test_what_the_mr_buys_has_a_column_an_input(tmp_path: Path):
    settings = SMALL.model_copy(update={"mr_methods": ("eli1",)})
    places = Places(tmp_path)
    stages = Stages(places, settings, FakeProduct(), lambda: None)
    ledger = Ledger(places.records, stages.steps())
    run_steps(ledger.steps, ledger, at_once=1)
    trial = read_results(places, settings, ledger).mr_trials["eli1"]
    header, *rows = mr_rows(trial)
    assert header[1:] == [WITH_MR, *(each.name for each in MR_INPUTS)]
    assert [row[0] for row in rows[:30]] == [organ.name for organ in ORGANS]
    assert rows[-1] == ["MRs used", *["1"] * 5]


def test_without_such_trials_the_page_does_not_speak_of_them(page):
    assert "What the MR buys" not in page


def test_the_page_moves_to_the_documentation(places, tmp_path: Path):
    docs = tmp_path / "docs"
    docs.mkdir()
    copy_page(places.report, docs)
    text = (docs / "lab" / PAGE).read_text()
    linked = re.findall(r"\]\(([^)]+\.png)\)", text)
    assert linked
    assert all((docs / "lab" / each).resolve().exists() for each in linked)


def test_orders_are_compared_pair_by_pair():
    ours = {"eli1": 2, "cwlg102": 1, "Mamaa": 3, "CHB-QuantIF": 4, "TurboMiki": 4}
    found = compare_orders(ours | {"default": 1})
    assert found.turned == (("eli1", "cwlg102"),)
    assert found.level == (("CHB-QuantIF", "TurboMiki"),)
    assert ("Mamaa", "TurboMiki") in found.same
    assert found.pairs == 9  # of ten; the paper does not part CHB-QuantIF and Mamaa
    said = order_sentences(found)
    assert "**Differs**: the paper has eli1 before cwlg102" in " ".join(said)


def test_an_order_equal_to_the_papers_agrees_throughout():
    paper = {"eli1": 1, "cwlg102": 2, "CHB-QuantIF": 3, "Mamaa": 3, "m.m.gs": 5}
    found = compare_orders(paper)
    assert (found.turned, found.level, found.tau) == ((), (), 1.0)


def test_without_two_of_the_six_nothing_is_compared():
    found = compare_orders({"default": 1, "eli1": 2})
    assert found.pairs == 0
    assert found.tau is None
    assert "nothing to compare" in order_sentences(found)[0]


def test_organs_are_compared_by_the_means_of_the_six(results):
    found = compare_organs(results.tables[Metric.DSC], read_published())
    assert found is not None
    assert len(found.hardest_here) == 5
    assert found.hardest_in_paper[0] in {"OpticChiasm", "Pituitary", "OpticNrv_R"}
    six = ["eli1", "cwlg102", "TurboMiki"]
    ours = np.mean([values(Metric.DSC)[name].mean(axis=0) for name in six], axis=0)
    paper = read_published()
    theirs = [
        np.mean([line.mean for line in paper.lines if line.organ == organ.name])
        for organ in ORGANS
    ]
    assert found.rho == pytest.approx(stats.spearmanr(ours, theirs).statistic)


def test_methods_that_the_paper_has_not_are_not_compared(results):
    table = results.tables[Metric.DSC]
    only = type(table)(
        table.metric, ("default",), table.items, table.values[3:4], {}, ()
    )
    assert compare_organs(only, read_published()) is None


def test_a_challenge_of_the_full_size_bears_no_warning(results, places):
    assert ChallengeSettings().differences == ()
    assert [m.name for m in choose_methods(SMALL.methods)] == list(SMALL.methods)
