"""The recipes: valid, different, and each one learns and can be run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hanseg_lab.training.prepare import phantom_sample
from hanseg_lab.training.recipe import Recipe, read_recipe, recipe_names
from hanseg_lab.training.run import half_weights, plan_package
from hanseg_lab.training.sample import Sample
from hanseg_lab.training.smoke import SMOKE_SPACING_MM, shrink_recipe
from hanseg_lab.training.state import new_state
from hanseg_lab.training.training_batches import Batches, Stream
from hanseg_segmentation.inference.loaded_model import load_package
from hanseg_segmentation.packages.weights import write_package
from hanseg_shared.errors import OptionError

pytestmark = pytest.mark.torch

TEAMS = {"eli1", "cwlg102", "chb-quantif", "mamaa", "m.m.gs", "turbomiki"}


@pytest.fixture(scope="module")
def sample() -> Sample:
    return phantom_sample(3, spacing=SMOKE_SPACING_MM)


def test_every_team_of_the_challenge_has_a_recipe():
    assert set(recipe_names()) == TEAMS | {"default", "default-fine", "quetin"}


@pytest.mark.parametrize("name", [*sorted(TEAMS), "quetin"])
def test_a_team_says_what_is_known_and_what_is_inferred(name: str):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert recipe.sources
    assert recipe.inferred


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_learns_and_its_package_loads(
    name: str, sample: Sample, tmp_path: Path
):
    recipe = shrink_recipe(read_recipe(name))
    state = new_state(recipe)
    batch = Batches(recipe, (), [sample], Stream(0)).draw(0)
    losses = state.trainee(batch)
    losses.total(state.trainee.settings).backward()
    slopes = [p.grad for p in state.trainee.parameters() if p.grad is not None]
    assert any(bool(slope.any()) for slope in slopes)
    plan = plan_package(recipe, (), provenance={})
    write_package(tmp_path, plan, half_weights(state.trainee.network))
    assert load_package(tmp_path, device="cpu").channels_out == 1 + len(
        set(recipe.labels.values())
    )


@pytest.mark.parametrize("name", recipe_names())
def test_a_shrunken_recipe_keeps_its_method(name: str):
    whole = read_recipe(name)
    small = shrink_recipe(whole)
    assert small.network.kind == whole.network.kind
    for setting in ("channels", "loss", "variation", "inference", "registration"):
        assert getattr(small, setting) == getattr(whole, setting)


def test_right_organs_teach_the_network_of_the_left(sample: Sample):
    recipe = shrink_recipe(read_recipe("cwlg102"))
    bank = new_state(recipe).trainee.network
    image = torch.randn(1, 5, 16, 16, 16)
    with torch.no_grad():
        scores, mirrored = bank(image), bank(image.flip(-1)).flip(-1)
    labels = plan_package(recipe, (), provenance={}).labels
    left, right = labels["Parotid_L"], labels["Parotid_R"]
    assert torch.allclose(scores[:, left], mirrored[:, right], atol=1e-5)
    assert not torch.allclose(scores[:, left], scores[:, right])
    names = [name for name, _ in bank.named_modules()]
    assert any(name.endswith("Parotid_L") for name in names)
    assert not any(name.endswith("_R") for name in names)


def invalid(**changes: object) -> str:
    fields = {"name": "a", "version": "1", "description": "", **changes}
    with pytest.raises(ValueError, match="1 validation error") as error:
        Recipe.model_validate(fields)
    return str(error.value)


def test_an_mr_needs_a_registration():
    assert "an MR needs a registration" in invalid(registration=None)


def test_a_network_of_its_own_for_each_organ_merges_no_sides():
    bank = {"kind": "binary_bank", "config": {}}
    assert "of its own" in invalid(merged_sides=True, network=bank)


def test_what_is_inferred_must_be_a_setting():
    assert "no setting 'nonesuch'" in invalid(inferred=["nonesuch"])


def test_only_taught_mirroring_is_done_when_a_model_is_run():
    assert "does not include" in invalid(inference={"mirror_axes": ["x"]})


def test_a_network_of_one_resolution_is_not_supervised_deeply():
    assert "no outputs" in invalid(loss={"deep_supervision": True})


def test_an_unknown_recipe_is_refused_by_those_there_are():
    with pytest.raises(OptionError, match=r"'nonesuch'; there are .*eli1"):
        read_recipe("nonesuch")


def localiser(**changes: object) -> dict[str, object]:
    settings = {"name": "b", "version": "1", "description": "", "channels": ["ct"]}
    return {**settings, "registration": None, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"localiser": localiser()}, "one network"),
        ({"folds": 2}, "one network"),
        ({"channels": ["ct", "mr"], "registration": {}}, "the CT alone"),
    ],
)
def test_a_localiser_is_one_network_that_sees_the_ct(changes, message):
    assert message in invalid(localiser=localiser(**changes))
