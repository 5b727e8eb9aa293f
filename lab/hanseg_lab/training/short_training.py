"""Trainings of minutes, on few voxels at a time: how they get somewhere at all."""

from __future__ import annotations

from typing import Any

from hanseg_lab.training.recipe import (
    BINARY,
    LossRecipe,
    OptimiserRecipe,
    Recipe,
    VariationRecipe,
)

ADAMW_RATE = 0.003
"""Least highest rate of some thousand iterations, and that of a recipe with stochastic
gradient descent, which needs more voxels a batch: on patches of 24 x 32 x 32 it takes
everything for background after 20 iterations at 0.01, has a fiftieth of its first
gradient there, and was still there after 1500. Rates up to 0.3 lead out of it too
slowly."""

RATE_OF_ONE = 0.01
"""The same of a network that knows a single organ, and gets some hundred iterations.
AdamW moves a weight by the rate at most: after 290 iterations from 0.001, the network
of a submandibular gland gave every voxel a chance of 0.3 still (Dice loss 0.97); from
0.003, 0.06 (0.85); from 0.01 it had learnt the gland (0.03)."""

ORGANS_OWN_SHARE = 0.9
"""Least share of the cross-entropy that counts organs alike at first."""

ORGANS_OWN_UNTIL = 0.4
"""Share of a training that begins so. Once everything is background, an organ of a
hundred voxels hardly pulls at the cross-entropy, and Dice's slope dies with its
probability: organs are found one after the other, over thousands of iterations.
Counted alike they are found together, but too large, which the rest mends."""

LARGEST_TURN_DEGREES = 5.0

SCALES = (0.95, 1.05)

LOUDEST_NOISE_HU = 10.0


def optimiser_for_short_training(
    recipe: Recipe, *, warm_up: int, least_rate: float = ADAMW_RATE
) -> OptimiserRecipe:
    """Return a recipe's optimiser for a training of few iterations on few voxels.

    Stochastic gradient descent becomes AdamW, whose rate is high enough to get
    somewhere; the fall of the rate stays.

    Args:
        recipe: The recipe.
        warm_up: Iterations until the highest rate is reached.
        least_rate: What the highest rate is at least, unless each network knows a
            single organ (`RATE_OF_ONE`).
    """
    own = recipe.optimiser
    least = RATE_OF_ONE if recipe.network.kind == BINARY else least_rate
    rate = max(own.learning_rate, least) if own.kind == "adamw" else least
    changes: dict[str, Any] = {
        "kind": "adamw",
        "learning_rate": rate,
        "warm_up": warm_up,
    }
    return own.model_copy(update=changes)


def loss_for_short_training(recipe: Recipe) -> LossRecipe:
    """Return `loss_on_few_organs`, which counts organs alike at first.

    Without effect on networks of one organ, which see patches about that.
    """
    loss = loss_on_few_organs(recipe)
    if loss.organ_share > ORGANS_OWN_SHARE:
        return loss
    changes = {
        "organ_share": ORGANS_OWN_SHARE,
        "organ_share_until": ORGANS_OWN_UNTIL,
    }
    return loss.model_copy(update=changes)


def loss_on_few_organs(recipe: Recipe) -> LossRecipe:
    """Return a recipe's loss, its Dice of the organs that a patch shows.

    A small patch shows a quarter of them: a network that finds nothing is right about
    all the others, and `chb-quantif`, whose Dice is of all known organs, ended there
    (Dice loss 0.27, from 0.97 where it had found some; 0.3 by heart). Patches of the
    recipe's own size show most organs.

    Without effect on networks of one organ.
    """
    if recipe.network.kind == BINARY:
        return recipe.loss
    return recipe.loss.model_copy(update={"dice": "present"})


def vary_little(variation: VariationRecipe) -> VariationRecipe:
    """Return a variation of patches that leaves little to learn besides the organs.

    Patches are turned, scaled and made noisy less, and neither blurred nor cut off.
    What decides which image is seen, and flips, stay.
    """
    low, high = variation.scale
    changes: dict[str, Any] = {
        "rotation_degrees": min(variation.rotation_degrees, LARGEST_TURN_DEGREES),
        "scale": (max(low, SCALES[0]), min(high, SCALES[1])),
        "noise_hu": min(variation.noise_hu, LOUDEST_NOISE_HU),
        "coarse_share": 0.0,
        "truncation_share": 0.0,
    }
    return variation.model_copy(update=changes)


def keep_sides_apart(recipe: Recipe) -> Recipe:
    """Return a recipe for patches that are narrower than a head, its sides kept apart.

    Flipped left to right, its labels going with its voxels, a patch that shows one side
    alone may be of either: the network cannot tell an organ from its counterpart
    (`chb-quantif`: a left parotid contoured 128 mm off, Dice 0.0). A recipe's own
    patches show both sides. Other flips stay, and all of them where left and right
    are one to the network.
    """
    if recipe.merged_sides:
        return recipe
    flips = tuple(axis for axis in recipe.variation.flip_axes if axis != "x")
    passes = tuple(axis for axis in recipe.inference.mirror_axes if axis != "x")
    return recipe.model_copy(
        update={
            "variation": recipe.variation.model_copy(update={"flip_axes": flips}),
            "inference": recipe.inference.model_copy(update={"mirror_axes": passes}),
        }
    )
