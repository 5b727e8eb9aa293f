"""A U-Net of separable inception blocks, trained with deep supervision.

Each block looks at several neighbourhoods at once (Szegedy et al. 2015,
arXiv 1409.4842); its convolutions are separable, first in the slice and then along z
and across channels (Chollet 2017, arXiv 1610.02357; Lei et al. 2021, arXiv 2102.01897),
and its decoder answers at every resolution in training (Lee et al. 2015,
arXiv 1409.5185).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from hanseg_segmentation.compute.convolution import Conv3d
from hanseg_segmentation.compute.instance_norm import InstanceNorm
from hanseg_segmentation.network.nnunet import WIDEST, Triple

LEAK = 0.01
"""Slope of the activation below zero."""

BRANCHES = 4
"""Each block's neighbourhoods: a voxel, 3 and 5 voxels wide, and their maximum."""


@dataclass(frozen=True, slots=True)
class InceptionConfig:
    """The shape of an `InceptionUNet`.

    Attributes:
        in_channels: Image channels.
        out_channels: Background and the labels.
        features: Channels of each stage, from full resolution down; multiples of 4.
        strides: By how much each stage after the first is coarser than the one
            before, (z, y, x).

    Raises:
        ValueError: The stages do not fit together.
    """

    in_channels: int
    out_channels: int
    features: tuple[int, ...]
    strides: tuple[Triple, ...]

    def __post_init__(self) -> None:
        if len(self.features) < 2 or len(self.strides) != len(self.features) - 1:
            raise ValueError(
                f"strides must have one entry fewer than features, got {self.strides}"
                f" for {self.features}"
            )
        widths = (self.in_channels, self.out_channels, *self.features)
        if not all(0 < width <= WIDEST for width in widths):
            raise ValueError(f"channels must be 1 to {WIDEST}, got {widths}")
        if any(width % BRANCHES for width in self.features):
            raise ValueError(
                f"features must be multiples of {BRANCHES}, got {self.features}"
            )
        if any(step < 1 for stride in self.strides for step in stride):
            raise ValueError(f"strides must be positive, got {self.strides}")


class SeparableConv(nn.Sequential):
    """A convolution in three steps: in the slice, along z, across channels."""

    def __init__(self, channels: int, *, edge: int) -> None:
        reach = edge // 2
        super().__init__(
            Conv3d(
                channels,
                channels,
                (1, edge, edge),
                padding=(0, reach, reach),
                groups=channels,
                bias=False,
            ),
            Conv3d(
                channels,
                channels,
                (edge, 1, 1),
                padding=(reach, 0, 0),
                groups=channels,
                bias=False,
            ),
            Conv3d(channels, channels, 1, bias=False),
        )


class InceptionBlock(nn.Module):
    """Four branches side by side, beside a shortcut."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: Triple = (1, 1, 1)
    ) -> None:
        super().__init__()
        width = outputs // BRANCHES
        self.shrink = nn.MaxPool3d(stride, stride)
        self.enter = nn.ModuleList(
            Conv3d(inputs, width, 1, bias=False) for _ in range(BRANCHES)
        )
        self.branches = nn.ModuleList(
            (
                nn.Identity(),
                SeparableConv(width, edge=3),
                SeparableConv(width, edge=5),
                nn.MaxPool3d(3, 1, padding=1),
            )
        )
        self.shortcut = Conv3d(inputs, outputs, 1, bias=False)
        self.norm = InstanceNorm(outputs, affine=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features at the stride's resolution."""
        coarse = self.shrink(images)
        joined = zip(self.enter, self.branches, strict=True)
        wide = torch.cat([branch(enter(coarse)) for enter, branch in joined], dim=1)
        return self.norm.normalise_and_activate(wide + self.shortcut(coarse), leak=LEAK)


class InceptionUNet(nn.Module):
    """Maps ``(N, in_channels, D, H, W)`` to logits ``(N, out_channels, D, H, W)``.

    Edges must be multiples of the product of the strides along their axis.
    """

    def __init__(self, config: InceptionConfig) -> None:
        super().__init__()
        features, strides = config.features, ((1, 1, 1), *config.strides)
        widths = (config.in_channels, *features)
        self.encoder = nn.ModuleList(
            InceptionBlock(a, b, stride=stride)
            for a, b, stride in zip(widths[:-1], features, strides, strict=True)
        )
        levels = range(len(features) - 2, -1, -1)
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(
                features[n + 1], features[n], strides[n + 1], strides[n + 1]
            )
            for n in levels
        )
        self.decoder = nn.ModuleList(
            InceptionBlock(2 * features[n], features[n]) for n in levels
        )
        self.heads = nn.ModuleList(
            Conv3d(features[n], config.out_channels, 1) for n in levels
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return unnormalised scores of every class at every voxel."""
        return cast(torch.Tensor, self.heads[-1](self._decode(images)[-1]))

    def scales(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return logits at every resolution but the deepest, from full down."""
        joined = zip(self.heads, self._decode(images), strict=True)
        return [head(features) for head, features in joined][::-1]

    def _decode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the decoder's features, from the coarsest stage up."""
        skips = []
        deep = images
        for block in self.encoder:
            deep = block(deep)
            skips.append(deep)
        features = []
        for up, join, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            deep = join(torch.cat((up(deep), skip), dim=1))
            features.append(deep)
        return features
