"""`hanseg evaluate`: folders in, table, summary and report out, or a clear refusal."""

import csv
import json
import math
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from hanseg_lab.evaluation import score_cases
from hanseg_lab.evaluation.scores import Score, read_scores
from hanseg_shared.grid import Grid
from hanseg_shared.io import write_volume
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.volume import Volume
from tests.evaluation.folders import (
    GRID,
    PLACES,
    label_map,
    moved,
    run,
    write_label_maps,
    write_masks,
)

CASES = ("case_01", "case_02")
WITHOUT_CORD = {name: PLACES[name] for name in ("Parotid_L", "Parotid_R")}


@pytest.fixture
def folders(tmp_path):
    """Predictions and references of two cases, the predictions off by a voxel."""
    predictions = write_label_maps(tmp_path / "p", CASES, moved(label_map()))
    references = write_label_maps(tmp_path / "r", CASES, label_map())
    return predictions, references, tmp_path / "out"


def refusal(folders, *options) -> str:
    """Return why an evaluation is refused; nothing may be written then."""
    predictions, references, out = folders
    arguments = ("--out", out, "--workers", "1", *options)
    result = run("evaluate", predictions, references, *arguments)
    assert result.exit_code == 2
    assert not out.exists()
    return str(result.exception)


def test_the_table_is_tidy_and_complete(folders):
    predictions, references, out = folders
    run("evaluate", predictions, references, "--out", out, "--workers", "1")
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "organ", "metric", "value"]
    assert len(rows) == len(CASES) * len(PLACES) * len(Metric)
    dice = {(r["case"], r["organ"]): r["value"] for r in rows if r["metric"] == "DSC"}
    # six voxels wide, off by one
    assert float(dice["case_01", "Parotid_L"]) == pytest.approx(5 / 6)


def test_two_processes_find_what_one_finds(folders):
    predictions, references, out = folders
    for workers in ("1", "2"):
        target = out / workers
        run("evaluate", predictions, references, "--out", target, "--workers", workers)
    first, second = ((out / n / "results.csv").read_text() for n in ("1", "2"))
    assert first == second


def test_the_summary_says_every_rule_and_version(folders):
    predictions, references, out = folders
    run("evaluate", predictions, references, "--out", out, "--workers", "1")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rules"]["empty"] == "refuse"
    assert set(summary["rules"]["tolerances_mm"]) == {o.name for o in ORGANS}
    assert set(summary["metrics"]) == {metric.value for metric in Metric}
    assert summary["tool"]["hanseg-shared"]
    assert summary["cases"] == list(CASES)
    figures = summary["organs"]["HD95"]["Parotid_L"]
    assert figures["count"] == 2
    assert figures["mean"] == pytest.approx(1.0)


def test_the_report_shows_plots_tables_and_the_worst(folders):
    predictions, references, out = folders
    run("evaluate", predictions, references, "--out", out, "--workers", "1")
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") == 2 + 2
    for text in ("DSC [%]", "HD95 [mm]", "mean ± SD", "median (IQR)", "SpinalCord"):
        assert text in page


def test_a_person_sees_the_organs(folders):
    predictions, references, out = folders
    result = run("evaluate", predictions, references, "--out", out, "--workers", "1")
    assert result.exit_code == 0
    assert "SpinalCord" in result.stdout
    assert "all organs" in result.stdout


def test_a_script_gets_a_line_a_case(folders):
    predictions, references, out = folders
    arguments = ("--out", out, "--json", "--workers", "1")
    result = run("evaluate", predictions, references, *arguments)
    *lines, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert last["organs"][0]["organ"] == "Parotid_L"
    assert last["out"] == str(out)
    assert lines == [
        {"case": "case_01", "done": 1, "total": 2},
        {"case": "case_02", "done": 2, "total": 2},
    ]


def test_a_killed_process_is_told_with_the_remedy(folders, monkeypatch):
    class Killed:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def submit(self, *_: object) -> None:
            raise BrokenProcessPool("gone")

        def shutdown(self, **_: object) -> None:
            pass

    monkeypatch.setattr(score_cases, "ProcessPoolExecutor", Killed)
    predictions, references, out = folders
    result = run("evaluate", predictions, references, "--out", out, "--workers", "2")
    assert result.exit_code == 3
    assert "--workers 1" in str(result.exception)
    assert not out.exists()


def test_segments_cropped_by_slicer_lie_where_their_headers_say(folders, tmp_path):
    _, references, out = folders
    labels = label_map()
    folder = tmp_path / "s" / "case_01"
    folder.mkdir(parents=True)
    for name, (z, y, x) in PLACES.items():
        size = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
        part = Volume(
            labels.array[z, y, x] == organ(name).label,
            GRID.crop((x.start, y.start, z.start), size),
        )
        write_volume(part, folder / f"case_01_OAR_{name}.seg.nrrd")
    (references / "case_02.nii.gz").unlink()
    run("evaluate", tmp_path / "s", references, "--out", out, "--workers", "1")
    scores = read_scores(out / "results.csv")
    assert {s.value for s in scores if s.metric is Metric.DSC} == {1.0}


def test_masks_of_organs_on_different_grids_are_refused(folders, tmp_path):
    _, references, _ = folders
    for case in CASES:
        folder = write_masks(tmp_path / "m" / case, label_map())
    other = Volume(label_map().array > 0, Grid(GRID.size, (1.0, 1.0, 3.0)))
    write_volume(other, folder / "SpinalCord.nii.gz")
    message = refusal((tmp_path / "m", references, folders[2]))
    assert "case_02: SpinalCord.nii.gz is not on the grid" in message


def test_a_mask_with_two_labels_is_refused(folders, tmp_path):
    _, references, _ = folders
    for case in CASES:
        folder = write_masks(tmp_path / "m" / case, label_map())
    write_volume(label_map(), folder / "SpinalCord.nii.gz")
    message = refusal((tmp_path / "m", references, folders[2]))
    assert "SpinalCord.nii.gz: a mask holds one label" in message


def test_an_empty_mask_is_an_organ_that_was_missed(folders, tmp_path):
    _, references, out = folders
    for case in CASES:
        folder = write_masks(tmp_path / "m" / case, label_map())
    nothing = Volume(np.zeros_like(label_map().array), GRID)
    write_volume(nothing, folder / "SpinalCord.nii.gz")
    arguments = ("--out", out, "--empty", "challenge", "--workers", "1")
    run("evaluate", tmp_path / "m", references, *arguments)
    values = {
        (s.case, s.metric): s.value
        for s in read_scores(out / "results.csv")
        if s.organ == "SpinalCord"
    }
    assert values["case_01", Metric.DSC] == 1
    assert values["case_02", Metric.DSC] == 0
    assert values["case_02", Metric.HD95] == math.inf


def test_labels_without_any_organ_are_an_empty_prediction(folders):
    predictions, references, out = folders
    write_volume(label_map({}), predictions / "case_01.nii.gz")
    arguments = ("--out", out, "--empty", "challenge", "--workers", "1")
    run("evaluate", predictions, references, *arguments)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["missed"] == {"case_01": list(PLACES)}
    assert "too far apart" not in (out / "report.html").read_text()


def test_a_folder_that_is_a_file_cannot_be_written(folders, tmp_path):
    predictions, references, _ = folders
    (tmp_path / "file").write_text("")
    arguments = ("--out", tmp_path / "file" / "out", "--workers", "1")
    result = run("evaluate", predictions, references, *arguments)
    assert result.exit_code == 2
    assert "cannot write there" in str(result.exception)


def test_masks_of_organs_and_a_label_map_can_be_compared(folders, tmp_path):
    _, references, out = folders
    for case in CASES:
        write_masks(tmp_path / "m" / case, moved(label_map()))
    run("evaluate", tmp_path / "m", references, "--out", out, "--workers", "1")
    assert len(read_scores(out / "results.csv")) == 2 * 3 * len(Metric)


def test_other_files_of_the_folder_stay(folders):
    predictions, references, out = folders
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    run("evaluate", predictions, references, "--out", out, "--workers", "1")
    names = {path.name for path in out.iterdir()}
    assert names == {"notes.txt", "results.csv", "summary.json", "report.html"}


def test_another_grid_is_refused(folders):
    predictions, _, _ = folders
    other = Volume(label_map().array, Grid(GRID.size, (1.0, 1.0, 2.4), GRID.origin))
    write_volume(other, predictions / "case_02.nii.gz")
    assert "case_02: the prediction is not on the grid" in refusal(folders)


def test_a_label_that_is_no_organs_is_refused(folders):
    predictions, _, _ = folders
    labels = label_map()
    labels.array[0, 0, 0] = 31
    write_volume(labels, predictions / "case_01.nii.gz")
    message = refusal(folders)
    assert "case_01: case_01.nii.gz: it holds the labels 31, which" in message
    assert "dataset.json" in message


def test_floats_are_refused(folders):
    predictions, _, _ = folders
    floats = label_map().array.astype(np.float32)
    write_volume(Volume(floats, GRID), predictions / "case_01.nii.gz")
    assert "whole numbers, but these are float32" in refusal(folders)


def test_everything_that_is_wrong_is_named_at_once(folders):
    predictions, references, _ = folders
    floats = label_map().array.astype(np.float32)
    write_volume(Volume(floats, GRID), predictions / "case_01.nii.gz")
    write_volume(label_map(WITHOUT_CORD), references / "case_02.nii.gz")
    lines = refusal(folders).splitlines()
    assert any("case_01" in line and "float32" in line for line in lines)
    assert any("only in the prediction: SpinalCord (case_02)" in x for x in lines)


def test_a_missing_case_is_refused(folders):
    predictions, _, _ = folders
    (predictions / "case_02.nii.gz").unlink()
    assert "case_02: there is no prediction" in refusal(folders)


def test_an_empty_folder_is_refused(folders, tmp_path):
    (tmp_path / "e").mkdir()
    assert "no case is found" in refusal((tmp_path / "e", *folders[1:]))


def test_no_number_of_workers_below_one(folders):
    assert "workers" in refusal(folders, "--workers", "0")


def scores_with_rule(folders, rule) -> dict[tuple[str, str, Metric], float]:
    """Return scores where case 1 lacks the cord, and case 2 should not have it."""
    predictions, references, out = folders
    write_volume(label_map(WITHOUT_CORD), predictions / "case_01.nii.gz")
    write_volume(label_map(WITHOUT_CORD), references / "case_02.nii.gz")
    arguments = ("--out", out, "--empty", rule, "--workers", "1")
    assert run("evaluate", predictions, references, *arguments).exit_code == 0
    scores = read_scores(out / "results.csv")
    return {(s.case, s.organ, s.metric): s.value for s in scores}


def test_the_challenges_rule_scores_what_was_missed(folders):
    values = scores_with_rule(folders, "challenge")
    assert values["case_01", "SpinalCord", Metric.DSC] == 0
    assert values["case_01", "SpinalCord", Metric.HD95] == math.inf
    assert ("case_02", "SpinalCord", Metric.DSC) not in values


def test_the_strict_rule_scores_what_is_too_much(folders):
    values = scores_with_rule(folders, "strict")
    assert values["case_01", "SpinalCord", Metric.DSC] == 0
    assert values["case_02", "SpinalCord", Metric.DSC] == 0
    assert values["case_02", "SpinalCord", Metric.HD95] == math.inf


def test_what_was_missed_and_left_out_is_written_down(folders):
    scores_with_rule(folders, "challenge")
    summary = json.loads((folders[2] / "summary.json").read_text())
    assert summary["missed"] == {"case_01": ["SpinalCord"]}
    assert summary["left_out"] == {"case_02": ["SpinalCord"]}
    assert summary["overall"]["HD95"]["infinite"] == 1


def test_a_site_may_have_its_own_tolerances(folders, tmp_path):
    predictions, references, out = folders
    limits = tmp_path / "limits.csv"
    limits.write_text("organ,tolerance_mm\nParotid_L,0\n")
    arguments = ("--out", out, "--tolerances", limits, "--workers", "1")
    run("evaluate", predictions, references, *arguments)
    scores = {
        s.organ: s.value
        for s in read_scores(out / "results.csv")
        if s.metric is Metric.SURFACE_DSC
    }
    assert scores["Parotid_L"] < scores["Parotid_R"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("organ,mm\nLips,2\n", "columns"),
        ("organ,tolerance_mm\nTongue,2\n", "Tongue"),
        ("organ,tolerance_mm\nLips,-1\n", "0 or more"),
        ("organ,tolerance_mm\nLips,two\n", "two"),
    ],
)
def test_tolerances_that_make_no_sense_are_refused(folders, tmp_path, text, message):
    limits = tmp_path / "limits.csv"
    limits.write_text(text)
    assert message in refusal(folders, "--tolerances", limits)


def test_scores_survive_the_file(folders):
    predictions, references, out = folders
    run("evaluate", predictions, references, "--out", out, "--workers", "1")
    scores = read_scores(out / "results.csv")
    assert scores[0] == Score("case_01", "Parotid_L", Metric.DSC, scores[0].value)
    assert len({(s.case, s.organ, s.metric) for s in scores}) == len(scores)
