"""Batches of training patches; the number of a batch seeds its random stream.

So a training that is resumed after a kill sees the same batches as one without a kill,
and threads can prepare batches ahead of time without changing them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from hanseg_lab.training.patches import Patch, PatchCutter, Variation, merge_sides
from hanseg_lab.training.recipe import BINARY, Recipe
from hanseg_lab.training.sample import Sample
from hanseg_shared.organs import ORGANS

SHIFTED = 1_000_003
"""Keeps the streams of folds apart."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """Patches of one training step.

    Attributes:
        channels: Network input, float32 ``(N, C, D, H, W)``.
        allowed: Label sets as bits, int32 ``(N, D, H, W)``.
        groups: For each patch, the label sets that are scored as one organ.
        sizes: For each patch, the usual sizes of labels that are surely there.
        organ: The label that all patches are about; 0 for none in particular.
    """

    channels: torch.Tensor
    allowed: torch.Tensor
    groups: tuple[torch.Tensor, ...]
    sizes: tuple[torch.Tensor, ...]
    organ: int = 0

    @classmethod
    def of(cls, patches: Sequence[Patch], *, organ: int = 0) -> TrainingBatch:
        """Return patches as a batch."""
        return cls(
            torch.stack([p.channels for p in patches]),
            torch.stack([p.allowed for p in patches]),
            tuple(p.groups for p in patches),
            tuple(p.sizes for p in patches),
            organ,
        )

    def to(self, device: torch.device) -> TrainingBatch:
        """Return the batch on a device, channels last in memory."""
        channels = self.channels.to(device)
        return TrainingBatch(
            channels.contiguous(memory_format=torch.channels_last_3d),
            self.allowed.to(device),
            tuple(each.to(device) for each in self.groups),
            tuple(each.to(device) for each in self.sizes),
            self.organ,
        )


@dataclass(frozen=True, slots=True)
class Stream:
    """Which random stream the batches come from.

    Attributes:
        seed: The recipe's.
        fold: The network's number.
        rank: The process's.
    """

    seed: int
    fold: int = 0
    rank: int = 0

    def at(self, number: int) -> np.random.Generator:
        """Return the stream of one batch."""
        return np.random.default_rng(
            (self.seed, self.fold * SHIFTED + number, self.rank)
        )


class Batches:
    """Samples batches: patches of real cases first, then of simulated patients.

    Args:
        recipe: How patches are cut.
        real: Clinical cases; if there are none, simulated patients take their places.
        phantoms: Simulated patients.
        stream: Source of randomness.
    """

    def __init__(
        self,
        recipe: Recipe,
        real: Sequence[Sample],
        phantoms: Sequence[Sample],
        stream: Stream,
    ) -> None:
        self.recipe, self.real, self.phantoms = recipe, real, phantoms
        self.stream = stream

    def draw(self, number: int) -> TrainingBatch:
        """Return the batch of that number, always the same one."""
        rng = self.stream.at(number)
        cut = make_cutter(self.recipe, rng)
        organ = 0
        if self.recipe.network.kind == BINARY:
            organ = int(rng.integers(1, len(ORGANS) + 1))
        patches = [
            cut.cut(sample, about=self._choose_place(organ, rng))
            for sample in self._choose_samples(rng)
        ]
        if self.recipe.merged_sides:
            patches = [merge_sides(each) for each in patches]
        return TrainingBatch.of(patches, organ=organ)

    def draw_ahead(self, first: int, *, threads: int) -> Iterator[TrainingBatch]:
        """Yield batches from the `first` on, prepared ahead by so many threads."""
        if threads == 0:
            while True:
                yield self.draw(first)
                first += 1
        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[Future[TrainingBatch]] = deque()
            try:
                while True:
                    while len(waiting) <= threads:
                        waiting.append(pool.submit(self.draw, first))
                        first += 1
                    yield waiting.popleft().result()
            finally:
                for each in waiting:
                    each.cancel()

    def _choose_place(self, organ: int, rng: np.random.Generator) -> int | None:
        """Return the set of labels that a patch is cut about; None leaves it open.

        An organ's own network sees other places too, unless all patches are to be about
        organs: where it is run, nothing keeps it to the organ's surroundings.
        """
        share = self.recipe.variation.organ_share
        if not organ or (share < 1 and rng.random() >= share):
            return None
        return 1 << organ

    def _choose_samples(self, rng: np.random.Generator) -> list[Sample]:
        recipe = self.recipe
        real = recipe.real_a_batch if self.real else 0
        simulated = recipe.phantoms_a_batch + recipe.real_a_batch - real
        pairs = ((self.real, real), (self.phantoms, simulated))
        return [
            samples[int(rng.integers(len(samples)))]
            for samples, count in pairs
            for _ in range(count)
        ]


def make_cutter(recipe: Recipe, rng: np.random.Generator) -> PatchCutter:
    """Return what cuts patches as the recipe wants them."""
    return PatchCutter(
        rng,
        shape=recipe.patch,
        spacing_mm=recipe.spacing_mm,
        sample_spacing_mm=recipe.sample_spacing_mm,
        variation=Variation(**recipe.variation.model_dump()),
        normalisation=recipe.normalisation,
        channels=recipe.channels,
    )


def without_variation(recipe: Recipe) -> Recipe:
    """Return the recipe with patches about organs that are not varied otherwise."""
    still = recipe.variation.model_copy(
        update={
            "rotation_degrees": 0.0,
            "scale": (1.0, 1.0),
            "truncation_share": 0.0,
            "misregistration_mm": 0.0,
            "misrotation_degrees": 0.0,
            "organ_share": 1.0,
            "mirror_share": 0.0,
            "flip_axes": (),
            "coarse_share": 0.0,
            "noise_hu": 0.0,
            "metal_share": 0.0,
        }
    )
    return recipe.model_copy(update={"variation": still})
