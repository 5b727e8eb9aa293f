"""The progress of a training, and its learning rate and loss weights there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hanseg_lab.training.recipe import Recipe

LEAST_SHARE = 0.003
"""Of the highest learning rate, at the end."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one network's training has taken so far, over all restarts.

    Attributes:
        iterations: That are done.
        seconds: By the clock.
        processor_seconds: Of all threads of the process (of the first, if several
            train together).
    """

    iterations: int
    seconds: float = 0.0
    processor_seconds: float = 0.0


def share_done(recipe: Recipe, spent: Spent) -> float:
    """Return how much of the training is done, 0 to 1."""
    share = spent.iterations / recipe.iterations
    if recipe.minutes is not None:
        share = max(share, spent.seconds / (60 * recipe.minutes))
    if recipe.processor_minutes is not None:
        share = max(share, spent.processor_seconds / (60 * recipe.processor_minutes))
    return min(1.0, share)


def organ_share(recipe: Recipe, spent: Spent) -> float:
    """Return the organs' own share of the cross-entropy, which ends early."""
    done = share_done(recipe, spent)
    loss = recipe.loss
    return loss.organ_share if done < loss.organ_share_until else 0.0


def learning_rate(recipe: Recipe, spent: Spent) -> float:
    """Return the learning rate: a linear rise, then a fall to nearly 0."""
    optimiser = recipe.optimiser
    done = share_done(recipe, spent)
    if optimiser.fall == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * done))
    else:
        fall = (1 - done) ** optimiser.exponent
    rise = min(1.0, (spent.iterations + 1) / optimiser.warm_up)
    return optimiser.learning_rate * rise * max(fall, LEAST_SHARE)
