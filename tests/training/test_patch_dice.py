"""Dice over patches: only where it is known, and the same for every recipe."""

from __future__ import annotations

import pytest
import torch

from hanseg_lab.training.patch_dice import PatchDice
from hanseg_lab.training.training_batches import TrainingBatch

pytestmark = pytest.mark.torch


def batch(sets: list[int], groups: list[int], organ: int = 0) -> TrainingBatch:
    return TrainingBatch(
        torch.zeros(1, 1, 1, 1, len(sets)),
        torch.tensor(sets, dtype=torch.int32).reshape(1, 1, 1, -1),
        (torch.tensor(groups, dtype=torch.int32),),
        (torch.zeros(31),),
        organ,
    )


def found(*labels: int) -> torch.Tensor:
    return torch.tensor(labels).reshape(1, 1, 1, -1)


def dice_of(*batches: tuple[torch.Tensor, TrainingBatch]) -> float | None:
    dice = PatchDice()
    for labels, each in batches:
        dice.add(labels, each)
    return dice.mean()


def test_all_that_is_found_is_one():
    assert dice_of((found(1, 0), batch([0b10, 0b1], [0b10]))) == 1


def test_half_of_an_organ_is_two_thirds():
    assert dice_of((found(1, 0, 0), batch([0b10, 0b10, 0b1], [0b10]))) == pytest.approx(
        2 / 3
    )


def test_what_may_be_an_organ_or_not_counts_neither_way():
    assert dice_of((found(1, 1), batch([0b10, 0b11], [0b10]))) == 1


def test_any_label_of_a_group_will_do():
    assert dice_of((found(1, 2), batch([0b110, 0b110], [0b110]))) == 1


def test_an_organ_that_no_patch_shows_counts_only_where_it_is_found():
    shown = (found(1, 0), batch([0b10, 0b1], [0b10, 0b100]))
    assert dice_of(shown) == 1
    assert dice_of(shown, (found(2), batch([0b1], [0b100]))) == 0.5


def test_the_last_label_has_its_bit():
    assert dice_of((found(30), batch([1 << 30], [1 << 30]))) == 1


def test_patches_of_an_organ_are_counted_together():
    many = (found(1, 1, 1, 0), batch([0b10, 0b10, 0b10, 0b1], [0b10]))
    missed = (found(0), batch([0b10], [0b10]))
    assert dice_of(many, missed) == pytest.approx(6 / 7)


def test_a_batch_about_an_organ_counts_for_that_alone():
    assert dice_of((found(1, 0), batch([0b10, 0b100], [0b10, 0b100], organ=1))) == 1


def test_nothing_shown_and_nothing_found_has_no_dice():
    assert dice_of((found(0), batch([0b1], [0b10]))) is None
