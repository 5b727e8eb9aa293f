"""Recipes at the miniature's scale: what shrinks, and what stays the method's."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanseg_lab.challenge.methods import METHODS, Method, choose_methods, method_names
from hanseg_lab.challenge.scale import ORGAN_SHARE, budget_minutes, scale_recipe
from hanseg_lab.challenge.settings import FILE, ChallengeSettings, decide_settings
from hanseg_lab.evaluation.paper import FINAL_RANKS, read_published
from hanseg_lab.training.recipe import Recipe, read_recipe
from hanseg_lab.training.short_training import keep_sides_apart
from hanseg_segmentation.network.build import build
from hanseg_segmentation.packages.names import is_name
from hanseg_shared.document import Document
from hanseg_shared.errors import OptionError

SETTINGS = ChallengeSettings()

TRAINED = [method for method in METHODS if method.is_trained]


@pytest.fixture(params=TRAINED, ids=lambda method: method.name)
def method(request) -> Method:
    return request.param


def test_the_papers_six_are_called_as_in_the_paper():
    six = [each.name for each in METHODS if each.in_paper]
    assert six == list(read_published().methods) == list(FINAL_RANKS)


def test_every_recipe_takes_part_but_the_second_stage():
    recipes = {each.recipe for each in TRAINED}
    assert recipes == {
        *("eli1", "cwlg102", "chb-quantif", "mamaa", "m.m.gs", "turbomiki"),
        *("quetin", "default"),
    }


def test_a_scaled_recipe_is_valid(method: Method, tmp_path: Path):
    file = tmp_path / "recipe.json"
    scaled = scale_recipe(method, SETTINGS)
    file.write_text(scaled.model_dump_json())
    assert read_recipe(str(file)) == scaled
    assert is_name(scaled.name)


def test_a_scaled_network_can_be_built(method: Method):
    build(scale_recipe(method, SETTINGS).network_spec)


def test_the_method_stays(method: Method):
    own = keep_sides_apart(read_recipe(method.recipe))
    scaled = scale_recipe(method, SETTINGS)
    kept = ("inference", "normalisation", "merged_sides")
    assert all(getattr(own, name) == getattr(scaled, name) for name in kept)
    assert fields_that_differ(own.loss, scaled.loss) <= {
        *("organ_share", "organ_share_until", "dice"),
    }
    assert scaled.loss.organ_share_until < 0.5
    assert fields_that_differ(own.variation, scaled.variation) <= {
        *("organ_share", "rotation_degrees", "scale", "noise_hu"),
        *("coarse_share", "truncation_share"),
    }
    assert scaled.variation.organ_share == ORGAN_SHARE
    assert scaled.network.kind == own.network.kind
    for name in ("fall", "exponent", "weight_decay", "largest_gradient"):
        assert getattr(scaled.optimiser, name) == getattr(own.optimiser, name)
    assert scaled.optimiser.kind == "adamw"
    assert scaled.optimiser.warm_up == 50
    assert scaled.optimiser.learning_rate >= 0.006
    if not method.ct_only:
        assert (scaled.channels, scaled.registration) == (
            own.channels,
            own.registration,
        )


def test_patches_vary_less_and_never_more(method: Method):
    own = read_recipe(method.recipe).variation
    scaled = scale_recipe(method, SETTINGS).variation
    for name in ("rotation_degrees", "noise_hu", "coarse_share", "truncation_share"):
        assert getattr(scaled, name) <= getattr(own, name)
    assert own.scale[0] <= scaled.scale[0] <= 1.0 <= scaled.scale[1] <= own.scale[1]


def fields_that_differ(one: Document, other: Document) -> set[str]:
    mine, theirs = one.model_dump(), other.model_dump()
    return {name for name in mine if mine[name] != theirs[name]}


def test_all_have_the_same_data_and_batches(method: Method):
    scaled = scale_recipe(method, SETTINGS)
    assert (scaled.real_a_batch, scaled.phantoms_a_batch) == (2, 0)
    assert scaled.spacing_mm == (4.0, 4.0, 3.0)


def test_budgets_are_equal_but_for_ensembles(method: Method):
    scaled = scale_recipe(method, SETTINGS)
    several = read_recipe(method.recipe).folds > 1
    assert budget_minutes(method, SETTINGS) == (16.0 if several else 8.0)
    assert scaled.processor_minutes is not None
    total = scaled.processor_minutes * scaled.networks
    assert total == pytest.approx(budget_minutes(method, SETTINGS))
    assert scaled.minutes is None


def test_the_whole_fits_eight_hours_of_two_processors():
    minutes = sum(budget_minutes(method, SETTINGS) for method in TRAINED)
    assert minutes / 2 <= 5 * 60


def test_all_networks_are_narrow_and_see_as_much(method: Method):
    own, scaled = read_recipe(method.recipe), scale_recipe(method, SETTINGS)
    assert scaled.patch == (24, 24, 24)
    part, widest = {"mamaa": (2, 64), "default": (3, 64)}.get(method.recipe, (4, 48))
    widths = [max(8, min(width // part, widest)) for width in widths_of(own)]
    count = 6 if method.recipe == "chb-quantif" else 5
    assert widths_of(scaled) == widths[:count]


def widths_of(recipe: Recipe) -> list[int]:
    widths = recipe.network.config["features"]
    assert isinstance(widths, (list, tuple))
    return [int(str(width)) for width in widths]


def test_nobody_has_to_tell_sides_apart_in_flipped_patches(method: Method):
    scaled = scale_recipe(method, SETTINGS)
    for axes in (scaled.variation.flip_axes, scaled.inference.mirror_axes):
        assert scaled.merged_sides or "x" not in axes


def test_a_coarser_grid_of_a_recipes_own_stays():
    (default,) = choose_methods(["default"])
    finer = SETTINGS.model_copy(update={"grid_mm": (3.0, 3.0, 3.0)})
    assert scale_recipe(default, finer).spacing_mm == read_recipe("default").spacing_mm


def test_without_mr_nothing_is_registered():
    (ct,) = choose_methods(["default-CT"])
    scaled = scale_recipe(ct, SETTINGS)
    assert (scaled.channels, scaled.registration) == (("ct",), None)


def test_methods_are_chosen_in_the_tables_order():
    chosen = choose_methods(["NEAREST", "mamaa", "eli1"])
    assert [each.name for each in chosen] == ["eli1", "Mamaa", "nearest"]
    with pytest.raises(OptionError, match=r"'nobody'.*eli1"):
        choose_methods(["nobody"])


def test_settings_are_kept_and_changed_by_what_is_given(tmp_path: Path):
    out = tmp_path / "out"
    assert decide_settings(out, {"folds": None}) == ChallengeSettings()
    changed = decide_settings(out, {"folds": 3})
    assert changed.folds == 3
    assert decide_settings(out, {}) == changed
    assert (out / FILE).exists()


@pytest.mark.parametrize("given", [{"folds": 1}, {"methods": ()}, {"test_cases": 0}])
def test_settings_that_are_not_allowed_are_not_kept(tmp_path: Path, given):
    with pytest.raises(OptionError, match=next(iter(given))):
        decide_settings(tmp_path, given)
    assert not (tmp_path / FILE).exists()


def test_settings_say_how_they_differ_from_the_challenges():
    assert ChallengeSettings().differences == ()
    assert ChallengeSettings(folds=3, test_cases=3).differences == (
        "test_cases",
        "folds",
    )
    assert ChallengeSettings().methods == method_names()


def test_cases_are_as_many_as_the_challenges():
    assert SETTINGS.training_seeds == range(1, 43)
    assert SETTINGS.test_seeds == range(43, 57)
    assert isinstance(scale_recipe(TRAINED[0], SETTINGS), Recipe)
