"""What a training of minutes does otherwise than a recipe of days."""

from __future__ import annotations

import pytest
import torch

from hanseg_lab.training.loss import LossSettings, training_loss
from hanseg_lab.training.recipe import LossRecipe, Recipe, read_recipe
from hanseg_lab.training.short_training import (
    LOUDEST_NOISE_HU,
    ORGANS_OWN_SHARE,
    keep_sides_apart,
    loss_for_short_training,
    loss_on_few_organs,
    optimiser_for_short_training,
    vary_little,
)

pytestmark = pytest.mark.torch

SMALL_ORGAN, EDGE = 7, 20


def pull_on_a_lost_organ(loss: LossRecipe) -> float:
    """Return how much the loss pulls at an organ that is taken for background."""
    allowed = torch.ones((1, EDGE, EDGE, EDGE), dtype=torch.int32)
    allowed[0, :2, :2, :2] = 1 << SMALL_ORGAN
    logits = torch.zeros((1, 31, EDGE, EDGE, EDGE))
    logits[:, 0] = 12.0
    logits.requires_grad_()
    groups = [torch.tensor([1 << SMALL_ORGAN], dtype=torch.int32)]
    settings = LossSettings(**loss.model_dump(exclude={"organ_share_until"}))
    found = training_loss(logits, allowed, groups, [torch.zeros(31)], settings=settings)
    found.total(settings).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return float(-logits.grad[0, SMALL_ORGAN, :2, :2, :2].sum())


@pytest.mark.parametrize("name", ["eli1", "m.m.gs", "turbomiki", "mamaa"])
def test_a_lost_organ_is_pulled_back_a_hundred_times_as_hard(name: str):
    recipe = read_recipe(name)
    short = pull_on_a_lost_organ(loss_for_short_training(recipe))
    assert short > 100 * pull_on_a_lost_organ(recipe.loss) > 0


@pytest.mark.parametrize("name", ["default", "quetin", "chb-quantif"])
def test_the_loss_ends_as_the_recipes_own(name: str):
    own = read_recipe(name).loss
    short = loss_for_short_training(read_recipe(name))
    assert short.dice == "present"
    shares = {"organ_share", "organ_share_until", "dice"}
    assert short.organ_share_until < 0.5
    assert short.model_dump(exclude=shares) == own.model_dump(exclude=shares)


def test_networks_of_one_organ_keep_their_dice():
    own = read_recipe("cwlg102")
    assert loss_for_short_training(own).dice == own.loss.dice == "known"


def test_a_share_that_is_higher_already_stays():
    recipe = read_recipe("eli1")
    own = recipe.loss.model_copy(update={"organ_share": 0.95})
    assert ORGANS_OWN_SHARE < 0.95
    assert loss_for_short_training(recipe.model_copy(update={"loss": own})) == own


def test_a_higher_rate_of_a_recipes_own_stays():
    recipe = read_recipe("mamaa")
    high = recipe.optimiser.model_copy(update={"learning_rate": 0.02})
    recipe = recipe.model_copy(update={"optimiser": high})
    assert optimiser_for_short_training(recipe, warm_up=50).learning_rate == 0.02


def test_the_least_rate_is_not_that_of_networks_of_one_organ():
    bank, whole = (
        optimiser_for_short_training(read_recipe(name), warm_up=50, least_rate=0.007)
        for name in ("cwlg102", "eli1")
    )
    assert whole.learning_rate == 0.007
    assert bank.learning_rate == 0.01


def test_what_varies_less_than_that_stays():
    still = vary_little(read_recipe("eli1").variation).model_copy(
        update={"rotation_degrees": 1.0, "scale": (1.0, 1.0), "noise_hu": 0.0}
    )
    assert vary_little(still) == still
    assert vary_little(read_recipe("mamaa").variation).noise_hu == LOUDEST_NOISE_HU


@pytest.mark.parametrize("name", ["quetin", "m.m.gs", "default"])
def test_flips_and_images_that_are_left_out_stay(name: str):
    own = read_recipe(name).variation
    varied = vary_little(own)
    for each in ("flip_axes", "mirror_share", "mr_share", "ct_dropped_share"):
        assert getattr(varied, each) == getattr(own, each)
    assert varied.misregistration_mm == own.misregistration_mm


@pytest.mark.parametrize(
    ("name", "flips", "passes"),
    [
        ("chb-quantif", ("y",), ("y",)),
        ("m.m.gs", ("y", "z"), ("y", "z")),
        ("quetin", ("x", "y", "z"), ("x", "y", "z")),  # left and right are one to it
        ("default", (), ()),
    ],
)
def test_sides_are_kept_apart(name: str, flips: tuple[str, ...], passes):
    kept = keep_sides_apart(read_recipe(name))
    assert kept.variation.flip_axes == flips
    assert kept.inference.mirror_axes == passes
    assert Recipe.model_validate_json(kept.model_dump_json()) == kept


@pytest.mark.parametrize("name", ["chb-quantif", "turbomiki", "eli1", "cwlg102"])
def test_dice_is_of_the_organs_that_a_patch_shows(name: str):
    own = read_recipe(name)
    loss = loss_on_few_organs(own)
    dice = own.loss.dice if name == "cwlg102" else "present"  # which knows one organ
    assert loss == own.loss.model_copy(update={"dice": dice})
