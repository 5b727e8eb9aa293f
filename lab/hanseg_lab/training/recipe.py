"""Recipes: everything that decides what a training makes, as validated files."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from hanseg_lab.training.label_sets import channels_of_organs
from hanseg_segmentation.packages.package import (
    Axis,
    Channel,
    NetworkSpec,
    Normalisation,
)
from hanseg_shared.document import Document
from hanseg_shared.documents import Backend, TransformKind
from hanseg_shared.errors import OptionError
from hanseg_shared.faults import first_fault

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Edge = Annotated[int, Field(ge=16, le=256, multiple_of=8)]
Spacing = tuple[Positive, Positive, Positive]

BINARY = "binary_bank"
"""The kind of network that has one network for each organ."""

LOCALISER = "localiser"
"""Sub-folder of a training, and of a package, for a localiser."""

DEEPLY_SUPERVISED = (
    "plain_conv_unet",
    "residual_encoder_unet",
    "stunet",
    "inception_unet",
)
"""Kinds of networks that answer at several resolutions in training."""


class VariationRecipe(Document):
    """How much patches are varied; see `patches.Variation`."""

    rotation_degrees: Annotated[float, Field(ge=0, le=45)] = 6.0
    scale: tuple[Positive, Positive] = (0.85, 1.18)
    unmoved_share: Share = 0.0
    truncation_share: Share = 0.3
    mr_share: Share = 0.5
    ct_dropped_share: Share = 0.0
    mr_gamma: tuple[Positive, Positive] = (0.5, 1.6)
    misregistration_mm: Annotated[float, Field(ge=0, le=20)] = 4.0
    misrotation_degrees: Annotated[float, Field(ge=0, le=20)] = 0.0
    organ_share: Share = 0.8
    mirror_share: Share = 0.5
    flip_axes: tuple[Axis, ...] = ()
    coarse_share: Share = 0.4
    noise_hu: Annotated[float, Field(ge=0, le=200)] = 25.0
    metal_share: Share = 0.0


class LossRecipe(Document):
    """What the loss is made of; see `loss.LossSettings`.

    Attributes:
        organ_share_until: Share of the training after which `organ_share` is 0. With
            it small organs are found early, but too large: one of 20 voxels in a
            patch of 110000 weighs 60 times what background does, as if its logit were
            4 higher.
    """

    dice: Literal["present", "known"] = "present"
    smooth_voxels: Annotated[float, Field(ge=0)] = 1.0
    organ_share: Share = 0.1
    organ_share_until: Annotated[float, Field(gt=0, le=1)] = 0.4
    size_weight: Annotated[float, Field(ge=0)] = 0.2
    hard_share: Share = 0.0
    focal_power: Annotated[float, Field(ge=0, le=5)] = 0.0
    deep_supervision: bool = False


class OptimiserRecipe(Document):
    """How weights are changed.

    Attributes:
        kind: AdamW, or stochastic gradient descent with Nesterov momentum 0.99.
        learning_rate: The highest, after warming up.
        warm_up: Iterations until the highest learning rate is reached.
        fall: Half a cosine, or the power `exponent` of what is left to do.
        exponent: nnU-Net's is 0.9.
        weight_decay: How fast weights shrink.
        largest_gradient: Longer gradients are shortened to this.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 1.5e-3
    warm_up: Count = 100
    fall: Literal["cosine", "power"] = "cosine"
    exponent: Positive = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    largest_gradient: Positive = 5.0


class RegistrationRecipe(Document):
    """How the MR is registered to the CT for a model of this recipe."""

    kind: TransformKind = TransformKind.RIGID
    backend: Backend = Backend.ELASTIX


class InferenceRecipe(Document):
    """How a model of this recipe is run; see `packages.package.ModelPackage`.

    Attributes:
        patch: Voxels (z, y, x) of a tile; None takes the patches of training.
    """

    patch: tuple[Edge, Edge, Edge] | None = None

    combine: Literal["logits", "softmax", "vote"] = "softmax"
    step: Annotated[float, Field(gt=0, le=1)] = 0.5
    mirror_axes: tuple[Axis, ...] = ()


class Recipe(Document):
    """How a model is trained.

    Attributes:
        name: Name of the model.
        version: Version of the weights it makes.
        description: What it is, in a sentence or two.
        inferred: Settings, by their dotted name, that no source states.
        sources: Where the other settings come from.
        registration: How the MR is registered; None for a model of the CT alone.
        channels: What the network sees.
        spacing_mm: Spacing (x, y, z) of the grid the network works on.
        sample_spacing_mm: Spacing (x, y, z) in which samples are kept; patches are
            resampled from them.
        patch: Voxels (z, y, x) of a patch.
        merged_sides: Whether left and right of a pair are one to the network, and are
            parted by position when the model is run.
        localiser: How a coarse model of the CT alone is trained on the same cases,
            which says where organs can be when the model is run; None leaves that to
            the model that ships.
        network: The network; its channels in and out follow from `channels` and the
            organs.
        normalisation: How images become network input.
        variation: How patches are varied.
        loss: What is minimised.
        optimiser: How.
        inference: How the model is run.
        folds: Networks that are trained, each without its part of the cases; with
            one, `held_out` says which cases it does not see.
        folds_hold_out: Whether each fold is trained without its part of the cases;
            otherwise all see all of them, in patches of their own, and are evaluated
            on them.
        phantoms: How many simulated patients are made.
        held_out: Every so many-th real case is kept from training, for choosing.
        real_a_batch: Patches of real cases in a batch.
        phantoms_a_batch: Patches of simulated patients in a batch.
        iterations: Each network's training ends after so many.
        minutes: Or after so long, if that is sooner; the learning rate then follows
            the time, which no second run repeats exactly.
        processor_minutes: Or after so much time of the processor, all threads of the
            process together: the same budget for a training that has the machine for
            itself and for one that shares it. No second run repeats it exactly.
        average_decay: Decay of the moving average of weights that is shipped; 0 ships
            the last weights.
        precision: Of the network's arithmetic in training; float32 in place of
            bfloat16 where the processor or GPU has none.
        checkpoint_seconds: How often the state is written.
        seed: What every random stream starts from.
    """

    name: str
    version: str
    description: str
    inferred: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    registration: RegistrationRecipe | None = RegistrationRecipe()
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)] = (
        "ct",
        "mr",
        "field_of_view",
    )
    spacing_mm: Spacing = (4.0, 4.0, 3.0)
    sample_spacing_mm: Spacing = (3.0, 3.0, 3.0)
    patch: tuple[Edge, Edge, Edge] = (64, 48, 48)
    merged_sides: bool = False
    localiser: Recipe | None = None
    network: NetworkSpec = NetworkSpec(
        kind="unet",
        config={"features": [16, 48, 96, 160, 192], "head_features": 24},
    )
    normalisation: Normalisation = Normalisation()
    variation: VariationRecipe = VariationRecipe()
    loss: LossRecipe = LossRecipe()
    optimiser: OptimiserRecipe = OptimiserRecipe()
    inference: InferenceRecipe = InferenceRecipe()
    folds: Annotated[int, Field(ge=1, le=20)] = 1
    folds_hold_out: bool = True
    phantoms: Count = 300
    held_out: Annotated[int, Field(ge=2)] = 14
    real_a_batch: Annotated[int, Field(ge=0)] = 1
    phantoms_a_batch: Annotated[int, Field(ge=0)] = 1
    iterations: Count = 1_000_000
    minutes: Positive | None = None
    processor_minutes: Positive | None = None
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 120.0
    seed: int = 0

    @field_validator("inferred")
    @classmethod
    def _check_inferred(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name.split(".")[0] not in cls.model_fields:
                raise ValueError(f"there is no setting {name!r} to be inferred")
        return names

    @model_validator(mode="after")
    def _check_registration(self) -> Self:
        if ("mr" in self.channels) != (self.registration is not None):
            raise ValueError("an MR needs a registration, and a registration an MR")
        return self

    @model_validator(mode="after")
    def _check_mirroring(self) -> Self:
        unseen = set(self.inference.mirror_axes) - set(self.variation.flip_axes)
        if unseen:
            raise ValueError(
                f"inference mirrors along {sorted(unseen)}, which variation.flip_axes"
                " does not include"
            )
        return self

    @model_validator(mode="after")
    def _check_deep_supervision(self) -> Self:
        if self.loss.deep_supervision and self.network.kind not in DEEPLY_SUPERVISED:
            raise ValueError(
                f"a {self.network.kind} has no outputs to supervise deeply"
            )
        return self

    @model_validator(mode="after")
    def _check_merged_sides(self) -> Self:
        if self.merged_sides and self.network.kind == BINARY:
            raise ValueError(f"a {BINARY} has a network of its own for each organ")
        return self

    @model_validator(mode="after")
    def _check_localiser(self) -> Self:
        if self.localiser is None:
            return self
        if self.localiser.localiser is not None or self.localiser.folds > 1:
            raise ValueError("a localiser is one network, without its own localiser")
        if self.localiser.registration is not None:
            raise ValueError("a localiser sees the CT alone")
        return self

    @property
    def networks(self) -> int:
        """How many networks are trained, the localiser included."""
        return self.folds + (self.localiser is not None)

    @property
    def labels(self) -> dict[str, int]:
        """The output channel of each organ."""
        return channels_of_organs(merged_sides=self.merged_sides)

    @property
    def network_spec(self) -> NetworkSpec:
        """The network with as many channels as images and organs need."""
        labels: dict[str, JsonValue] = dict(self.labels)
        channels: dict[str, JsonValue] = {"in_channels": len(self.channels)}
        if self.network.kind == BINARY:
            each = self.network.config | channels | {"out_channels": 1}
            return NetworkSpec(kind=BINARY, config={"each": each, "labels": labels})
        channels["out_channels"] = max(self.labels.values()) + 1
        return NetworkSpec(
            kind=self.network.kind, config=self.network.config | channels
        )


def with_localiser(recipe: Recipe, change: Callable[[Recipe], Recipe]) -> Recipe:
    """Return a recipe whose localiser, if it has one, is changed in the same way."""
    if recipe.localiser is None:
        return recipe
    return recipe.model_copy(update={"localiser": change(recipe.localiser)})


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package, sorted."""
    return tuple(
        sorted(
            Path(each.name).stem
            for each in _folder().iterdir()
            if each.name.endswith(".json")
        )
    )


def read_recipe(name: str) -> Recipe:
    """Return the recipe of that name, or of that file.

    Raises:
        OptionError: There is none, or it is not valid.
    """
    path = Path(name)
    file = path if path.suffix == ".json" else _folder() / f"{name}.json"
    try:
        return Recipe.model_validate_json(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        known = ", ".join(recipe_names())
        raise OptionError(f"no recipe is called {name!r}; there are {known}") from None
    except ValidationError as error:
        raise OptionError(f"recipe {name}: {first_fault(error)}") from None


def _folder() -> Traversable:
    return resources.files("hanseg_lab.training") / "recipes"
