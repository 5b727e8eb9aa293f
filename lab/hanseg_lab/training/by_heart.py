"""A recipe at a scale at which it learns one case by heart in minutes of a processor.

What cannot learn one case by heart cannot learn at all: labels that are mirrored, a
loss without a slope, a rate that diverges, an inference that is not the training's all
show in minutes what they would show after a week.
"""

from __future__ import annotations

from typing import Any

from hanseg_lab.training.recipe import (
    BINARY,
    Recipe,
    VariationRecipe,
    with_localiser,
)
from hanseg_lab.training.short_training import (
    keep_sides_apart,
    loss_on_few_organs,
    optimiser_for_short_training,
)
from hanseg_lab.training.small_network import narrow, shrink_network
from hanseg_segmentation.packages.package import NetworkSpec
from hanseg_shared.organs import ORGANS, Side

SPACING_MM = (4.0, 4.0, 4.0)
"""Of the network's grid and its samples; a case on such a grid is not resampled."""

PATCH = (24, 32, 32)

PATCH_OF_ONE = (16, 32, 32)
"""Of a bank: 64 x 128 x 128 mm, about as much as `cwlg102`'s own patches show."""

ITERATIONS = 6000
"""Of each network."""

ITERATIONS_FLIPPED = 8000
"""Where patches are flipped: that is as if several patients were learnt."""

PART = 2
"""What widths are divided by. By 4, `quetin` and now and then `eli1` never found chiasm
and pituitary."""

ITERATIONS_OF_ONE = 400
"""Of each network of a bank, which knows a single organ and its counterpart."""

ITERATIONS_OF_LOCALISER = 3000
"""Of a bank's localiser: boxes need no more."""

WARM_UP_SHARE = 0.04
"""Share of a training that is spent on warming up. Without it AdamW left `chb-quantif`,
which has none for SGD, with all voxels background from the 40th iteration on."""

MOST_STAGES = 5
"""Of a network."""

BATCH = 2
"""Most patches of a batch."""


def by_heart(recipe: Recipe) -> Recipe:
    """Return the recipe at the scale at which it learns one case by heart.

    Grid, patch, batch, widths and iterations shrink, a single fold sees every case, and
    no simulated patients are added. Patches lie on the case's own voxels, neither
    turned nor scaled, blurred or noisy, nor flipped left to right unless both sides are
    one to the network; Dice is of the organs that they show. What a method is made of
    stays: images and what is left out of them, other flips, the rest of the loss, the
    shape of its schedule, and how it is run.
    """
    recipe, patch = keep_sides_apart(recipe), PATCH
    iterations = ITERATIONS_FLIPPED if recipe.variation.flip_axes else ITERATIONS
    if recipe.network.kind == BINARY:
        networks = sum(each.side is not Side.RIGHT for each in ORGANS)
        patch, iterations = PATCH_OF_ONE, ITERATIONS_OF_ONE * networks
    small = narrow(recipe.network.kind, most_stages=MOST_STAGES, part=PART)
    shrunk = recipe.model_copy(
        update={
            "spacing_mm": SPACING_MM,
            "sample_spacing_mm": SPACING_MM,
            "patch": patch,
            "real_a_batch": min(BATCH, recipe.real_a_batch + recipe.phantoms_a_batch),
            "phantoms_a_batch": 0,
            "phantoms": 1,
            "network": NetworkSpec(
                kind=recipe.network.kind,
                config=shrink_network(dict(recipe.network.config), small),
            ),
            "variation": turn_down(recipe.variation),
            "loss": loss_on_few_organs(recipe),
            "folds": 1,
            "folds_hold_out": False,
            "minutes": None,
            "iterations": iterations,
            "optimiser": optimiser_for_short_training(
                recipe, warm_up=int(WARM_UP_SHARE * iterations)
            ),
        }
    )
    return with_localiser(shrunk, _localiser_by_heart)


def _localiser_by_heart(recipe: Recipe) -> Recipe:
    changes = {"iterations": ITERATIONS_OF_LOCALISER}
    return by_heart(recipe).model_copy(update=changes)


def turn_down(variation: VariationRecipe) -> VariationRecipe:
    """Return a variation of patches that are about organs and look as the case does.

    What stays is the method's own, or what the model is run with: flips, and images
    that are left out.
    """
    still: dict[str, Any] = {
        "organ_share": 1.0,
        "rotation_degrees": 0.0,
        "scale": (1.0, 1.0),
        "unmoved_share": 1.0,
        "truncation_share": 0.0,
        "misregistration_mm": 0.0,
        "misrotation_degrees": 0.0,
        "mirror_share": 0.0,
        "mr_gamma": (1.0, 1.0),
        "coarse_share": 0.0,
        "noise_hu": 0.0,
        "metal_share": 0.0,
    }
    return variation.model_copy(update=still)
