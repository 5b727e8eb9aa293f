"""The training loop: from a recipe to weights, through any number of restarts."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from hanseg_lab.training.log import TrainingLog
from hanseg_lab.training.loss import Losses
from hanseg_lab.training.malloc import keep_memory
from hanseg_lab.training.patch_dice import PatchDice
from hanseg_lab.training.processes import TrainingProcess
from hanseg_lab.training.recipe import Recipe
from hanseg_lab.training.sample import Sample
from hanseg_lab.training.schedule import learning_rate, organ_share, share_done
from hanseg_lab.training.state import TrainingState, new_state
from hanseg_lab.training.trainee import Trainee
from hanseg_lab.training.training_batches import (
    Batches,
    Stream,
    TrainingBatch,
    without_variation,
)
from hanseg_shared.errors import ModelError

logger = logging.getLogger(__name__)

CHECK_EVERY = 200
"""Iterations between two evaluations on held-out cases."""

CHECK_BATCHES = 8
"""Batches of such an evaluation, the same ones each time."""

GPU_THREADS = 8
"""Threads that prepare patches while a GPU trains; on a CPU there are none."""

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Cases:
    """The samples of one network's training.

    Attributes:
        real: Clinical cases to train on.
        phantoms: Simulated patients to train on.
        held_out: Held-out cases on which the network is evaluated; may be empty.
    """

    real: Sequence[Sample]
    phantoms: Sequence[Sample]
    held_out: Sequence[Sample] = ()


def train(
    process: TrainingProcess,
    recipe: Recipe,
    cases: Cases,
    folder: Path,
    *,
    resume: bool,
    fold: int = 0,
    start: Mapping[str, torch.Tensor] | None = None,
    progress: Progress = lambda _: None,
) -> TrainingState:
    """Train one network until the recipe's iterations or time are spent.

    The weights and the log are the same after any number of kills and restarts,
    unless the recipe sets `minutes` or `processor_minutes`. They depend on the number
    of processes and threads.

    Args:
        process: This process, among those that train together.
        recipe: How the network is trained.
        cases: The samples.
        folder: Where checkpoint, log and curves go; it must exist.
        resume: Whether to go on from the checkpoint in `folder`.
        fold: The network's number; it seeds the random streams.
        start: The initial weights; None for random ones.
        progress: Called with the share done after each iteration.

    Raises:
        ModelError: There is nothing to resume, or the loss is not finite.
        OptionError: `start` is of another network.
    """
    keep_memory()
    state = new_state(recipe, process.device)
    if resume:
        state.load(folder)
    elif start is not None:
        state.begin_from(start)
    log = _log(process, recipe, state, folder)
    if state.trainee.precision is not getattr(torch, recipe.precision):
        logger.info("training in float32: this device has no %s", recipe.precision)
    state.trainee.train()
    learner = process.share_gradients(state.trainee, all_used=_uses_all(recipe))
    batches = Batches(
        recipe, cases.real, cases.phantoms, Stream(recipe.seed, fold, process.rank)
    ).draw_ahead(state.iteration, threads=_threads(process))
    evaluation = _Evaluation.of(cases.held_out, recipe, fold) if process.leads else None
    saved_at, clock = state.seconds, _Clock()
    while share_done(recipe, state.spent) < 1:
        batch = next(batches).to(process.device)
        figures = _step(state, learner, recipe, batch)
        seconds, processor_seconds = clock.lap()
        state.seconds = process.agree_on(state.seconds + seconds)
        state.processor_seconds = process.agree_on(
            state.processor_seconds + processor_seconds
        )
        if evaluation is not None and state.iteration % CHECK_EVERY == 0:
            _bring_up_to_date(state, recipe)
            figures |= evaluation.figures(state, process.device)
        progress(share_done(recipe, state.spent))
        if log is not None:
            log.add(state, figures)
            if state.seconds - saved_at >= recipe.checkpoint_seconds:
                _bring_up_to_date(state, recipe)
                state.save(folder)
                saved_at = state.seconds
    _bring_up_to_date(state, recipe)
    if log is not None:
        state.save(folder)
        log.close()
    process.wait()
    return state


def _step(
    state: TrainingState, learner: nn.Module, recipe: Recipe, batch: TrainingBatch
) -> dict[str, float]:
    """Train on one batch; return its losses."""
    rate = learning_rate(recipe, state.spent)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.trainee.settings = replace(
        state.trainee.settings,
        organ_share=organ_share(recipe, state.spent),
    )
    state.optimiser.zero_grad(set_to_none=True)
    losses: Losses = learner(batch)
    total = losses.total(state.trainee.settings)
    if not math.isfinite(total.item()):
        raise ModelError(
            f"the losses are {losses} at iteration {state.iteration}; a lower"
            " learning rate may help"
        )
    total.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(
        learner.parameters(), recipe.optimiser.largest_gradient
    )
    if not math.isfinite(norm.item()):
        raise ModelError(
            f"the gradient is not finite at iteration {state.iteration}, though the "
            "losses are; resume from the last checkpoint (--resume)"
        )
    state.optimiser.step()
    if recipe.average_decay:
        state.follow(recipe.average_decay)
    state.iteration += 1
    return {
        "rate": rate,
        "cross_entropy": losses.cross_entropy.item(),
        "dice_loss": losses.dice.item(),
        "size_loss": losses.size.item(),
    }


def _bring_up_to_date(state: TrainingState, recipe: Recipe) -> None:
    """Make the average the last weights where it is no average.

    Not after every iteration: of a network for each organ one alone has changed.
    """
    if not recipe.average_decay:
        state.follow(0.0)


class _Clock:
    """What passes between two looks: by the clock, and of the processor."""

    def __init__(self) -> None:
        self._before = time.monotonic(), time.process_time()

    def lap(self) -> tuple[float, float]:
        """Return the seconds of both since the last lap."""
        now = time.monotonic(), time.process_time()
        seconds, processor_seconds = (
            new - old for new, old in zip(now, self._before, strict=True)
        )
        self._before = now
        return seconds, processor_seconds


@dataclass(frozen=True, slots=True, eq=False)
class _Evaluation:
    """The evaluation on held-out cases: the same patches each time."""

    batches: tuple[TrainingBatch, ...]

    @classmethod
    def of(
        cls, samples: Sequence[Sample], recipe: Recipe, fold: int
    ) -> _Evaluation | None:
        if not samples:
            return None
        source = Batches(
            without_variation(recipe), (), samples, Stream(recipe.seed, fold)
        )
        return cls(tuple(source.draw(number) for number in range(CHECK_BATCHES)))

    @torch.no_grad()
    def figures(self, state: TrainingState, device: torch.device) -> dict[str, float]:
        """Return the averaged weights' mean Dice loss, and their organs' mean Dice."""
        settings, precision = state.trainee.settings, state.trainee.precision
        average = Trainee(state.average.eval(), settings, precision)
        losses, dice = [], PatchDice()
        for batch in (each.to(device) for each in self.batches):
            losses.append(average(batch).dice.item())
            dice.add(average.find(batch), batch)
        figures = {"held_out_dice_loss": sum(losses) / len(losses)}
        mean = dice.mean()
        return figures if mean is None else figures | {"held_out_dice": mean}


def _log(
    process: TrainingProcess, recipe: Recipe, state: TrainingState, folder: Path
) -> TrainingLog | None:
    """Return the leader's log; the other processes have none."""
    if not process.leads:
        return None
    return TrainingLog(folder, after=state.iteration, last=recipe.iterations)


def _uses_all(recipe: Recipe) -> bool:
    """Whether every iteration uses all weights: each head, and each organ's network."""
    return recipe.network.kind == "unet"


def _threads(process: TrainingProcess) -> int:
    return GPU_THREADS if process.device.type == "cuda" else 0
