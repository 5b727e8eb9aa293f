"""A recipe shrunk to what a processor trains in seconds, its method left as it is."""

from __future__ import annotations

from typing import Any

from hanseg_lab.training.recipe import Recipe
from hanseg_segmentation.packages.package import NetworkSpec

SMOKE_SPACING_MM = (8.0, 8.0, 8.0)

SMOKE_PATCH = (32, 32, 32)

WIDEST = 16
"""Most channels of a stage."""

DEEPEST = 3
"""Stages after which nothing gets coarser: 32 voxels become 8."""

MOST_STAGES = 4
"""Stages of networks whose number of stages is free."""


def shrink_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe shrunk so that it runs in seconds; the model is of no use.

    Grid, patch, widths, numbers of patients, folds and iterations shrink. Channels,
    kind of network, loss, optimiser, variation and how it is run stay.
    """
    return recipe.model_copy(
        update={
            "spacing_mm": SMOKE_SPACING_MM,
            "sample_spacing_mm": SMOKE_SPACING_MM,
            "patch": SMOKE_PATCH,
            "network": NetworkSpec(
                kind=recipe.network.kind,
                config=_shrink_network(dict(recipe.network.config)),
            ),
            "folds": min(recipe.folds, 3),
            "phantoms": 3,
            "minutes": None,
            "iterations": 4,
            "optimiser": recipe.optimiser.model_copy(update={"warm_up": 1}),
            "checkpoint_seconds": 0.0,
        }
    )


def _shrink_network(config: dict[str, Any]) -> dict[str, Any]:
    """Return a network's settings with narrow stages that stay coarse enough."""
    strides, stages = config.get("strides"), len(config["features"])
    kept = stages if "depth" in config else min(stages, MOST_STAGES)
    small = {key: _shorten(value, stages, kept) for key, value in config.items()}
    small["features"] = [min(width, WIDEST) for width in config["features"][:kept]]
    for name in ("head_features", "stem_features"):
        if name in small:
            small[name] = 8
    if strides is not None:
        # nnU-Net's lists have an entry for the first stage, the others have not
        first = len(strides) == stages
        halvings = [[2, 2, 2]] * (DEEPEST - 1)
        small["strides"] = (
            ([[1, 1, 1]] if first else []) + halvings + [[1, 1, 1]] * stages
        )[: kept if first else kept - 1]
    return small


def _shorten(value: object, stages: int, kept: int) -> object:
    """Return a setting's first entries if it has one a stage."""
    if not isinstance(value, (list, tuple)):
        return value
    return list(value)[: len(value) - (stages - kept)]
