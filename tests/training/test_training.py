"""Whole small trainings: from a recipe to a package, through kills and restarts."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from hanseg_segmentation.cli import models, train
from hanseg_segmentation.inference.loaded_model import load_package
from hanseg_segmentation.model_package import read_package
from hanseg_segmentation.training.data import (
    held_out_cases,
    prepare,
    training_cases,
)
from hanseg_segmentation.training.loop import (
    learning_rate,
    new_state,
)
from hanseg_segmentation.training.loop import (
    train as run_loop,
)
from hanseg_segmentation.training.recipe import Recipe, read_recipe, smoke
from hanseg_segmentation.training.run import half_weights, run_training
from hanseg_segmentation.training.team import Team, run_team
from hanseg_shared.errors import ModelError, OptionError
from hanseg_shared.organs import ORGANS, Evidence

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return smoke(read_recipe("default"))


@pytest.fixture(scope="module")
def files(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory):
    return prepare(recipe, (), tmp_path_factory.mktemp("cache"))


def until(recipe: Recipe, iterations: int) -> Recipe:
    return recipe.model_copy(update={"largest_iterations": iterations})


def test_a_training_makes_a_model_that_loads(recipe: Recipe, tmp_path: Path):
    package = run_training(recipe, out=tmp_path)
    model = load_package(tmp_path / "model", device="cpu")
    assert model.channels_out == 31
    assert set(package.labels) == {each.name for each in ORGANS}
    assert set(package.evidence.values()) == {Evidence.PHANTOM}


def test_a_killed_training_goes_on_where_its_checkpoint_is(
    recipe: Recipe, files, tmp_path: Path
):
    run_loop(Team(), until(recipe, 2), files, tmp_path, resume=False)
    run_loop(Team(), until(recipe, 4), files, tmp_path, resume=True)
    state = new_state(recipe)
    state.load(tmp_path)
    assert state.iteration == 4
    assert state.seconds > 0


def test_a_checkpoint_gives_back_the_whole_state(recipe: Recipe, files, tmp_path: Path):
    run_loop(Team(), until(recipe, 1), files, tmp_path, resume=False)
    first, again = new_state(recipe), new_state(recipe)
    first.load(tmp_path)
    first.save(tmp_path)
    again.load(tmp_path)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])
    assert first.optimiser.state_dict()["state"].keys() == (
        again.optimiser.state_dict()["state"].keys()
    )


def test_there_must_be_something_to_resume(recipe: Recipe, files, tmp_path: Path):
    with pytest.raises(ModelError, match="nothing to resume"):
        run_loop(Team(), recipe, files, tmp_path, resume=True)


def test_a_checkpoint_of_another_network_is_refused(
    recipe: Recipe, files, tmp_path: Path
):
    run_loop(Team(), until(recipe, 1), files, tmp_path, resume=False)
    network = recipe.network.model_copy(update={"head_features": 4})
    other = new_state(recipe.model_copy(update={"network": network}))
    with pytest.raises(ModelError, match="another network"):
        other.load(tmp_path)


def test_the_loss_falls_on_a_patient_seen_often(recipe: Recipe, files, tmp_path: Path):
    longer = recipe.model_copy(
        update={"largest_iterations": 60, "minutes": 10.0, "learning_rate": 5e-3}
    )
    run_loop(Team(), longer, files, tmp_path, resume=False)
    with (tmp_path / "log.csv").open() as file:
        losses = [float(row["cross_entropy"]) for row in csv.DictReader(file)]
    assert len(losses) == 3
    assert losses[-1] < 0.8 * losses[0]


def test_the_learning_rate_rises_then_falls_with_the_time(recipe: Recipe):
    plan = recipe.model_copy(
        update={"warm_up": 10, "minutes": 10.0, "largest_iterations": 10**9}
    )

    def rate(iteration: int, minutes: float) -> float:
        return learning_rate(plan, iteration=iteration, seconds=60 * minutes)

    assert rate(0, 0) == pytest.approx(plan.learning_rate / 10)
    assert rate(20, 0) == pytest.approx(plan.learning_rate)
    assert rate(20, 5) == pytest.approx(plan.learning_rate / 2)
    assert 0 < rate(20, 10) < 0.01 * plan.learning_rate


def test_two_processes_train_one_network(tmp_path: Path, recipe: Recipe):
    plan = until(recipe.model_copy(update={"processes": 2}), 2)
    run_training(plan, out=tmp_path)
    state = new_state(plan)
    state.load(tmp_path)
    assert state.iteration == 2


def test_a_team_of_one_keeps_its_gradients():
    network = nn.Linear(1, 1)
    network(torch.ones(1, 1)).sum().backward()
    assert Team().share_gradients(network, 3.0) == 3.0
    assert network.weight.grad is not None
    assert network.weight.grad.item() == 1.0


def _fail(team: Team) -> None:
    raise ModelError(f"process {team.rank} failed")


def test_a_failure_in_a_team_is_raised():
    with pytest.raises(ModelError, match="process 0 failed"):
        run_team(1, _fail)


def test_shipped_weights_are_halves(recipe: Recipe):
    weights = half_weights(new_state(recipe).average)
    assert weights["classify.weight"].dtype == torch.float16
    assert all(math.isfinite(float(w.float().sum())) for w in weights.values())


def test_held_out_cases_never_teach():
    cases = tuple(Path(f"{k}_ct.nii.gz") for k in range(30))
    taught = training_cases(cases, held_out=14)
    kept = held_out_cases(cases, held_out=14)
    assert len(kept) == 2
    assert not set(taught) & set(kept)
    assert set(taught) | set(kept) == set(cases)


def test_the_shipped_recipe_is_valid():
    assert read_recipe("default").name == "default"


def test_an_unknown_recipe_is_refused():
    with pytest.raises(OptionError, match="nonesuch"):
        read_recipe("nonesuch")


def test_a_wrong_recipe_is_refused_by_its_field(tmp_path: Path):
    file = tmp_path / "wrong.json"
    file.write_text('{"name": "a", "version": "1", "description": "", "minutes": -1}')
    with pytest.raises(OptionError, match="minutes"):
        read_recipe(str(file))


def test_the_command_trains(tmp_path: Path):
    result = CliRunner().invoke(train, ["default", "--smoke", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert read_package(tmp_path / "model").name == "default"


def test_the_command_lists_models():
    result = CliRunner().invoke(models, [])
    assert result.exit_code == 0, result.output
