"""What a model has learnt: Dice, sides, and the way there."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_lab.evaluation.scores import COLUMNS
from hanseg_lab.training.learnt import (
    BY_HEART_DSC,
    Learnt,
    exchanged_sides,
    mean_curve,
    read_learnt,
)
from hanseg_lab.training.log import LOG_FILE
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume

GRID = Grid((8, 4, 4))
LEFT, RIGHT = slice(5, 8), slice(0, 3)


def block(columns: slice) -> Volume:
    array = np.zeros(GRID.shape, bool)
    array[1:3, 1:3, columns] = True
    return Volume(array, GRID)


BOTH = {"Parotid_L": block(LEFT), "Parotid_R": block(RIGHT)}


def test_organs_on_their_side_are_not_exchanged():
    assert exchanged_sides(BOTH, BOTH) == ()


def test_organs_on_each_others_side_are_exchanged():
    found = {"Parotid_L": block(RIGHT), "Parotid_R": block(LEFT)}
    assert exchanged_sides(found, BOTH) == ("Parotid_L", "Parotid_R")


def test_an_organ_that_lies_more_on_the_other_side_is_exchanged():
    found = {"Parotid_L": block(slice(0, 6)), "Parotid_R": block(RIGHT)}
    assert exchanged_sides(found, BOTH) == ("Parotid_L",)


def test_an_organ_that_should_not_be_there_is_exchanged_with_one_that_should():
    found = {"Parotid_R": block(LEFT)}
    assert exchanged_sides(found, {"Parotid_L": block(LEFT)}) == ("Parotid_R",)


def test_organs_without_a_side_are_never_exchanged():
    found, wanted = {"Brainstem": block(LEFT)}, {"Brainstem": block(RIGHT)}
    assert exchanged_sides(found, wanted) == ()


def test_missed_organs_are_not_exchanged():
    assert exchanged_sides({}, BOTH) == ()


@pytest.mark.parametrize(
    ("dsc", "exchanged", "learnt"),
    [
        (BY_HEART_DSC, (), True),
        (BY_HEART_DSC - 0.01, (), False),
        (1.0, ("Parotid_L",), False),
    ],
)
def test_by_heart_is_nearly_all_of_every_organ_on_its_side(dsc, exchanged, learnt):
    assert Learnt({"Parotid_L": dsc}, exchanged).is_by_heart is learnt


def test_the_worst_organ_is_the_one_with_the_lowest_dice():
    learnt = Learnt({"Lips": 0.9, "Glottis": 0.3, "Pituitary": 0.6}, ())
    assert learnt.worst_organ == "Glottis"
    assert learnt.dsc == pytest.approx(0.6)


def write_masks(folder: Path, masks: dict[str, Volume]) -> None:
    folder.mkdir(parents=True)
    for name, mask in masks.items():
        image = sitk.GetImageFromArray(mask.array.astype(np.uint8))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def write_scores(path: Path, values: dict[str, float]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name, value in values.items():
            writer.writerow(["case_1", name, "DSC", value])
            writer.writerow(["case_1", name, "HD95", 1.0])


def test_files_of_the_product_say_what_is_learnt(tmp_path: Path):
    predictions, references = tmp_path / "found", tmp_path / "wanted"
    swapped = {"Parotid_L": BOTH["Parotid_R"], "Parotid_R": BOTH["Parotid_L"]}
    write_masks(predictions / "case_1", swapped)
    write_masks(references / "case_1", BOTH)
    scores = tmp_path / "results.csv"
    write_scores(scores, {"Parotid_L": 0.25, "Parotid_R": 0.75})
    learnt = read_learnt(scores, predictions, references)
    assert learnt.organs == {"Parotid_L": 0.25, "Parotid_R": 0.75}
    assert learnt.exchanged == ("Parotid_L", "Parotid_R")


def write_log(folder: Path, losses: list[float]) -> None:
    folder.mkdir(parents=True)
    with (folder / LOG_FILE).open("w", newline="") as file:
        writer = csv.DictWriter(file, ["iteration", "dice_loss"])
        writer.writeheader()
        for number, loss in enumerate(losses, start=1):
            writer.writerow({"iteration": 20 * number, "dice_loss": loss})


def test_a_curve_is_the_mean_over_the_folds(tmp_path: Path):
    write_log(tmp_path / "fold_0", [1.0, 0.5])
    write_log(tmp_path / "fold_1", [0.5, 0.25])
    assert mean_curve(tmp_path) == [
        {"iteration": 20, "dice_loss": 0.75},
        {"iteration": 40, "dice_loss": 0.375},
    ]


@pytest.mark.parametrize("fold", ["", "fold_0"])
def test_a_localisers_log_is_no_folds(fold: str, tmp_path: Path):
    write_log(tmp_path / "localiser", [3.0, 2.0, 1.0])
    write_log(tmp_path / "run" / fold, [0.5])
    (tmp_path / "localiser").rename(tmp_path / "run" / "localiser")
    assert mean_curve(tmp_path / "run") == [{"iteration": 20, "dice_loss": 0.5}]


def test_one_network_has_its_own_curve(tmp_path: Path):
    write_log(tmp_path / "run", [1.0])
    assert mean_curve(tmp_path / "run") == [{"iteration": 20, "dice_loss": 1.0}]
