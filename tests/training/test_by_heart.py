"""The scale at which recipes learn one case by heart: small, and the recipe's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from hanseg_lab.training.by_heart import (
    ITERATIONS,
    ITERATIONS_FLIPPED,
    ITERATIONS_OF_LOCALISER,
    ITERATIONS_OF_ONE,
    SPACING_MM,
    WARM_UP_SHARE,
    by_heart,
)
from hanseg_lab.training.cli import train
from hanseg_lab.training.label_sets import CLASSES
from hanseg_lab.training.log import read_log
from hanseg_lab.training.prepare import phantom_sample
from hanseg_lab.training.recipe import BINARY, Recipe, read_recipe, recipe_names
from hanseg_lab.training.sample import Sample
from hanseg_lab.training.short_training import (
    ADAMW_RATE,
    RATE_OF_ONE,
    keep_sides_apart,
    loss_on_few_organs,
)
from hanseg_lab.training.smoke import shrink_recipe
from hanseg_lab.training.state import new_state
from hanseg_lab.training.training_batches import Batches, Stream
from hanseg_segmentation.network.binary import owner
from hanseg_segmentation.packages.package import Axis, read_package
from hanseg_shared.organs import ORGANS

pytestmark = pytest.mark.torch

METHOD = (
    "channels",
    "inference",
    "registration",
    "merged_sides",
    "normalisation",
)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return phantom_sample(3, spacing=SPACING_MM)


def flipped(recipe: Recipe, axis: Axis) -> Recipe:
    """Return a recipe that flips patches along one axis."""
    variation = recipe.variation.model_copy(update={"flip_axes": (axis,)})
    return recipe.model_copy(update={"variation": variation})


def first_width(recipe: Recipe) -> int:
    """Return the channels of a network's first stage."""
    features: Any = recipe.network.config["features"]
    return int(features[0])


@pytest.mark.parametrize("name", recipe_names())
def test_the_method_stays_the_recipes_own(name: str):
    whole = keep_sides_apart(read_recipe(name))
    small = by_heart(read_recipe(name))
    assert small.network.kind == whole.network.kind
    for setting in METHOD:
        assert getattr(small, setting) == getattr(whole, setting)
    assert small.loss == loss_on_few_organs(whole)
    for setting in ("fall", "exponent", "weight_decay", "largest_gradient"):
        assert getattr(small.optimiser, setting) == getattr(whole.optimiser, setting)
    for setting in ("flip_axes", "mr_share", "ct_dropped_share"):
        assert getattr(small.variation, setting) == getattr(whole.variation, setting)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_by_heart_is_a_valid_recipe(name: str):
    small = by_heart(read_recipe(name))
    assert Recipe.model_validate_json(small.model_dump_json()) == small


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("chb-quantif", ADAMW_RATE),
        ("eli1", ADAMW_RATE),
        ("mamaa", ADAMW_RATE),
        ("cwlg102", RATE_OF_ONE),
    ],
)
def test_all_learn_by_adamw_at_a_rate_for_few_iterations(name: str, rate: float):
    optimiser = by_heart(read_recipe(name)).optimiser
    assert (optimiser.kind, optimiser.learning_rate) == ("adamw", rate)


@pytest.mark.parametrize("name", recipe_names())
def test_each_training_warms_up_for_a_small_part_of_it(name: str):
    small = by_heart(read_recipe(name))
    assert small.optimiser.warm_up == int(WARM_UP_SHARE * small.iterations) > 100


@pytest.mark.parametrize("name", recipe_names())
def test_no_network_is_too_narrow_to_learn_a_patient(name: str):
    trainee = new_state(by_heart(read_recipe(name))).trainee
    assert sum(each.numel() for each in trainee.parameters()) > 100_000


@pytest.mark.parametrize("name", ["cwlg102", "chb-quantif", "eli1"])
def test_a_single_fold_sees_every_case(name: str):
    small = by_heart(read_recipe(name))
    assert (small.folds, small.folds_hold_out) == (1, False)


def test_flipped_patches_take_longer():
    assert by_heart(read_recipe("m.m.gs")).iterations == ITERATIONS_FLIPPED
    assert by_heart(read_recipe("mamaa")).iterations == ITERATIONS
    plain = read_recipe("eli1")
    assert by_heart(flipped(plain, "y")).iterations == ITERATIONS_FLIPPED
    assert by_heart(flipped(plain, "x")).iterations == ITERATIONS  # not flipped so


@pytest.mark.parametrize("name", recipe_names())
def test_networks_are_half_as_wide(name: str):
    recipe = read_recipe(name)
    assert first_width(by_heart(recipe)) == first_width(recipe) // 2


def test_a_bank_trains_each_of_its_networks():
    small = by_heart(read_recipe("cwlg102"))
    assert small.network.kind == BINARY
    networks = {owner(each) for each in ORGANS}
    assert small.iterations == ITERATIONS_OF_ONE * len(networks)
    assert small.localiser is not None
    assert small.localiser.iterations == ITERATIONS_OF_LOCALISER


@pytest.mark.parametrize("name", ["default", "eli1"])
def test_patches_show_the_cases_own_voxels(name: str, sample: Sample):
    recipe = by_heart(read_recipe(name))
    batch = Batches(recipe, (), [sample], Stream(0)).draw(0)
    known = set(sample.sets.tolist())
    assert set(batch.allowed.flatten().tolist()) <= known | {1}
    assert batch.channels.shape[2:] == recipe.patch


@pytest.mark.parametrize("name", ["default", "cwlg102", "mamaa"])
def test_a_network_says_which_label_it_finds(name: str, sample: Sample):
    recipe = shrink_recipe(read_recipe(name))
    batch = Batches(recipe, (), [sample], Stream(0)).draw(0)
    with torch.no_grad():
        found = new_state(recipe).trainee.find(batch)
    assert found.shape == batch.allowed.shape
    known = {0, batch.organ} if batch.organ else set(range(CLASSES))
    assert set(found.flatten().tolist()) <= known


def test_the_command_trains_one_case_at_that_scale(tmp_path: Path):
    words = ["eli1", "--by-heart", "--iterations", "2", "--name", "ours", "--out"]
    result = CliRunner().invoke(train, [*words, str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert [row["iteration"] for row in read_log(tmp_path)] == [2]
    package = read_package(tmp_path / "model")
    assert package.spacing_mm == SPACING_MM
    assert package.provenance["simulated_patients"] == "1"


def test_a_training_has_one_scale(tmp_path: Path):
    words = ["eli1", "--by-heart", "--smoke", "--out", str(tmp_path)]
    result = CliRunner().invoke(train, words)
    assert result.exit_code == 2
    assert "choose one" in result.output


def test_patches_of_an_organs_network_may_show_other_places(sample: Sample):
    recipe = shrink_recipe(read_recipe("cwlg102"))
    for share, least, most in ((1.0, 20, 20), (0.5, 1, 19), (0.0, 0, 0)):
        variation = recipe.variation.model_copy(update={"organ_share": share})
        source = Batches(
            recipe.model_copy(update={"variation": variation}), (), [sample], Stream(0)
        )
        rng = source.stream.at(0)
        about = [source._choose_place(7, rng) for _ in range(20)]
        assert least <= about.count(1 << 7) <= most
        assert least <= 20 - about.count(None) <= most


def test_networks_of_all_organs_leave_the_place_to_the_cutter(sample: Sample):
    source = Batches(by_heart(read_recipe("default")), (), [sample], Stream(0))
    assert source._choose_place(0, source.stream.at(0)) is None
