"""A network together with its loss: images in, losses out."""

from __future__ import annotations

import torch
from torch import nn

from hanseg_lab.training.loss import (
    Losses,
    LossSettings,
    binary_loss,
    supervised_loss,
)
from hanseg_lab.training.recipe import Recipe
from hanseg_lab.training.training_batches import TrainingBatch
from hanseg_segmentation.inference.device import precision_on
from hanseg_segmentation.network.binary import BinaryBank
from hanseg_segmentation.network.build import build
from hanseg_shared.organs import ORGANS


class Trainee(nn.Module):
    """A network with its loss: its output for a batch are the losses.

    Args:
        network: The network to train.
        settings: What the loss is made of.
        precision: Of the network's arithmetic; losses are float32.
    """

    def __init__(
        self, network: nn.Module, settings: LossSettings, precision: torch.dtype
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.precision = precision

    def forward(self, batch: TrainingBatch) -> Losses:
        """Return the losses of a batch."""
        if isinstance(self.network, BinaryBank):
            return self._one_organ(self.network, batch)
        images = batch.channels
        with self._autocast(images):
            if self.settings.deep_supervision:
                scales = self.network.scales(images)  # type: ignore[operator]
            else:
                scales = [self.network(images)]
        return supervised_loss(
            scales, batch.allowed, batch.groups, batch.sizes, settings=self.settings
        )

    def find(self, batch: TrainingBatch) -> torch.Tensor:
        """Return the label that is found at each voxel, ``(N, D, H, W)``.

        In a batch about an organ it is that or the background.
        """
        images = batch.channels
        with self._autocast(images):
            if isinstance(self.network, BinaryBank):
                score = self.network.score(images, ORGANS[batch.organ - 1])[:, 0]
                return (score > 0).to(torch.int32) * batch.organ
            logits: torch.Tensor = self.network(images)
        return logits.argmax(dim=1)

    def _one_organ(self, bank: BinaryBank, batch: TrainingBatch) -> Losses:
        """Return the losses of the network of the organ that the batch is about."""
        with self._autocast(batch.channels):
            score = bank.score(batch.channels, ORGANS[batch.organ - 1])[:, 0]
        bit = torch.tensor(1 << batch.organ, dtype=torch.int32, device=score.device)
        sure = batch.allowed == bit
        never = (batch.allowed & bit) == 0
        return binary_loss(score, sure, sure | never, settings=self.settings)

    def _autocast(self, images: torch.Tensor) -> torch.autocast:
        return torch.autocast(
            images.device.type,
            self.precision,
            enabled=self.precision is not torch.float32,
        )


def new_trainee(recipe: Recipe, device: torch.device) -> Trainee:
    """Return a network with random weights, the same ones for the same seed.

    Its arithmetic is that of the recipe, or float32 where `device` only imitates
    bfloat16: on a processor without it a convolution was measured to take 45 times
    as long.
    """
    torch.manual_seed(recipe.seed)
    settings = LossSettings(**recipe.loss.model_dump(exclude={"organ_share_until"}))
    wanted: torch.dtype = getattr(torch, recipe.precision)
    precision = precision_on(device) if wanted is torch.bfloat16 else wanted
    return Trainee(build(recipe.network_spec), settings, precision)
