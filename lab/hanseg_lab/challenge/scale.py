"""A recipe at the scale of the miniature: its method is left as it is.

Grid, patch, widths, number of folds and the length of the training shrink; more patches
are about organs, and vary less, and are not flipped left to right where they would have
to show which side is which; and all learn by AdamW, at a rate that gets somewhere in
minutes, from a loss that counts organs alike at first. Images, other flips, kind of
network, the rest of the loss, the fall of the learning rate and how the model is run
stay the recipe's.
"""

from __future__ import annotations

from typing import Any

from hanseg_lab.challenge.methods import Method, choose_methods
from hanseg_lab.challenge.settings import ChallengeSettings
from hanseg_lab.training.recipe import (
    Recipe,
    RegistrationRecipe,
    read_recipe,
    with_localiser,
)
from hanseg_lab.training.short_training import (
    keep_sides_apart,
    loss_for_short_training,
    optimiser_for_short_training,
    vary_little,
)
from hanseg_lab.training.small_network import narrow, shrink_network
from hanseg_segmentation.packages.package import NetworkSpec
from hanseg_shared.documents import Backend

BATCH = 2
"""Patches a batch, of the training cases alone: nobody gets simulated patients more."""

WARM_UP = 50
"""Iterations of everybody's; recipes have up to 500, of trainings a hundred times as
long, or none where stochastic gradient descent was their own."""

RATE = 0.006
"""Least highest rate of everybody's: `default` came to Dice 0.33 in 6 minutes from it,
to 0.30 from 0.015."""

ORGAN_SHARE = 0.8
"""Of everybody's patches about an organ: of so short a training small organs would see
too little of what most recipes have, one patch in three."""

PATCH = (24, 24, 24)
"""Voxels of everybody's patches: 72 x 96 x 96 mm. An iteration takes half as long as on
patches of 32 voxels: `default` came to Dice 0.32 in 4 minutes, not in 6."""

MOST_STAGES = 5
"""Of a network whose number of stages is free."""

NARROW_AS_IT_IS = "unet"
"""Kind of network of which a third is kept: with a quarter, 8 channels for 30 organs,
it came to Dice 0.32 in 4 minutes and no further, with a third to 0.35 and on."""


def scale_recipe(method: Method, settings: ChallengeSettings) -> Recipe:
    """Return a method's recipe at the miniature's scale.

    A recipe whose own grid is no finer than the miniature's keeps it. The budget is
    divided evenly between the networks of a method, its localiser included.

    Raises:
        OptionError: The method has no recipe.
    """
    own = read_recipe(method.recipe)
    changes: dict[str, Any] = {
        "name": method.model,
        "folds": min(own.folds, settings.folds),
    }
    if method.ct_only:
        changes |= {"channels": ("ct",), "registration": None}
    recipe = own.model_copy(update=changes)
    minutes = budget_minutes(method, settings) / recipe.networks
    return _scale(recipe, settings, minutes)


def _scale(recipe: Recipe, settings: ChallengeSettings, minutes: float) -> Recipe:
    """Return a recipe whose networks, and whose localiser, get so many minutes each."""
    kind = recipe.network.kind
    part = 3 if kind == NARROW_AS_IT_IS else 4
    small = narrow(kind, most_stages=MOST_STAGES, part=part)
    changes: dict[str, Any] = {
        "patch": PATCH,
        "network": NetworkSpec(
            kind=kind,
            config=shrink_network(dict(recipe.network.config), small),
        ),
        "real_a_batch": BATCH,
        "phantoms_a_batch": 0,
        "phantoms": 1,
        "minutes": None,
        "processor_minutes": minutes,
        "variation": vary_little(recipe.variation).model_copy(
            update={"organ_share": ORGAN_SHARE}
        ),
        "loss": loss_for_short_training(recipe),
        "optimiser": optimiser_for_short_training(
            recipe, warm_up=WARM_UP, least_rate=RATE
        ),
    }
    grids = zip(recipe.spacing_mm, settings.grid_mm, strict=True)
    if any(own < ours for own, ours in grids):
        grid = settings.grid_mm
        changes |= {"spacing_mm": grid, "sample_spacing_mm": grid}
    scaled = keep_sides_apart(recipe.model_copy(update=changes))
    return with_localiser(scaled, lambda each: _scale(each, settings, minutes))


def scale_for_real_patients(method: Method, settings: ChallengeSettings) -> Recipe:
    """Return a method's recipe for real patients: with their budget, and its own name.

    Images stay the recipe's; an MR that no case has is left out of every patch.
    """
    shorter = settings.model_copy(update={"processor_minutes": settings.real_minutes})
    recipe = scale_recipe(method, shorter)
    return recipe.model_copy(update={"name": method.model_on_real})


def real_methods(settings: ChallengeSettings) -> tuple[Method, ...]:
    """Return the methods that are tried on real patients, which have no MR."""
    if not settings.openkbp:
        return ()
    return tuple(m for m in settings.chosen if m.is_trained and not m.ct_only)


def registration_here(
    method: Method, settings: ChallengeSettings
) -> RegistrationRecipe | None:
    """Return how a method's MRs are registered in the miniature; None without."""
    if not method.is_trained:
        return None
    wanted = scale_recipe(method, settings).registration
    if wanted is None or wanted.backend is not Backend.ANTS or settings.ants:
        return wanted
    return wanted.model_copy(update={"backend": Backend.ELASTIX})


def registration_name(registration: RegistrationRecipe) -> str:
    """Return the name of a way to register, such as ``rigid-elastix``."""
    return f"{registration.kind.value}-{registration.backend.value}"


def tried_with_mrs(settings: ChallengeSettings) -> tuple[Method, ...]:
    """Return the methods of which it is seen what the MR buys."""
    wanted = choose_methods(settings.mr_methods)
    return tuple(
        method
        for method in settings.chosen
        if method in wanted and registration_here(method, settings) is not None
    )


def budget_minutes(method: Method, settings: ChallengeSettings) -> float:
    """Return the minutes of the processor that a method's training may take."""
    several = read_recipe(method.recipe).folds > 1
    return settings.processor_minutes * (settings.ensemble_factor if several else 1.0)
