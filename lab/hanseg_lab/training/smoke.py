"""A recipe shrunk to what a processor trains in seconds, its method left as it is."""

from __future__ import annotations

from hanseg_lab.training.recipe import Recipe, with_localiser
from hanseg_lab.training.small_network import Smallness, shrink_network
from hanseg_segmentation.packages.package import NetworkSpec

SMOKE_SPACING_MM = (8.0, 8.0, 8.0)

SMOKE_PATCH = (32, 32, 32)

WIDEST = 16
"""Most channels of a stage."""

SMALLNESS = Smallness(
    width=lambda width: min(width, WIDEST), deepest=3, most_stages=4, side_features=8
)


def shrink_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe shrunk so that it runs in seconds; the model is of no use.

    Grid, patch, widths, numbers of patients, folds and iterations shrink. Channels,
    kind of network, loss, optimiser, variation and how it is run stay.
    """
    shrunk = recipe.model_copy(
        update={
            "spacing_mm": SMOKE_SPACING_MM,
            "sample_spacing_mm": SMOKE_SPACING_MM,
            "patch": SMOKE_PATCH,
            "network": NetworkSpec(
                kind=recipe.network.kind,
                config=shrink_network(dict(recipe.network.config), SMALLNESS),
            ),
            "folds": min(recipe.folds, 3),
            "phantoms": 3,
            "minutes": None,
            "iterations": 4,
            "optimiser": recipe.optimiser.model_copy(update={"warm_up": 1}),
            "checkpoint_seconds": 0.0,
        }
    )
    return with_localiser(shrunk, shrink_recipe)
