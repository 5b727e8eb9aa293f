"""Optimisers for trainings on so few voxels that stochastic gradient descent stops."""

from __future__ import annotations

from typing import Any

from hanseg_lab.training.recipe import OptimiserRecipe

ADAMW_RATE = 0.003
"""Of a recipe that uses stochastic gradient descent, which needs more voxels a batch:
on patches of 24 x 32 x 32 it takes everything for background after 20 iterations at
0.01, has a fiftieth of its first gradient there, and was still there after 1500. Rates
up to 0.3 lead out of it too slowly."""


def for_small_batches(optimiser: OptimiserRecipe, *, warm_up: int) -> OptimiserRecipe:
    """Return an optimiser that learns from batches of few voxels.

    Stochastic gradient descent becomes AdamW; the fall of the rate stays.

    Args:
        optimiser: The recipe's.
        warm_up: Most iterations until the highest rate is reached.
    """
    changes: dict[str, Any] = {"warm_up": min(optimiser.warm_up, warm_up)}
    if optimiser.kind == "sgd":
        changes |= {"kind": "adamw", "learning_rate": ADAMW_RATE}
    return optimiser.model_copy(update=changes)
