"""Recipes: everything that decides what a training makes, as validated files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from hanseg_segmentation.model_package import Normalisation
from hanseg_shared.documents import Document
from hanseg_shared.errors import OptionError

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Edge = Annotated[int, Field(ge=16, le=256, multiple_of=16)]


class VariationRecipe(Document):
    """How much patches are varied; see `patches.Variation`."""

    rotation_degrees: Annotated[float, Field(ge=0, le=45)] = 6.0
    scale: tuple[float, float] = (0.85, 1.18)
    truncation_share: Share = 0.3
    mr_share: Share = 0.5
    mr_gamma: tuple[float, float] = (0.5, 1.6)
    misregistration_mm: Annotated[float, Field(ge=0, le=20)] = 2.0
    organ_share: Share = 0.8


class NetworkRecipe(Document):
    """The shape of the network; see `network.unet.UNetConfig`."""

    features: tuple[Count, ...] = (16, 48, 96, 160, 192)
    head_features: Count = 24


class Recipe(Document):
    """How a model is trained.

    Attributes:
        name: What the model will be called.
        version: Version of the weights it makes.
        description: What it is, in a sentence or two.
        spacing_mm: Spacing (x, y, z) of the grid the network works on.
        sample_spacing_mm: Edge of the cubic voxels in which samples are kept; patches
            are resampled from them.
        patch: Voxels (z, y, x) of a patch.
        network: The network's shape.
        normalisation: How images become network input.
        variation: How patches are varied.
        phantoms: How many simulated patients are made.
        held_out: Every so many-th real case is kept from training, for choosing.
        real_a_batch: Patches of real cases in a batch.
        phantoms_a_batch: Patches of simulated patients in a batch.
        minutes: How long it trains; the learning rate falls to 0 until then.
        largest_iterations: It ends after so many iterations at the latest.
        learning_rate: The highest, after warming up.
        warm_up: Iterations until the highest learning rate is reached.
        weight_decay: AdamW's.
        average_decay: Decay of the moving average of weights that is shipped.
        checkpoint_seconds: How often the state is written.
        processes: How many train together, each with one thread.
        seed: What every random stream starts from.
    """

    name: str
    version: str
    description: str
    spacing_mm: tuple[Positive, Positive, Positive] = (4.0, 4.0, 3.0)
    sample_spacing_mm: Positive = 3.0
    patch: tuple[Edge, Edge, Edge] = (64, 48, 48)
    network: NetworkRecipe = NetworkRecipe()
    normalisation: Normalisation = Normalisation()
    variation: VariationRecipe = VariationRecipe()
    phantoms: Count = 300
    held_out: Annotated[int, Field(ge=2)] = 14
    real_a_batch: Annotated[int, Field(ge=0)] = 1
    phantoms_a_batch: Annotated[int, Field(ge=0)] = 1
    minutes: Annotated[float, Field(gt=0)] = 85.0
    largest_iterations: Count = 1_000_000
    learning_rate: Annotated[float, Field(gt=0)] = 1.5e-3
    warm_up: Count = 100
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    average_decay: Share = 0.998
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 120.0
    processes: Count = 2
    seed: int = 0


def read_recipe(name: str) -> Recipe:
    """Return the recipe of that name, or of that file.

    Raises:
        OptionError: There is none, or it is not valid.
    """
    file = resources.files("hanseg_segmentation") / "recipes" / f"{name}.json"
    path = Path(name)
    try:
        text = path.read_text() if path.suffix == ".json" else file.read_text()
        return Recipe.model_validate_json(text)
    except (FileNotFoundError, NotADirectoryError):
        raise OptionError(f"no recipe is called {name!r}; there is: default") from None
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise OptionError(f"recipe {name}: {where}: {detail['msg']}") from None


def smoke(recipe: Recipe) -> Recipe:
    """Return the recipe shrunk so that it runs in seconds and teaches nothing."""
    return recipe.model_copy(
        update={
            "spacing_mm": (8.0, 8.0, 8.0),
            "sample_spacing_mm": 8.0,
            "patch": (32, 32, 32),
            "network": NetworkRecipe(features=(8, 8, 16), head_features=8),
            "phantoms": 2,
            "minutes": 1.0,
            "largest_iterations": 4,
            "warm_up": 1,
            "checkpoint_seconds": 0.0,
            "processes": 1,
        }
    )
