"""A name from outside is text in a spreadsheet."""

from __future__ import annotations

import csv

import pytest

from hanseg_lab.evaluation.scores import Score, read_scores, write_scores
from hanseg_shared.client.batch import CaseOutcome, write_summary
from hanseg_shared.csv_cells import FORMULA_STARTS, read_cell, safe_cell, safe_row
from hanseg_shared.metrics.metric import Metric

NAME = '=HYPERLINK("http://somewhere";"results")'


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_a_text_that_would_be_a_formula_is_quoted_and_read_back(start):
    assert safe_cell(f"{start}1") == f"'{start}1"
    assert read_cell(safe_cell(f"{start}1")) == f"{start}1"


@pytest.mark.parametrize("text", ["", "case_1", "a=b", "'quoted'", " =1"])
def test_other_texts_stay(text):
    assert read_cell(safe_cell(text)) == safe_cell(text) == text


def test_numbers_stay_numbers():
    assert safe_row((-1.5, "-1.5", None)) == [-1.5, "'-1.5", None]


def test_the_summary_of_a_batch_holds_no_formula(tmp_path):
    path = tmp_path / "summary.csv"
    write_summary(path, [CaseOutcome(NAME, "failed", reason="@SUM(1)")])
    with path.open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert f"'{NAME}" in cells
    assert not [cell for cell in cells if cell.startswith(FORMULA_STARTS)]


def test_scores_of_such_a_case_are_read_as_they_were(tmp_path):
    path = tmp_path / "results.csv"
    scores = [Score(NAME, "Brainstem", next(iter(Metric)), 0.5)]
    write_scores(scores, path)
    assert "\n'=" in path.read_text() or "\n\"'=" in path.read_text()
    assert read_scores(path) == scores
