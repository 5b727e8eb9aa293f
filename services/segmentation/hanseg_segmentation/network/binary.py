"""A network for each organ, where right organs are mirrored and seen by the left's.

The left and the right organ of a pair share one network: what it is shown is mirrored
for the right one, and its answer is mirrored back. So it needs half the networks and
sees twice the examples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from hanseg_segmentation.network.nnunet import NnUNetConfig, plain_conv_unet
from hanseg_shared.organs import Organ, Side, counterpart, organ

ABSENT_SCORE = -14.0
"""Of an organ whose network was not run: a probability of one in a million."""

LEFT_RIGHT = -1
"""The dimension of ``(N, C, D, H, W)`` that runs from the patient's right to left."""


@dataclass(frozen=True, slots=True)
class BinaryConfig:
    """The networks of a `BinaryBank`.

    Attributes:
        each: The shape of every one of them; its `out_channels` must be 1.
        labels: Output channel of each organ, 1 to the number of organs.

    Raises:
        ValueError: They answer with more than one channel, or channels are left out.
    """

    each: NnUNetConfig
    labels: Mapping[str, int]

    def __post_init__(self) -> None:
        if self.each.out_channels != 1:
            raise ValueError(f"out_channels must be 1, got {self.each.out_channels}")
        if sorted(self.labels.values()) != list(range(1, len(self.labels) + 1)):
            raise ValueError("labels must number the organs from 1 without a gap")

    @property
    def organs(self) -> tuple[Organ, ...]:
        """The organs by output channel."""
        names = sorted(self.labels, key=lambda name: self.labels[name])
        return tuple(organ(name) for name in names)


class BinaryBank(nn.Module):
    """Maps ``(N, C, D, H, W)`` to scores ``(N, 1 + organs, D, H, W)``; background is 0.

    So an organ is where its network says that it is more likely than not, and of
    several the likeliest.
    """

    def __init__(self, config: BinaryConfig) -> None:
        super().__init__()
        self.config = config
        names = dict.fromkeys(owner(each) for each in config.organs)
        self.networks = nn.ModuleDict(
            {name: plain_conv_unet(config.each) for name in names}
        )

    def forward(
        self, images: torch.Tensor, channels: Collection[int] | None = None
    ) -> torch.Tensor:
        """Return every organ's score at every voxel.

        Args:
            images: Network input.
            channels: Output channels of the organs whose networks are run; the others
                are not there (`ABSENT_SCORE`). None runs all.
        """
        organs = dict(enumerate(self.config.organs, start=1))
        run = organs if channels is None else channels
        scores = {channel: self.score(images, organs[channel]) for channel in run}
        like = next(iter(scores.values()), images[:, :1])
        absent = torch.full_like(like, ABSENT_SCORE)
        each = (scores.get(channel, absent) for channel in organs)
        return torch.cat([torch.zeros_like(like), *each], dim=1)

    def score(self, images: torch.Tensor, which: Organ) -> torch.Tensor:
        """Return one organ's score, ``(N, 1, D, H, W)``."""
        network = self.networks[owner(which)]
        if which.side is not Side.RIGHT:
            return cast(torch.Tensor, network(images))
        return cast(torch.Tensor, network(images.flip(LEFT_RIGHT)).flip(LEFT_RIGHT))


def owner(which: Organ) -> str:
    """Return the name of the network that finds an organ: the left one of a pair."""
    left = counterpart(which) if which.side is Side.RIGHT else which
    return which.name if left is None else left.name
