"""One training step on small patches, measured: what a whole one takes follows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from hanseg_lab.training.label_sets import CLASSES
from hanseg_lab.training.patches import Patch, Shape, merge_sides
from hanseg_lab.training.prepare import phantom_sample
from hanseg_lab.training.recipe import Recipe
from hanseg_lab.training.sample import Sample
from hanseg_lab.training.state import TrainingState, new_state
from hanseg_lab.training.training_batches import Batches, Stream, TrainingBatch

MOST_VOXELS = 200_000
"""Of the patch that is measured; a processor trains on it in seconds."""

SMALL_EDGE = 64
"""A longer edge is shortened to this, which every network can halve often enough."""

TRIES = 3
"""How often a step is measured, and the cutting of a batch."""

PATCHES = 2
"""Of the batch that is measured, if the recipe's has as many: PyTorch computes small
convolutions of one patch otherwise than those of several, five times as slowly."""

SAMPLE_MM = 6.0
"""Voxels of the simulated patient that is made to see how long one takes."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, scaled to the recipe's patches and batch.

    Attributes:
        weights: Parameters of the network.
        step_seconds: A training step, patches apart.
        cut_seconds: Cutting the patches of a batch.
        saved_bytes: What the forward pass keeps for the backward pass.
        patch: Voxels (z, y, x) of the patch that was trained on.
        phantom_seconds: Making a simulated patient, for each voxel.
        phantom_mm: Size (x, y, z) of a simulated patient's CT.
    """

    weights: int
    step_seconds: float
    cut_seconds: float
    saved_bytes: float
    patch: Shape
    phantom_seconds: float
    phantom_mm: tuple[float, float, float]


def measure(recipe: Recipe, device: torch.device) -> Measured:
    """Train a step of the recipe on a small patch, and cut a batch of whole ones."""
    state = new_state(recipe, device)
    state.trainee.train()
    patch = small_patch(recipe.patch)
    count = max(1, min(PATCHES, _patches(recipe)))
    batch = _made_up(recipe, patch, count).to(device)
    share = prod(recipe.patch) * _patches(recipe) / (prod(patch) * count)
    seconds, saved, updating = _shortest_step(state, recipe, batch)
    sample, phantom_seconds = _make_phantom()
    return Measured(
        weights=sum(each.numel() for each in state.trainee.parameters()),
        step_seconds=share * seconds + updating,
        cut_seconds=_cut(recipe, sample),
        saved_bytes=share * saved,
        patch=patch,
        phantom_seconds=phantom_seconds / sample.ct_hu.size,
        phantom_mm=_extent_mm(sample),
    )


def _shortest_step(
    state: TrainingState, recipe: Recipe, batch: TrainingBatch
) -> tuple[float, float, float]:
    """Return the seconds of a step without update, its bytes, and the update's seconds.

    The shortest of some counts: a busy machine, and the first step, only take longer.
    """
    steps, updates = [], []
    for _ in range(TRIES):
        steps.append(_forward_and_back(state, batch))
        updates.append(_update(state, recipe))
    return min(each[0] for each in steps), steps[-1][1], min(updates)


def small_patch(patch: Shape) -> Shape:
    """Return the patch with long edges shortened until it is small enough."""
    edges = list(patch)
    while prod(edges) > MOST_VOXELS and max(edges) > SMALL_EDGE:
        edges[edges.index(max(edges))] = SMALL_EDGE
    return edges[0], edges[1], edges[2]


def _patches(recipe: Recipe) -> int:
    return recipe.real_a_batch + recipe.phantoms_a_batch


def _made_up(recipe: Recipe, patch: Shape, count: int) -> TrainingBatch:
    """Return a batch of patches of noise, all alike, in which every organ is known."""
    rng = np.random.default_rng(recipe.seed)
    labels = rng.integers(0, CLASSES, patch)
    images = rng.standard_normal((len(recipe.channels), *patch)).astype(np.float32)
    groups = np.left_shift(1, np.arange(1, CLASSES)).astype(np.int32)
    whole = Patch(
        torch.from_numpy(images),
        torch.from_numpy(np.left_shift(1, labels).astype(np.int32)),
        torch.from_numpy(groups),
        torch.zeros(CLASSES),
    )
    made = merge_sides(whole) if recipe.merged_sides else whole
    return TrainingBatch.of([made] * count, organ=1)


def _forward_and_back(
    state: TrainingState, batch: TrainingBatch
) -> tuple[float, float]:
    """Return the seconds of a step without its update, and the bytes it keeps."""
    own = {each.untyped_storage().data_ptr() for each in state.trainee.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    state.optimiser.zero_grad(set_to_none=True)
    begun = _now(batch.channels.device)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        total = state.trainee(batch).total(state.trainee.settings)
    total.backward()
    return _now(batch.channels.device) - begun, sum(kept.values())


def _update(state: TrainingState, recipe: Recipe) -> float:
    """Return the seconds of changing the weights."""
    device = next(state.trainee.parameters()).device
    begun = _now(device)
    nn.utils.clip_grad_norm_(
        state.trainee.parameters(), recipe.optimiser.largest_gradient
    )
    state.optimiser.step()
    if recipe.average_decay:
        state.follow(recipe.average_decay)
    return _now(device) - begun


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _make_phantom() -> tuple[Sample, float]:
    begun = time.perf_counter()
    sample = phantom_sample(0, spacing=(SAMPLE_MM,) * 3)
    return sample, time.perf_counter() - begun


def _cut(recipe: Recipe, sample: Sample) -> float:
    """Return the seconds of cutting a batch: the shortest of some."""
    batches = Batches(recipe, (), (sample,), Stream(recipe.seed))
    taken = []
    for number in range(TRIES):
        begun = time.perf_counter()
        batches.draw(number)
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _extent_mm(sample: Sample) -> tuple[float, float, float]:
    z, y, x = sample.ct_hu.shape
    return (x - 1) * SAMPLE_MM, (y - 1) * SAMPLE_MM, (z - 1) * SAMPLE_MM
