"""STU-Net: a U-Net of residual blocks that comes in four sizes.

Parameters have the names that the authors' checkpoints give them. The heads of deep
supervision answer in training alone; elsewhere only the one at full resolution runs.

Source: Huang et al. 2023, arXiv 2304.06716; the layout of parameters is that of
uni-medical/STU-Net.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from hanseg_segmentation.compute.convolution import Conv3d
from hanseg_segmentation.compute.instance_norm import InstanceNorm
from hanseg_segmentation.network.nnunet import WIDEST, Triple

STAGES = 6
"""Every size has as many: full resolution and five coarser ones."""

LEAK = 0.01
"""Slope of the activation below zero."""


@dataclass(frozen=True, slots=True)
class STUNetConfig:
    """The shape of a STU-Net.

    The authors' sizes are S: 16 features and depth 1, B: 32 and 1, L: 64 and 2,
    H: 96 and 3, where the stages have 1, 2, 4, 8, 16 and 16 times as many features.

    Attributes:
        in_channels: Image channels.
        out_channels: Background and the labels.
        features: Channels of each stage, from full resolution down.
        depth: Residual blocks of each stage.
        strides: By how much each stage after the first is coarser than the one
            before, (z, y, x) in the network's order of axes.

    Raises:
        ValueError: The stages do not fit together.
    """

    in_channels: int
    out_channels: int
    features: tuple[int, ...]
    depth: tuple[int, ...]
    strides: tuple[Triple, ...]

    def __post_init__(self) -> None:
        lengths = (len(self.features), len(self.depth), len(self.strides) + 1)
        if lengths != (STAGES, STAGES, STAGES):
            raise ValueError(f"a STU-Net has {STAGES} stages, got {lengths}")
        widths = (self.in_channels, self.out_channels, *self.features)
        if not all(0 < width <= WIDEST for width in widths):
            raise ValueError(f"channels must be 1 to {WIDEST}, got {widths}")
        if any(count < 1 for count in self.depth):
            raise ValueError("every stage needs a block")
        if any(step < 1 for stride in self.strides for step in stride):
            raise ValueError(f"strides must be positive, got {self.strides}")


class StunetBlock(nn.Module):
    """Two convolutions beside a shortcut, projected where the shape changes."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: Triple = (1, 1, 1),
        project: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = Conv3d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm1 = InstanceNorm(outputs, affine=True)
        self.conv2 = Conv3d(outputs, outputs, 3, padding=1)
        self.norm2 = InstanceNorm(outputs, affine=True)
        self.act = nn.LeakyReLU(LEAK, inplace=True)
        self.conv3 = (
            Conv3d(inputs, outputs, 1, stride=stride) if project else nn.Identity()
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features at the stride's resolution."""
        active = self.norm1.normalise_and_activate(self.conv1(images), leak=LEAK)
        detour = self.norm2(self.conv2(active))
        return cast(torch.Tensor, self.act(detour + self.conv3(images)))


class Raise(nn.Module):
    """Repeats each voxel to a finer grid, and convolves 1 x 1 x 1."""

    def __init__(self, inputs: int, outputs: int, *, stride: Triple) -> None:
        super().__init__()
        self.conv = Conv3d(inputs, outputs, 1)
        self.factors = tuple(float(step) for step in stride)

    def forward(self, deep: torch.Tensor) -> torch.Tensor:
        """Return features finer by the stride."""
        fine = nn.functional.interpolate(
            deep, scale_factor=self.factors, mode="nearest"
        )
        return cast(torch.Tensor, self.conv(fine))


class STUNet(nn.Module):
    """Maps ``(N, in_channels, D, H, W)`` to logits ``(N, out_channels, D, H, W)``.

    Edges must be multiples of the product of the strides along their axis.
    """

    def __init__(self, config: STUNetConfig) -> None:
        super().__init__()
        features, depth, strides = config.features, config.depth, config.strides
        self.conv_blocks_context = nn.ModuleList(
            _make_stage(
                features[level - 1] if level else config.in_channels,
                features[level],
                depth=depth[level],
                stride=strides[level - 1] if level else (1, 1, 1),
            )
            for level in range(STAGES)
        )
        levels = range(STAGES - 1, 0, -1)
        self.upsample_layers = nn.ModuleList(
            Raise(features[level], features[level - 1], stride=strides[level - 1])
            for level in levels
        )
        self.conv_blocks_localization = nn.ModuleList(
            _make_stage(2 * features[level], features[level], depth=depth[level])
            for level in (each - 1 for each in levels)
        )
        self.seg_outputs = nn.ModuleList(
            Conv3d(features[level - 1], config.out_channels, 1) for level in levels
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return unnormalised scores of every class at every voxel."""
        return cast(torch.Tensor, self.seg_outputs[-1](self._decode(images)[-1]))

    def scales(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return logits at every resolution but the deepest, from full down."""
        joined = zip(self.seg_outputs, self._decode(images), strict=True)
        return [head(features) for head, features in joined][::-1]

    def _decode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the decoder's features, from the coarsest stage up."""
        features, skips = [], []
        deep = images
        for block in self.conv_blocks_context:
            deep = block(deep)
            skips.append(deep)
        joined = zip(
            self.upsample_layers,
            self.conv_blocks_localization,
            skips[-2::-1],
            strict=True,
        )
        for raise_resolution, join, skip in joined:
            deep = join(torch.cat((raise_resolution(deep), skip), dim=1))
            features.append(deep)
        return features


def stunet_config(
    state: Mapping[str, torch.Tensor], *, strides: tuple[Triple, ...]
) -> STUNetConfig:
    """Return the shape of the STU-Net that a checkpoint's weights belong to.

    Args:
        state: The weights by name.
        strides: Those of the plan, the first stage's left out; the network takes
            five, and fills up with stages that are not coarser.

    Raises:
        ValueError: The weights are not those of a STU-Net.
    """
    try:
        first = [
            state[f"conv_blocks_context.{n}.0.conv1.weight"] for n in range(STAGES)
        ]
        outputs = state["seg_outputs.0.weight"].shape[0]
    except KeyError as error:
        raise ValueError(f"weight {error} of a STU-Net is missing") from None
    five = (*strides, *((1, 1, 1),) * (STAGES - 1))[: STAGES - 1]
    return STUNetConfig(
        in_channels=first[0].shape[1],
        out_channels=outputs,
        features=tuple(each.shape[0] for each in first),
        depth=tuple(_depth(state, level) for level in range(STAGES)),
        strides=five,
    )


def _depth(state: Mapping[str, torch.Tensor], level: int) -> int:
    start = f"conv_blocks_context.{level}."
    ends = ".conv1.weight"
    return sum(name.startswith(start) and name.endswith(ends) for name in state)


def _make_stage(
    inputs: int, outputs: int, *, depth: int, stride: Triple = (1, 1, 1)
) -> nn.Sequential:
    first = StunetBlock(inputs, outputs, stride=stride, project=True)
    return nn.Sequential(
        first, *(StunetBlock(outputs, outputs) for _ in range(depth - 1))
    )
