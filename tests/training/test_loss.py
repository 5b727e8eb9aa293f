"""The loss over sets of labels, by hand-sized examples."""

from __future__ import annotations

import math

import pytest
import torch

from hanseg_lab.training.loss import (
    DEFAULT_LOSS,
    PLAUSIBLE_SIZE,
    LossSettings,
    binary_loss,
    set_dice_loss,
    set_probability,
    size_loss,
    supervised_loss,
    training_loss,
)

pytestmark = pytest.mark.torch


def rows(*values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def bits(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


THREE = rows((0.5, 0.3, 0.2), (0.1, 0.8, 0.1))


def test_a_known_label_is_as_likely_as_its_probability():
    assert set_probability(THREE, bits(0b001, 0b010)).tolist() == pytest.approx(
        [0.5, 0.8]
    )


def test_a_set_is_as_likely_as_all_its_labels_together():
    assert set_probability(THREE, bits(0b101, 0b110)).tolist() == pytest.approx(
        [0.7, 0.9]
    )


def test_the_set_of_everything_is_certain():
    assert set_probability(THREE, bits(0b111, 0b111)).tolist() == pytest.approx([1, 1])


def test_dice_by_hand():
    probabilities = rows((0.2, 0.8), (0.6, 0.4))
    found = set_dice_loss(probabilities, bits(0b10, 0b01), bits(0b10))
    smooth = DEFAULT_LOSS.smooth_voxels
    expected = (2 * 0.8 + smooth) / (1.2 + 1 + smooth)
    assert float(found) == pytest.approx(1 - expected)


def test_a_perfect_answer_costs_nothing():
    probabilities = rows((1, 0, 0), (0, 1, 0), (0, 0, 1))
    sets = bits(0b001, 0b010, 0b100)
    assert float(set_dice_loss(probabilities, sets, bits(0b010, 0b100))) == 0


def test_a_group_that_is_not_shown_is_not_scored():
    probabilities = rows((0.5, 0.25, 0.25), (0.1, 0.8, 0.1))
    sets = bits(0b001, 0b010)
    both = set_dice_loss(probabilities, sets, bits(0b010, 0b100))
    assert float(both) == pytest.approx(
        float(set_dice_loss(probabilities, sets, bits(0b010)))
    )


def test_a_patch_without_any_group_gives_nothing_to_learn():
    assert float(set_dice_loss(THREE, bits(1, 1), bits(0b010))) == 0


def test_a_voxel_that_may_or_may_not_belong_to_a_group_is_not_counted():
    sure = set_dice_loss(rows((0.2, 0.8)), bits(0b10), bits(0b10))
    unsure = set_dice_loss(rows((0.2, 0.8), (0.1, 0.9)), bits(0b10, 0b11), bits(0b10))
    assert float(unsure) == pytest.approx(float(sure))


def test_labels_of_one_group_are_one_to_dice():
    """Two organs drawn as one outline: any split of them is as good."""
    sets, group = bits(0b110, 0b001), bits(0b110)
    one = set_dice_loss(rows((0, 1, 0), (1, 0, 0)), sets, group)
    other = set_dice_loss(rows((0, 0.5, 0.5), (1, 0, 0)), sets, group)
    assert float(one) == pytest.approx(float(other))


def test_an_undrawn_organ_is_not_pushed_out_of_the_background():
    """The gradient of an allowed label is never towards less of the set."""
    logits = torch.zeros(1, 3, 1, 1, 1, requires_grad=True)
    allowed = torch.full((1, 1, 1, 1), 0b101, dtype=torch.int32)
    losses = training_loss(logits, allowed, [bits(0b010)], [torch.zeros(3)])
    losses.cross_entropy.backward()  # type: ignore[no-untyped-call]
    gradient = logits.grad
    assert gradient is not None
    background, drawn, undrawn = gradient.flatten().tolist()
    assert background < 0
    assert undrawn < 0
    assert drawn > 0


def test_cross_entropy_counts_organs_a_little_more():
    logits = torch.zeros(1, 2, 1, 1, 4)
    logits[0, 1, 0, 0, 0] = math.log(3)
    allowed = bits(0b10, 1, 1, 1).reshape(1, 1, 1, 4)
    losses = training_loss(logits, allowed, [bits(0b10)], [torch.zeros(2)])
    organ, background = -math.log(0.75), -math.log(0.5)
    mean, share = (organ + 3 * background) / 4, DEFAULT_LOSS.organ_share
    expected = (1 - share) * mean + share * organ
    assert float(losses.cross_entropy) == pytest.approx(expected, rel=1e-4)


def test_small_and_large_organs_count_alike_in_the_organs_share():
    only_organs = LossSettings(organ_share=1.0)
    logits = torch.zeros(1, 3, 1, 1, 4)
    logits[0, :, 0, 0, 0] = torch.tensor([0.0, 0.0, 1.0])
    allowed = bits(0b100, 0b010, 0b010, 0b010).reshape(1, 1, 1, 4)
    groups = [bits(0b010, 0b100)]
    found = training_loss(
        logits, allowed, groups, [torch.zeros(3)], settings=only_organs
    )
    small = -math.log(math.e / (2 + math.e))
    expected = (small + math.log(3)) / 2
    assert float(found.cross_entropy) == pytest.approx(expected, rel=1e-4)


def test_the_focal_power_forgives_what_is_nearly_right():
    logits = torch.tensor([0.0, 3.0]).reshape(1, 2, 1, 1, 1)
    sets, groups, sizes = bits(0b10).reshape(1, 1, 1, 1), [bits(0b10)], [torch.zeros(2)]
    plain = training_loss(logits, sets, groups, sizes)
    focal = training_loss(
        logits, sets, groups, sizes, settings=LossSettings(focal_power=2.0)
    )
    chance = math.exp(3) / (1 + math.exp(3))
    factor = float(focal.cross_entropy / plain.cross_entropy)
    assert factor == pytest.approx((1 - chance) ** 2, rel=1e-3)


def test_an_absent_organ_costs_what_is_drawn_of_it_if_all_known_ones_count():
    sets, groups = bits(0b001), bits(0b010)
    haze, clean = rows((0.5, 0.5)), rows((1.0, 0.0))
    known = LossSettings(dice="known")
    assert float(set_dice_loss(haze, sets, groups)) == 0
    assert float(set_dice_loss(haze, sets, groups, settings=known)) > 0.3
    assert float(set_dice_loss(clean, sets, groups, settings=known)) == 0


def test_hard_voxels_count_more_in_dice():
    probabilities = rows((0.1, 0.9), (0.4, 0.6), (0.9, 0.1))
    sets, groups = bits(0b10, 0b01, 0b01), bits(0b10)
    plain = set_dice_loss(
        probabilities, sets, groups, settings=LossSettings(smooth_voxels=0.0)
    )
    hard = set_dice_loss(
        probabilities,
        sets,
        groups,
        settings=LossSettings(smooth_voxels=0.0, hard_share=1.0),
    )
    weighted = 2 * 0.1 * 0.9 / (0.1 * 1.9 + 0.6 * 0.6 + 0.1 * 0.1)
    assert float(plain) == pytest.approx(1 - 2 * 0.9 / (1.6 + 1))
    assert float(hard) == pytest.approx(1 - weighted)


def test_a_single_scale_is_supervised_as_without_scales():
    logits = torch.randn(1, 3, 4, 4, 4)
    allowed = torch.full((1, 4, 4, 4), 0b010, dtype=torch.int32)
    rest = ([bits(0b010)], [torch.zeros(3)])
    one = supervised_loss([logits], allowed, *rest)
    assert float(one.dice) == float(training_loss(logits, allowed, *rest).dice)


def test_a_coarser_scale_weighs_half_and_the_coarsest_nothing():
    full, half, quarter = (torch.randn(1, 3, n, n, n) for n in (4, 2, 1))
    allowed = torch.full((1, 4, 4, 4), 0b010, dtype=torch.int32)
    rest = ([bits(0b010)], [torch.zeros(3)])
    found = supervised_loss([full, half, quarter], allowed, *rest)
    first = training_loss(full, allowed, *rest).cross_entropy
    second = training_loss(half, allowed[:, ::2, ::2, ::2], *rest).cross_entropy
    expected = (float(first) + 0.5 * float(second)) / 1.5
    assert float(found.cross_entropy) == pytest.approx(expected, rel=1e-5)


def test_an_organ_of_its_own_network_is_scored_where_it_is_known():
    logits = torch.tensor([2.0, -2.0, 9.0]).reshape(1, 1, 1, 3)
    truth = torch.tensor([1, 0, 0]).reshape(1, 1, 1, 3)
    counts = torch.tensor([1, 1, 0]).reshape(1, 1, 1, 3)
    found = binary_loss(logits, truth, counts, settings=LossSettings(smooth_voxels=0))
    chance = 1 / (1 + math.exp(-2))
    assert float(found.cross_entropy) == pytest.approx(-math.log(chance))
    assert float(found.dice) == pytest.approx(1 - 2 * chance / (1 + 1))


def test_a_surely_wrong_voxel_still_has_a_finite_loss():
    logits = torch.tensor([1000.0, 0.0]).reshape(1, 2, 1, 1, 1)
    sets, groups = bits(0b10).reshape(1, 1, 1, 1), [bits(0b10)]
    losses = training_loss(logits, sets, groups, [torch.tensor([0.0, 5.0])])
    assert math.isfinite(float(losses.total(DEFAULT_LOSS)))


CERTAIN = torch.tensor([[0.0, 1.0]]).repeat(20, 1)
"""Twenty voxels that surely are label 1."""

EITHER = torch.full((20,), 0b11, dtype=torch.int32)


def usual_size(voxels: float) -> torch.Tensor:
    return torch.tensor([0.0, voxels])


@pytest.mark.parametrize("usual", [20.0, 20.0 / 0.6, 20.0 / 1.5])
def test_a_plausible_size_costs_nothing(usual: float):
    assert float(size_loss(CERTAIN, EITHER, usual_size(usual))) == 0


def test_a_size_too_small_costs_the_logarithm_of_its_factor():
    found = size_loss(CERTAIN, EITHER, usual_size(80))
    assert float(found) == pytest.approx(math.log(PLAUSIBLE_SIZE[0] * 80 / 20))


def test_a_size_too_large_costs_the_logarithm_of_its_factor():
    found = size_loss(CERTAIN, EITHER, usual_size(5))
    assert float(found) == pytest.approx(math.log(20 / (PLAUSIBLE_SIZE[1] * 5)))


def test_only_voxels_that_may_be_the_organ_count_for_its_size():
    sets = EITHER.clone()
    sets[:10] = 1
    found = size_loss(CERTAIN, sets, usual_size(80))
    assert float(found) == pytest.approx(math.log(PLAUSIBLE_SIZE[0] * 80 / 10))


def test_a_faint_haze_is_too_small_for_an_organ():
    haze = torch.tensor([[0.95, 0.05]]).repeat(400, 1)
    sets = torch.full((400,), 0b11, dtype=torch.int32)
    assert float(size_loss(haze, sets, usual_size(20))) > 1


def test_without_known_sizes_there_is_nothing_to_learn():
    assert float(size_loss(CERTAIN, EITHER, torch.zeros(2))) == 0
