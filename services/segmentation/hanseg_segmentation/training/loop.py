"""The training loop: from a recipe to weights, through any number of restarts."""

from __future__ import annotations

import csv
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hanseg_segmentation.network.unet import UNetConfig, build_network
from hanseg_segmentation.training.data import SampleFiles, TrainingData
from hanseg_segmentation.training.loss import training_loss
from hanseg_segmentation.training.memory import keep_memory
from hanseg_segmentation.training.patches import Patch, PatchCutter, Variation
from hanseg_segmentation.training.recipe import Recipe
from hanseg_segmentation.training.sample import Sample
from hanseg_segmentation.training.team import Team
from hanseg_shared.errors import ModelError

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.pt"
LOG_FILE = "log.csv"
LOG_EVERY = 20
"""Iterations whose mean is one row of the log."""

SIZE_WEIGHT = 0.2
"""Weight of the size loss beside cross-entropy and Dice."""

LARGEST_GRADIENT = 5.0
"""Longer gradients are shortened to this."""


@dataclass(slots=True, eq=False)
class TrainingState:
    """All that a training is, between two iterations.

    Attributes:
        network: What learns.
        average: Moving average of its weights and statistics: what is shipped.
        optimiser: AdamW over `network`.
        iteration: Iterations done.
        seconds: Time spent on them, over all restarts.
    """

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    iteration: int = 0
    seconds: float = 0.0

    def save(self, folder: Path) -> None:
        """Write the state, by rename, so that a kill leaves the last one whole."""
        partial = folder / f"{CHECKPOINT_FILE}.part"
        content = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
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
            self.network.load_state_dict(content["network"])
            self.average.load_state_dict(content["average"])
        except RuntimeError as error:
            raise ModelError(f"{path} is of another network; start anew") from error
        self.optimiser.load_state_dict(content["optimiser"])
        self.iteration = int(content["iteration"])
        self.seconds = float(content["seconds"])


def network_config(recipe: Recipe) -> UNetConfig:
    """Return the network's shape as the recipe wants it."""
    return UNetConfig(
        features=recipe.network.features, head_features=recipe.network.head_features
    )


def new_state(recipe: Recipe) -> TrainingState:
    """Return the state before the first iteration."""
    torch.manual_seed(recipe.seed)
    network = build_network(network_config(recipe))
    average = build_network(network_config(recipe))
    average.load_state_dict(network.state_dict())
    average.requires_grad_(requires_grad=False)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    return TrainingState(network, average, optimiser)


def train(
    team: Team, recipe: Recipe, files: SampleFiles, folder: Path, *, resume: bool
) -> None:
    """Train until the recipe's time or iterations are spent.

    Args:
        team: This process's place among those that train together.
        recipe: How.
        files: Prepared samples; each process reads its part of them.
        folder: Where the checkpoint and the log go; it must exist.
        resume: Whether to go on from the checkpoint in `folder`.

    Raises:
        ModelError: There is nothing to resume, or the loss is not finite.
    """
    keep_memory()
    torch.set_num_threads(1)
    state = new_state(recipe)
    if resume:
        state.load(folder)
    data = files.load(part=team.rank, parts=team.size)
    log = _Log(folder / LOG_FILE, fresh=not resume) if team.leads else None
    state.network.train()
    batches = _Batches(
        recipe, data, _cutter(recipe, stream=(state.iteration, team.rank))
    )
    saved_at, watch = state.seconds, _Stopwatch()
    while not _finished(state, recipe):
        figures = _step(state, recipe, batches, team, watch)
        if log is None:
            continue
        log.add(state, figures)
        if state.seconds - saved_at >= recipe.checkpoint_seconds:
            state.save(folder)
            saved_at = state.seconds
    if team.leads:
        state.save(folder)


def learning_rate(recipe: Recipe, *, iteration: int, seconds: float) -> float:
    """Return the learning rate: a linear rise, then half a cosine down to nearly 0."""
    spent = max(seconds / (60 * recipe.minutes), iteration / recipe.largest_iterations)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, spent)))
    rise = min(1.0, (iteration + 1) / recipe.warm_up)
    return recipe.learning_rate * rise * max(cosine, 0.003)


def _finished(state: TrainingState, recipe: Recipe) -> bool:
    return (
        state.iteration >= recipe.largest_iterations
        or state.seconds >= 60 * recipe.minutes
    )


def _cutter(recipe: Recipe, *, stream: tuple[int, int]) -> PatchCutter:
    return PatchCutter(
        np.random.default_rng((recipe.seed, *stream)),
        shape=recipe.patch,
        spacing_mm=recipe.spacing_mm,
        sample_spacing_mm=recipe.sample_spacing_mm,
        variation=Variation(**recipe.variation.model_dump()),
        normalisation=recipe.normalisation,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Batches:
    """Draws batches: patches of real cases first, of simulated patients after."""

    recipe: Recipe
    data: TrainingData
    cutter: PatchCutter

    def draw(self) -> list[Patch]:
        real = self.recipe.real_a_batch if self.data.real else 0
        simulated = self.recipe.phantoms_a_batch + self.recipe.real_a_batch - real
        chosen = self._some(self.data.real, real)
        chosen += self._some(self.data.phantoms, simulated)
        return [self.cutter.cut(sample) for sample in chosen]

    def _some(self, samples: tuple[Sample, ...], count: int) -> list[Sample]:
        rng = self.cutter.rng
        return [samples[rng.integers(len(samples))] for _ in range(count)]


def _step(
    state: TrainingState,
    recipe: Recipe,
    batches: _Batches,
    team: Team,
    watch: _Stopwatch,
) -> dict[str, float]:
    """Learn from one batch; return its losses."""
    rate = learning_rate(recipe, iteration=state.iteration, seconds=state.seconds)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    losses = _gradients(state.network, batches.draw())
    if not math.isfinite(sum(losses.values())):
        raise ModelError(
            f"the losses are {losses} at iteration {state.iteration}; a lower"
            " learning rate may help"
        )
    state.seconds += team.share_gradients(state.network, watch.lap())
    nn.utils.clip_grad_norm_(state.network.parameters(), LARGEST_GRADIENT)
    state.optimiser.step()
    _average(state, recipe.average_decay)
    state.iteration += 1
    return {"rate": rate, **losses}


def _gradients(network: nn.Module, patches: list[Patch]) -> dict[str, float]:
    """Leave a batch's gradients in the network; return its losses."""
    channels = torch.stack([p.channels for p in patches])
    allowed = torch.stack([p.allowed for p in patches])
    network.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(channels.contiguous(memory_format=torch.channels_last_3d))
    groups, sizes = [p.groups for p in patches], [p.sizes for p in patches]
    entropy, dice, size = training_loss(logits, allowed, groups, sizes)
    total = entropy + dice + SIZE_WEIGHT * size
    total.backward()  # type: ignore[no-untyped-call]
    return {
        "cross_entropy": entropy.item(),
        "dice_loss": dice.item(),
        "size_loss": size.item(),
    }


@torch.no_grad()
def _average(state: TrainingState, decay: float) -> None:
    """Move the average towards the network; quickly while it is young."""
    keep = min(decay, (1 + state.iteration) / (10 + state.iteration))
    current = state.network.state_dict()
    for name, value in state.average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - keep)
        else:
            value.copy_(current[name])


class _Stopwatch:
    """Seconds from one lap to the next, so that no waiting is left out."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        elapsed, self.last = now - self.last, now
        return elapsed


class _Log:
    """Means over some iterations, as rows of a CSV file."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        if fresh:
            path.unlink(missing_ok=True)

    def add(self, state: TrainingState, figures: dict[str, float]) -> None:
        self.rows.append(figures)
        if state.iteration % LOG_EVERY:
            return
        means = {k: float(np.mean([r[k] for r in self.rows])) for k in figures}
        self.rows.clear()
        row = {"iteration": state.iteration, "seconds": round(state.seconds, 1)}
        entry = row | {k: float(f"{v:.4g}") for k, v in means.items()}
        exists = self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(entry))
            if not exists:
                writer.writeheader()
            writer.writerow(entry)
        logger.info("%s", entry)
