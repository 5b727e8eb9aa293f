"""The progress of a training, and its learning rate and loss weights there."""

from __future__ import annotations

import math

from hanseg_lab.training.recipe import Recipe

LEAST_SHARE = 0.003
"""Of the highest learning rate, at the end."""


def share_done(recipe: Recipe, *, iteration: int, seconds: float) -> float:
    """Return how much of the training is done, 0 to 1."""
    share = iteration / recipe.iterations
    if recipe.minutes is not None:
        share = max(share, seconds / (60 * recipe.minutes))
    return min(1.0, share)


def organ_share(recipe: Recipe, *, iteration: int, seconds: float) -> float:
    """Return the organs' own share of the cross-entropy, which ends early."""
    done = share_done(recipe, iteration=iteration, seconds=seconds)
    loss = recipe.loss
    return loss.organ_share if done < loss.organ_share_until else 0.0


def learning_rate(recipe: Recipe, *, iteration: int, seconds: float) -> float:
    """Return the learning rate: a linear rise, then a fall to nearly 0."""
    optimiser = recipe.optimiser
    done = share_done(recipe, iteration=iteration, seconds=seconds)
    if optimiser.fall == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * done))
    else:
        fall = (1 - done) ** optimiser.exponent
    rise = min(1.0, (iteration + 1) / optimiser.warm_up)
    return optimiser.learning_rate * rise * max(fall, LEAST_SHARE)
