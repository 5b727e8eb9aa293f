"""The inference benchmark's arithmetic, on cases one can check by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.figure import Figure
from benchmarks.inference.agreement import (
    compare_patient,
    dice_of_organs,
    drawn_numbers,
    read_nnunet,
    same_share,
)
from benchmarks.inference.bench import (
    DICE,
    EQUAL,
    EXACT,
    FAST,
    FINE,
    FULL,
    LONG,
    MIDDLE,
    NNUNET,
    PARTS,
    PHASES,
    PREPARE,
    SHORT,
    SMALL,
    TILE,
    Bench,
    Unit,
    nnunet_gb,
)
from benchmarks.inference.figures import (
    Table,
    dice_figures,
    figures,
    nnunet_wall,
    phase_table,
)
from benchmarks.inference.memory import TreeMemory, available_gb, parents, tree
from benchmarks.inference.runs import (
    PEERS_CODE,
    Journal,
    PeerError,
    Row,
    fingerprint,
    peer_environment,
    run_child,
)
from benchmarks.inference.volumes import FIELDS, grid_around, middle_of_organs

from hanseg_segmentation.packages.package import ModelPackage
from hanseg_shared.grid import Grid
from hanseg_shared.io import write_volume
from hanseg_shared.organs import Evidence, organ
from hanseg_shared.volume import Volume
from tests.inference.scenes import package

BODY = Grid((100, 50, 125), (5.0, 5.0, 3.0), (-250.0, -100.0, 40.0))


def row(
    way: str, model: str = SMALL, image: str = SHORT, repeat: int = 0, **numbers: float
) -> Row:
    return Row(way, model, image, repeat, "now", numbers, engine="eager-fp32")


def knows(**channels: int) -> ModelPackage:
    evidence = dict.fromkeys(channels, Evidence.CLINICAL)
    return package(labels=channels, evidence=evidence)


def named(lines: list[Figure], part: str) -> Figure:
    (found,) = [line for line in lines if part in line.name]
    return found


# --- voxel by voxel, organ by organ


def test_the_same_share_counts_voxels_and_what_either_calls_an_organ():
    ours, theirs = np.zeros((2, 5), np.uint8), np.zeros((2, 5), np.uint8)
    ours[0, :3], theirs[0, :4] = 1, 1
    assert same_share(ours, theirs) == pytest.approx(
        {"same": 0.9, "same_foreground": 0.75, "foreground": 0.4}
    )


def test_two_empty_label_maps_are_no_agreement():
    empty = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="both label maps are empty"):
        same_share(empty, empty)


def test_dice_is_computed_organ_by_organ():
    first = np.array([1, 1, 1, 2, 0, 0], np.uint8)
    second = np.array([9, 9, 0, 0, 9, 0], np.uint8)
    numbers = {"a": (1, 9), "b": (2, 8), "c": (3, 7)}
    assert dice_of_organs(first, second, numbers) == {"a": 4 / 6, "b": 0.0}


def test_an_organ_that_nobody_drew_is_not_compared_with_the_clinic():
    drawn = np.array([0, 1, 7], np.uint8)
    model = knows(Brainstem=1, SpinalCord=2)
    assert drawn_numbers(model, drawn) == {"Brainstem": (organ("Brainstem").label, 1)}


def test_labels_of_nnunet_are_read_as_organ_labels(tmp_path: Path):
    model = knows(SpinalCord=1, Brainstem=2)
    grid = Grid((3, 1, 1), (1.0, 1.0, 1.0))
    write_volume(Volume(np.array([[[0, 1, 2]]], np.uint8), grid), tmp_path / "a.nii.gz")
    expected = [0, organ("SpinalCord").label, organ("Brainstem").label]
    assert read_nnunet(tmp_path / "a.nii.gz", model).ravel().tolist() == expected


def test_a_patient_is_compared_in_all_ways():
    stem = organ("Brainstem").label
    exact = np.array([stem, stem, stem, 0], np.uint8)
    fast = np.array([stem, stem, 0, 0], np.uint8)
    rapid = np.array([stem, 0, 0, 0], np.uint8)
    found = compare_patient(
        exact,
        fast,
        rapid,
        exact,
        np.array([1, 1, 0, 0], np.uint8),
        unchecked=exact,
        package=knows(Brainstem=1),
        voxel_ml=0.5,
    )
    assert found["fast Brainstem"] == found["exact drawn Brainstem"] == 0.8
    assert found["ml Brainstem"] == 1.5
    assert found["fast drawn Brainstem"] == found["nnunet same"] == 1.0
    assert found["rapid Brainstem"] == 0.5
    assert found["rapid drawn Brainstem"] == pytest.approx(2 / 3, abs=1e-5)


# --- images


def test_a_field_holds_the_patient_in_its_middle():
    field = grid_around(BODY, FIELDS[LONG], middle=0.0)
    assert field.extent == pytest.approx((500.0, 500.0, 375.0))
    assert field.centre == pytest.approx(BODY.centre)


def test_a_short_field_lies_about_the_organs_but_within_the_patient():
    near = grid_around(BODY, FIELDS[SHORT], middle=300.0)
    beyond = grid_around(BODY, FIELDS[SHORT], middle=1000.0)
    assert near.centre[2] == pytest.approx(300.0)
    low, high = BODY.centre[2] - 375 / 2, BODY.centre[2] + 375 / 2
    assert low < near.centre[2] - 80 < beyond.centre[2] + 80 <= high + 1e-6


def test_the_middle_of_the_organs_is_half_way_between_their_ends():
    drawn = np.zeros(BODY.shape, np.uint8)
    drawn[10, 3, 3], drawn[20, 9, 9] = 1, 2
    assert middle_of_organs(Volume(drawn, BODY)) == pytest.approx(40.0 + 15 * 3.0)


# --- child processes


def test_a_tree_holds_children_of_children():
    assert tree(1, {2: 1, 3: 2, 4: 9, 9: 8}) == {1, 2, 3}


def test_this_process_has_a_parent_and_the_machine_some_memory():
    assert parents()[os.getpid()] == os.getppid()
    assert 0.0 < available_gb() < 1e5


def test_memory_of_a_grandchild_counts():
    hold = "import time; held = bytearray(300_000_000); time.sleep(1.5)"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    command = [sys.executable, "-c", nested]
    with subprocess.Popen(command) as child, TreeMemory(child.pid) as memory:
        child.wait()
    assert 0.3 < memory.peak_gb < 0.5


def test_a_child_tells_its_numbers_in_its_last_line():
    work = "sum(range(10**6)); print('noise'); print('{\"wall\": 2.5}')"
    found = run_child([sys.executable, "-c", work])
    assert found["wall"] == 2.5
    assert "processor" not in found


def test_processor_seconds_before_the_work_do_not_count():
    work = (
        "import time, json; sum(range(10**7)); before = time.process_time();"
        "print(json.dumps({'processor_before': before}))"
    )
    found = run_child([sys.executable, "-c", work])
    assert 0.0 <= float(found["processor"]) < 0.5


def test_a_child_that_fails_says_why():
    with pytest.raises(PeerError, match="no such scanner"):
        run_child([sys.executable, "-c", "raise SystemExit('no such scanner')"])


def test_the_peers_see_nothing_of_this_project(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert "PYTHONPATH" not in peer_environment()


# --- the journal


def test_a_journal_keeps_the_newest_row_of_each_run(tmp_path: Path):
    journal = Journal(tmp_path / "a.jsonl")
    journal.append(row(FAST, wall=9.0))
    journal.append(row(FAST, wall=3.0))
    journal.append(row(FAST, repeat=1, wall=4.0))
    assert [each.numbers["wall"] for each in journal.rows()] == [3.0, 4.0]


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path):
    journal = Journal(tmp_path / "a.jsonl")
    journal.append(row(FAST, wall=9.0))
    with journal.path.open("a") as file:
        file.write('{"way": "ours fa')
    assert len(journal.rows()) == 1


def test_rows_of_other_code_are_measured_again_but_not_the_peers(tmp_path: Path):
    journal = Journal(tmp_path / "a.jsonl")
    journal.append(row(FAST, wall=9.0))
    journal.append(Row(NNUNET, SMALL, SHORT, 0, PEERS_CODE, {"wall": 90.0}))
    assert [each.way for each in journal.rows("later")] == [NNUNET]


def test_the_fingerprint_is_the_same_until_the_code_changes():
    assert fingerprint() == fingerprint()
    assert len(fingerprint()) == 12


# --- what is run


def bench(folder: Path, python: str | None = None) -> Bench:
    return Bench(folder, python, None, {}, Journal(folder / "a.jsonl"), "now")


def test_nothing_of_a_peer_or_a_model_that_is_missing_is_run(tmp_path: Path):
    of_peers = [Unit(way, SMALL, SHORT) for way in (NNUNET, PHASES, TILE)]
    bench(tmp_path).measure([*of_peers, Unit(FAST, FINE, LONG)])
    assert bench(tmp_path).journal.rows() == []


def test_a_run_that_fails_does_not_end_the_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    bench(tmp_path).measure([Unit(FAST, SMALL, SHORT)])
    assert "no peer can make it" in capsys.readouterr().out


def test_our_modes_run_before_and_after_the_peer():
    ways = [unit.way for unit in PARTS["middle"]]
    assert ways == [EXACT, FAST, NNUNET, EXACT, FAST, EQUAL]


def test_every_run_of_the_benchmark_is_another():
    keys = [unit.key for part in PARTS.values() for unit in part]
    assert len(keys) == len(set(keys))


def test_the_memory_that_nnunet_needs_grows_with_voxels_and_classes():
    assert nnunet_gb(SHORT, classes=30) == pytest.approx(9.0)
    assert nnunet_gb(LONG, classes=30) == pytest.approx(9.0 * 150 / 64)
    assert nnunet_gb(SHORT, classes=7) < 5.0


# --- the table


def test_equal_runs_count_by_their_median():
    rows = [row(FAST, repeat=n, wall=wall) for n, wall in enumerate((1.0, 9.0, 2.0))]
    assert Table(rows).get(FAST, SMALL, SHORT, "wall") == 2.0
    assert Table(rows).get(EXACT, SMALL, SHORT, "wall") is None


def nnunet_rows() -> list[Row]:
    """40 s beside the window, 36 tiles of 2 s, of which 0.5 s are bookkeeping."""
    return [
        row(NNUNET, wall=112.0, window=72.0, peak_gb=9.0),
        row(PHASES, wall=120.0, window=72.0, forward=54.0),
        row(EXACT, wall=20.0, tiles_in_all=36.0, tiles=36.0),
    ]


def test_what_was_measured_is_not_extrapolated():
    wall = nnunet_wall(Table(nnunet_rows()), SMALL, SHORT)
    assert wall is not None
    assert (wall.seconds, wall.measured) == (112.0, True)


def test_a_longer_ct_is_extrapolated_by_its_voxels_and_tiles():
    rows = [*nnunet_rows(), row(FAST, image=LONG, tiles_in_all=144.0)]
    wall = nnunet_wall(Table(rows), SMALL, LONG)
    assert wall is not None
    assert wall.seconds == pytest.approx(40.0 * 150 / 64 + 144 * 2.0)
    assert str(wall).endswith("(extrapolated)")


def test_a_network_that_ran_alone_is_extrapolated_with_the_bookkeeping():
    rows = [
        *nnunet_rows(),
        Row(TILE, FULL, "", 0, PEERS_CODE, {"tile": 10.0}),
        row(FAST, FULL, LONG, tiles_in_all=144.0),
    ]
    wall = nnunet_wall(Table(rows), FULL, LONG)
    assert wall is not None
    assert wall.seconds == pytest.approx(40.0 * 150 / 64 + 144 * 10.5)


def test_speed_is_reached_or_not():
    line = named(figures(nnunet_rows()), "exact mode, 8...96")
    assert "5.6 x" in line.measured
    assert line.reached is True
    slow = [*nnunet_rows()[:2], row(EXACT, wall=60.0, tiles_in_all=36.0, tiles=36.0)]
    assert named(figures(slow), "exact mode, 8...96").reached is False


def test_all_but_the_forward_passes_are_compared():
    rows = [row(PHASES, wall=120.0, forward=60.0), row(FAST, wall=5.0, forward=3.0)]
    line = named(figures(rows), "all but the forward passes, fast")
    assert line.measured == "2.00 s beside 60.0 s: 30 x"
    assert line.reached is True


def test_single_phases_are_compared():
    rows = [row(PHASES, to_ct_grid=40.0, preprocess=12.0)]
    rows += [row(EXACT, to_ct_grid=0.1), row(PREPARE, preprocess=1.0)]
    lines = figures(rows)
    assert named(lines, "back to the CT's grid").reached is True
    assert named(lines, "preprocessing").reached is False


def test_memory_is_held_against_the_limit_and_the_peer():
    rows = [*nnunet_rows(), row(FAST, MIDDLE, LONG, peak_gb=2.5)]
    lines = [line for line in figures(rows) if "GB" in line.measured]
    assert [line.reached for line in lines] == [False, True]
    assert lines[1].measured == "12 % of 21.1 GB (extrapolated)"


def test_equality_asks_for_all_voxels_and_for_the_foreground():
    shares = {"exact same": 0.9995, "exact same_foreground": 0.99}
    lines = figures([Row(EQUAL, SMALL, SHORT, 0, "now", shares)])
    assert [line.reached for line in lines] == [True, False]


def patient(**numbers: float) -> Row:
    values = {"nnunet same": 1.0, "nnunet same_foreground": 1.0} | {
        name.replace("_of_", " "): value for name, value in numbers.items()
    }
    return Row(DICE, FINE, str(len(values)), 0, "now", values)


def test_small_organs_may_differ_more_than_large_ones():
    rows = [patient(fast_of_A=0.99, ml_of_A=0.5, fast_of_B=0.99, ml_of_B=5.0)]
    lines = dice_figures(rows)
    assert named(lines, "fast mode against exact mode, organs above").reached is False
    assert named(lines, "fast mode against exact mode, organs below").reached is True


def test_fast_mode_must_be_no_worse_against_the_clinic():
    truth = {"exact drawn A": 0.8, "nnunet drawn A": 0.8}
    rows = [patient(**truth, **{"fast drawn A": 0.7999})]
    assert named(dice_figures(rows), "fast mode against the clinics").reached is True
    rows = [patient(**truth, **{"fast drawn A": 0.79})]
    assert named(dice_figures(rows), "fast mode against the clinics").reached is False


def test_phases_of_every_way_stand_in_one_table():
    lines = phase_table(nnunet_rows()).splitlines()
    assert len(lines) == 5
    assert lines[2].startswith("| nnunet phases |")
