"""A small 3D U-Net that works at half resolution and answers at full resolution.

On a processor, convolutions of few channels at full resolution cost most of the time
and learn least. So the first convolution works at full resolution, everything deep
starts one level down, and the last block joins both. Batch norm, not instance norm,
so that what a tile answers does not depend on what else lies in the tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from hanseg_segmentation.compute.convolution import Conv3d

LEAK = 0.01
"""Slope of the activation below zero."""


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """The shape of a `UNet`.

    Attributes:
        in_channels: CT, registered MR, field of view.
        out_channels: Background and the organs.
        features: Channels of each level, from full resolution down; a level has half
            the resolution of the one before.
        head_features: Channels of the block at full resolution.

    Raises:
        ValueError: There are fewer than two levels.
    """

    in_channels: int = 3
    out_channels: int = 31
    features: tuple[int, ...] = (16, 32, 64, 128, 160)
    head_features: int = 32

    def __post_init__(self) -> None:
        if len(self.features) < 2:
            raise ValueError(f"a U-Net needs two levels, got features {self.features}")


class UNetBlock(nn.Sequential):
    """Convolution 3 x 3 x 3, batch norm and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__(
            Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.LeakyReLU(LEAK, inplace=True),
        )


class UpBlock(nn.Module):
    """Doubles the resolution, joins the skip connection and convolves."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.reduce = Conv3d(inputs, outputs, 1, bias=False)
        self.join = UNetBlock(outputs + skip, outputs)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Return features at the skip connection's resolution."""
        raised = nn.functional.interpolate(
            self.reduce(deep), size=skip.shape[2:], mode="nearest"
        )
        return cast(torch.Tensor, self.join(torch.cat((raised, skip), dim=1)))


class UNet(nn.Module):
    """Maps ``(N, in_channels, D, H, W)`` to logits ``(N, out_channels, D, H, W)``.

    Edges should be multiples of ``2 ** (levels - 1)``; others work, with borders
    that the deepest level sees less well.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        features = config.features
        self.stem = UNetBlock(config.in_channels, features[0])
        self.down = nn.ModuleList(
            nn.Sequential(UNetBlock(a, b, stride=2), UNetBlock(b, b))
            for a, b in pairwise(features)
        )
        levels = list(zip(features[::-1], features[-2:0:-1], strict=False))
        self.up = nn.ModuleList(UpBlock(deep, skip, skip) for deep, skip in levels)
        self.head = UpBlock(features[1], features[0], config.head_features)
        self.classify = Conv3d(config.head_features, config.out_channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return unnormalised scores of every class at every voxel."""
        skips = [self.stem(images)]
        for block in self.down:
            skips.append(block(skips[-1]))
        deep = skips.pop()
        for block in self.up:
            deep = block(deep, skips.pop())
        return cast(torch.Tensor, self.classify(self.head(deep, skips.pop())))


def build_network(config: UNetConfig) -> nn.Module:
    """Return the network of that shape, with random weights."""
    return UNet(config)
