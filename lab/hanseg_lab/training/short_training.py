"""Optimisers for trainings of minutes, on few voxels at a time."""

from __future__ import annotations

from typing import Any

from hanseg_lab.training.recipe import BINARY, OptimiserRecipe, Recipe

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


def for_short_training(recipe: Recipe, *, warm_up: int) -> OptimiserRecipe:
    """Return a recipe's optimiser for a training of few iterations on few voxels.

    Stochastic gradient descent becomes AdamW, whose rate is high enough to get
    somewhere; the fall of the rate stays.

    Args:
        recipe: The recipe.
        warm_up: Most iterations until the highest rate is reached.
    """
    own = recipe.optimiser
    least = RATE_OF_ONE if recipe.network.kind == BINARY else ADAMW_RATE
    rate = max(own.learning_rate, least) if own.kind == "adamw" else least
    changes: dict[str, Any] = {
        "kind": "adamw",
        "learning_rate": rate,
        "warm_up": min(own.warm_up, warm_up),
    }
    return own.model_copy(update=changes)
