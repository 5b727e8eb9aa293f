"""The state of a training between two iterations, and its checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from hanseg_lab.training.recipe import OptimiserRecipe, Recipe
from hanseg_lab.training.schedule import Spent
from hanseg_lab.training.trainee import Trainee, new_trainee
from hanseg_shared.errors import ModelError, OptionError

CHECKPOINT_FILE = "checkpoint.pt"

MOMENTUM = 0.99
"""nnU-Net's, of stochastic gradient descent."""


@dataclass(slots=True, eq=False)
class TrainingState:
    """The whole state of a training between two iterations.

    Attributes:
        trainee: The network with its loss.
        average: Moving average of the network's weights and statistics: what is
            shipped.
        optimiser: Over the network's weights.
        iteration: Iterations done.
        seconds: Time spent on them, over all restarts.
        processor_seconds: Time of the processor that they took; see `Spent`.
        unlogged: Figures of iterations that are in no row of the log yet.
    """

    trainee: Trainee
    average: nn.Module
    optimiser: torch.optim.Optimizer
    iteration: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    unlogged: list[dict[str, float]] = field(default_factory=list)

    @property
    def spent(self) -> Spent:
        """What the training has taken so far."""
        return Spent(self.iteration, self.seconds, self.processor_seconds)

    def save(self, folder: Path) -> None:
        """Write the state, by rename, so that a kill leaves the last one whole."""
        partial = folder / f"{CHECKPOINT_FILE}.part"
        content = {
            "network": self.trainee.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "unlogged": self.unlogged,
        }
        torch.save(content, partial)
        partial.replace(folder / CHECKPOINT_FILE)

    def load(self, folder: Path) -> None:
        """Take over the state in `folder`.

        Raises:
            ModelError: There is none, or it is of another network.
        """
        path = folder / CHECKPOINT_FILE
        if not path.exists():
            raise ModelError(f"{path} is missing: there is nothing to resume")
        content = torch.load(path, map_location="cpu", weights_only=True)
        try:
            self.trainee.network.load_state_dict(content["network"])
            self.average.load_state_dict(content["average"])
            self.optimiser.load_state_dict(content["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{path} is of another network; start without --resume"
            ) from error
        self.iteration = int(content["iteration"])
        self.seconds = float(content["seconds"])
        self.processor_seconds = float(content.get("processor_seconds", 0.0))
        self.unlogged = list(content["unlogged"])

    def begin_from(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take over another model's weights before the first iteration.

        Raises:
            OptionError: They are of another network.
        """
        try:
            for network in (self.trainee.network, self.average):
                network.load_state_dict(weights)
        except RuntimeError as error:
            raise OptionError(
                "the training cannot begin with these weights, which are of another"
                f" network: {str(error).splitlines()[1].strip()}"
            ) from error

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the average towards the network; quickly while it is young."""
        keep = min(decay, (1 + self.iteration) / (10 + self.iteration))
        current = self.trainee.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - keep)
            else:
                value.copy_(current[name])


def new_state(recipe: Recipe, device: torch.device | None = None) -> TrainingState:
    """Return the state before the first iteration, on a device."""
    place = device or torch.device("cpu")
    trainee = new_trainee(recipe, place)
    trainee.to(place, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    average = copy.deepcopy(trainee.network)
    average.requires_grad_(requires_grad=False)
    return TrainingState(trainee, average, _optimiser(trainee, recipe.optimiser))


def _optimiser(trainee: Trainee, recipe: OptimiserRecipe) -> torch.optim.Optimizer:
    weights, rate, decay = (
        trainee.parameters(),
        recipe.learning_rate,
        recipe.weight_decay,
    )
    if recipe.kind == "sgd":
        return torch.optim.SGD(
            weights, lr=rate, momentum=MOMENTUM, weight_decay=decay, nesterov=True
        )
    return torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
