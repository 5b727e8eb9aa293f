"""`hanseg rank`: tables of scores in, a ranking with its rules and pictures out."""

import json

import pytest

from hanseg_lab.evaluation.scores import write_scores
from tests.evaluation.folders import run
from tests.evaluation.simulated import CASES, challenge

METHODS = {"ours": 0.03, "theirs": 0.0, "worst": -0.1}


@pytest.fixture
def results(tmp_path):
    """A results.csv a method: two named by their file, one by its folder."""
    paths = []
    missed = [("worst", case, "Pituitary") for case in CASES]
    for method, scores in challenge(METHODS, missed=missed).items():
        path = tmp_path / f"{method}.csv"
        if method == "theirs":
            path = tmp_path / "theirs" / "results.csv"
            path.parent.mkdir()
        write_scores(scores, path)
        paths.append(path)
    return paths


def test_the_ranking_is_written_with_its_rules(results, tmp_path):
    out = tmp_path / "out"
    run("rank", *results, "--out", out, "--bootstrap", "20")
    document = json.loads((out / "ranking.json").read_text())
    assert document["final_rank"] == {"ours": 1, "theirs": 2, "worst": 3}
    assert document["rules"]["alpha"] == 0.05
    assert document["rules"]["bonferroni_factor"] == 3
    assert document["metrics"]["DSC"]["significance_score"]["ours"] == 2
    assert document["stability"]["samples"] == 20
    assert document["metrics"]["HD95"]["replaced"] == {
        "ours": 0,
        "theirs": 0,
        "worst": 14,
    }


def test_pictures_and_a_page_come_with_it(results, tmp_path):
    out = tmp_path / "out"
    run("rank", *results, "--out", out, "--bootstrap", "5")
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("ranking.json", "ranking.csv", "report.html", "stability.png"),
        *("boxes_DSC.png", "boxes_HD95.png"),
        *("significance_DSC.png", "significance_HD95.png"),
    }
    assert "worst" in (out / "report.html").read_text()


def test_the_best_comes_first(results, tmp_path):
    out = tmp_path / "out"
    result = run("rank", *reversed(results), "--out", out, "--bootstrap", "0")
    lines = (out / "ranking.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["ours", "theirs", "worst"]
    assert "ours" in result.stdout


def test_options_reach_the_ranking(results, tmp_path):
    out = tmp_path / "out"
    options = ("--alpha", "0.01", "--sides", "one", "--correction", "tests")
    run("rank", *results, "--out", out, *options, "--bootstrap", "0")
    rules = json.loads((out / "ranking.json").read_text())["rules"]
    assert (rules["alpha"], rules["sides"]) == (0.01, "one")
    assert (rules["correction"], rules["bonferroni_factor"]) == ("tests", 6)


def test_the_published_results_stand_beside(results, tmp_path):
    out = tmp_path / "out"
    result = run("rank", *results, "--out", out, "--paper", "--bootstrap", "0")
    page = (out / "report.html").read_text()
    for text in ("eli1", "76.9 ± 8.4", "60.9 to 76.9", "no HD95 of single organs"):
        assert text in page
    assert "76.9 ± 8.4" in result.stdout
    assert "cwlg102 14, eli1 12, m.m.gs 2, CHB-QuantIF 1, Mamaa 1" in result.stdout
    assert "CC BY" in result.stdout
    assert "94.3 ± 1.7" in page  # the mandible, by the winner


def test_one_method_can_only_stand_beside_the_published(results, tmp_path):
    out = tmp_path / "out"
    assert run("rank", results[0], "--out", out).exit_code == 2
    assert not out.exists()
    assert run("rank", results[0], "--out", out, "--paper").exit_code == 0
    assert "final_rank" not in json.loads((out / "ranking.json").read_text())


def test_a_table_per_organ_may_be_dropped_in(results, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(
        "metric,organ,method,mean,sd,median,iqr\nDSC,Lips,a,70,3,,\nDSC,Lips,b,75,2,,\n"
    )
    out = tmp_path / "out"
    arguments = ("--out", out, "--paper-table", table, "--bootstrap", "0")
    run("rank", *results, *arguments)
    page = (out / "report.html").read_text()
    assert "70.0 to 75.0" in page
    assert "b 1, a 0" in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "columns"),
        ("case,organ,metric,value\n", "no scores"),
        ("case,organ,metric,value\nx,Tongue,DSC,1\n", "line 2"),
        ("case,organ,metric,value\nx,Lips,DSC,nan\n", "nan"),
        ("case,organ,metric,value\nx,Lips,DSC,1\nx,Lips,DSC,1\n", "twice"),
    ],
)
def test_a_file_that_is_no_table_of_scores_is_refused(results, tmp_path, text, message):
    bad = tmp_path / "bad.csv"
    bad.write_text(text)
    result = run("rank", results[0], bad, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_two_methods_of_one_name_are_refused(results, tmp_path):
    result = run("rank", results[0], results[0], "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "rename" in str(result.exception)


def test_a_negative_number_of_samples_is_refused(results, tmp_path):
    result = run("rank", *results, "--out", tmp_path / "out", "--bootstrap", "-1")
    assert result.exit_code == 2


def test_a_script_gets_the_whole_ranking_as_one_line(results, tmp_path):
    arguments = ("--out", tmp_path / "out", "--bootstrap", "0", "--json")
    told = run("rank", *results, *arguments)
    (line,) = told.stdout.splitlines()
    event = json.loads(line)
    assert event["final_rank"] == {"ours": 1, "theirs": 2, "worst": 3}
    assert event["remarks"]
