"""nnU-Net v2's networks: the plain and the residual-encoder U-Net.

Parameters have the names that nnU-Net's checkpoints give them, so that trained weights
fit without renaming; `drop_duplicates` drops the copies that a checkpoint holds of
each. The heads of deep supervision answer in training alone; elsewhere only the one at
full resolution runs.

Source: Isensee et al. 2021, doi 10.1038/s41592-020-01008-z; Isensee et al. 2024,
doi 10.1007/978-3-031-72114-4_47, for the residual encoder; the layout of parameters is
that of dynamic_network_architectures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn

from hanseg_segmentation.compute.convolution import Conv3d
from hanseg_segmentation.compute.instance_norm import InstanceNorm

Triple = tuple[int, int, int]

WIDEST = 4096
"""More features than this in a stage are taken for a damaged plan."""


@dataclass(frozen=True, slots=True)
class NnUNetConfig:
    """The shape of an nnU-Net.

    Kernels and strides are (z, y, x) in the network's order of axes.

    Attributes:
        in_channels: Image channels.
        out_channels: Background and the labels.
        features: Channels of each stage, from full resolution down.
        kernels: Edges of each stage's convolutions.
        strides: By how much each stage is coarser than the one before.
        blocks: Convolutions, or residual blocks, of each stage of the encoder.
        decoder_blocks: Convolutions of each stage of the decoder, from the coarsest.
        stem_features: Channels of the convolution before a residual encoder; None
            takes the first stage's. The plain encoder has none.
        bias: Whether convolutions have a bias.
        norm: What normalises after each convolution.
        norm_epsilon: What is added to the variance.
        norm_affine: Whether normalisation scales and shifts.
        leak: Slope of the activation below zero; 0 is a ReLU.

    Raises:
        ValueError: The stages do not fit together.
    """

    in_channels: int
    out_channels: int
    features: tuple[int, ...]
    kernels: tuple[Triple, ...]
    strides: tuple[Triple, ...]
    blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    stem_features: int | None = None
    bias: bool = True
    norm: Literal["instance", "batch"] = "instance"
    norm_epsilon: float = 1e-5
    norm_affine: bool = True
    leak: float = 0.01

    def __post_init__(self) -> None:
        stages = len(self.features)
        if stages < 2:
            raise ValueError(f"a U-Net needs two stages, got features {self.features}")
        for name in ("kernels", "strides", "blocks"):
            if len(getattr(self, name)) != stages:
                raise ValueError(f"{name} must have {stages} entries, one a stage")
        if len(self.decoder_blocks) != stages - 1:
            raise ValueError(f"decoder_blocks must have {stages - 1} entries")
        widths = (self.in_channels, self.out_channels, *self.features)
        if not all(0 < width <= WIDEST for width in widths):
            raise ValueError(f"channels must be 1 to {WIDEST}, got {widths}")
        if any(edge % 2 == 0 or edge < 1 for kernel in self.kernels for edge in kernel):
            raise ValueError(f"kernels must have odd edges, got {self.kernels}")
        if any(step < 1 for stride in self.strides for step in stride):
            raise ValueError(f"strides must be positive, got {self.strides}")
        if any(count < 1 for count in (*self.blocks, *self.decoder_blocks)):
            raise ValueError("every stage needs a block")


class ConvBlock(nn.Module):
    """Convolution, normalisation and, unless `linear`, the activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: NnUNetConfig,
        *,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        bias: bool,
        linear: bool = False,
    ) -> None:
        super().__init__()
        z, y, x = kernel
        padding = (z // 2, y // 2, x // 2)
        self.conv = Conv3d(inputs, outputs, kernel, stride, padding, bias=bias)
        self.norm = _make_norm(outputs, config)
        self.nonlin = nn.Identity() if linear else _make_activation(config)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features at the stride's resolution."""
        features = self.conv(images)
        if isinstance(self.norm, InstanceNorm) and isinstance(
            self.nonlin, nn.LeakyReLU
        ):
            return self.norm.normalise_and_activate(
                features, leak=self.nonlin.negative_slope
            )
        return cast(torch.Tensor, self.nonlin(self.norm(features)))


class StackedConvBlocks(nn.Module):
    """Convolutions one after the other, of which the first may be strided."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: NnUNetConfig,
        *,
        count: int,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(
                ConvBlock(
                    outputs if number else inputs,
                    outputs,
                    config,
                    kernel=kernel,
                    stride=(1, 1, 1) if number else stride,
                    bias=config.bias,
                )
                for number in range(count)
            )
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features at the stride's resolution."""
        return cast(torch.Tensor, self.convs(images))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut that averages, then projects.

    It is ResNet-D's (He et al. 2019, arXiv 1812.01187): a strided shortcut takes the
    mean of each cell before its 1 x 1 x 1 convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: NnUNetConfig,
        *,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
    ) -> None:
        super().__init__()
        self.conv1 = ConvBlock(
            inputs, outputs, config, kernel=kernel, stride=stride, bias=config.bias
        )
        self.conv2 = ConvBlock(
            outputs, outputs, config, kernel=kernel, bias=config.bias, linear=True
        )
        self.skip = _make_shortcut(inputs, outputs, config, stride=stride)
        self.nonlin2 = _make_activation(config)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features at the stride's resolution."""
        detour = self.conv2(self.conv1(images))
        return cast(torch.Tensor, self.nonlin2(detour + self.skip(images)))


class StackedResidualBlocks(nn.Module):
    """Residual blocks one after the other, of which the first may be strided."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: NnUNetConfig,
        *,
        count: int,
        kernel: Triple,
        stride: Triple,
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(
                    outputs if number else inputs,
                    outputs,
                    config,
                    kernel=kernel,
                    stride=(1, 1, 1) if number else stride,
                )
                for number in range(count)
            )
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features at the stride's resolution."""
        return cast(torch.Tensor, self.blocks(images))


class PlainEncoder(nn.Module):
    """Stages of convolutions, each coarser than the one before."""

    def __init__(self, config: NnUNetConfig) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    StackedConvBlocks(
                        config.features[stage - 1] if stage else config.in_channels,
                        features,
                        config,
                        count=config.blocks[stage],
                        kernel=config.kernels[stage],
                        stride=config.strides[stage],
                    )
                )
                for stage, features in enumerate(config.features)
            )
        )

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return every stage's features, from full resolution down."""
        return _run_stages(self.stages, images)


class ResidualEncoder(nn.Module):
    """A convolution, and stages of residual blocks."""

    def __init__(self, config: NnUNetConfig) -> None:
        super().__init__()
        stem = config.stem_features or config.features[0]
        self.stem = StackedConvBlocks(
            config.in_channels, stem, config, count=1, kernel=config.kernels[0]
        )
        self.stages = nn.Sequential(
            *(
                StackedResidualBlocks(
                    config.features[stage - 1] if stage else stem,
                    features,
                    config,
                    count=config.blocks[stage],
                    kernel=config.kernels[stage],
                    stride=config.strides[stage],
                )
                for stage, features in enumerate(config.features)
            )
        )

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return every stage's features, from full resolution down."""
        return _run_stages(self.stages, self.stem(images))


class Decoder(nn.Module):
    """Raises the resolution stage by stage, joining each skip connection."""

    def __init__(self, config: NnUNetConfig) -> None:
        super().__init__()
        levels = range(len(config.features) - 1, 0, -1)
        self.transpconvs = nn.ModuleList(
            nn.ConvTranspose3d(
                config.features[level],
                config.features[level - 1],
                config.strides[level],
                config.strides[level],
                bias=config.bias,
            )
            for level in levels
        )
        self.stages = nn.ModuleList(
            StackedConvBlocks(
                2 * config.features[level - 1],
                config.features[level - 1],
                config,
                count=count,
                kernel=config.kernels[level - 1],
            )
            for level, count in zip(levels, config.decoder_blocks, strict=True)
        )
        self.seg_layers = nn.ModuleList(
            Conv3d(config.features[level - 1], config.out_channels, 1)
            for level in levels
        )

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor:
        """Return logits at full resolution from every stage's features."""
        return cast(torch.Tensor, self.seg_layers[-1](self._decode(skips)))

    def scales(self, skips: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return logits at every resolution but the deepest, from full down."""
        stages: list[torch.Tensor] = []
        self._decode(skips, stages)
        joined = zip(self.seg_layers, stages, strict=True)
        return [head(features) for head, features in joined][::-1]

    def _decode(
        self, skips: list[torch.Tensor], stages: list[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return the last stage's features.

        Nothing is held that is not needed again: at full resolution that would be a
        third more memory.

        Args:
            skips: The encoder's features; emptied.
            stages: Every stage's features are appended, from the coarsest up.
        """
        deep = skips.pop()
        for raise_resolution, stage in zip(self.transpconvs, self.stages, strict=True):
            deep = torch.cat((raise_resolution(deep), skips.pop()), dim=1)
            for block in cast(StackedConvBlocks, stage).convs:
                deep = block(deep)
            if stages is not None:
                stages.append(deep)
        return deep


class NnUNet(nn.Module):
    """Maps ``(N, in_channels, D, H, W)`` to logits ``(N, out_channels, D, H, W)``.

    Edges must be multiples of the product of the strides along their axis.
    """

    def __init__(self, encoder: nn.Module, config: NnUNetConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(config)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return unnormalised scores of every class at every voxel."""
        return cast(torch.Tensor, self.decoder(self.encoder(images)))

    def scales(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return logits at several resolutions, from full down."""
        return self.decoder.scales(self.encoder(images))


def plain_conv_unet(config: NnUNetConfig) -> nn.Module:
    """Return nnU-Net's PlainConvUNet of that shape, with random weights."""
    return NnUNet(PlainEncoder(config), config)


def residual_encoder_unet(config: NnUNetConfig) -> nn.Module:
    """Return nnU-Net's ResidualEncoderUNet of that shape, with random weights."""
    return NnUNet(ResidualEncoder(config), config)


def drop_duplicates(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a checkpoint's weights, each once.

    nnU-Net's modules register a layer under its own name and again in a sequence
    (``all_modules``), and the decoder registers the encoder; a checkpoint saves each.
    """
    return {name: each for name, each in state.items() if not _DUPLICATE.search(name)}


_DUPLICATE = re.compile(r"\.all_modules\.|^decoder\.encoder\.")


def _run_stages(stages: nn.Sequential, images: torch.Tensor) -> list[torch.Tensor]:
    features = []
    for stage in stages:
        images = stage(images)
        features.append(images)
    return features


def _make_shortcut(
    inputs: int, outputs: int, config: NnUNetConfig, *, stride: Triple
) -> nn.Sequential:
    """Return the way around a residual block; empty where nothing changes shape."""
    parts: list[nn.Module] = []
    if stride != (1, 1, 1):
        parts.append(nn.AvgPool3d(stride, stride))
    if inputs != outputs:
        parts.append(
            ConvBlock(
                inputs, outputs, config, kernel=(1, 1, 1), bias=False, linear=True
            )
        )
    return nn.Sequential(*parts)


def _make_norm(features: int, config: NnUNetConfig) -> nn.Module:
    kind = InstanceNorm if config.norm == "instance" else nn.BatchNorm3d
    return kind(features, eps=config.norm_epsilon, affine=config.norm_affine)


def _make_activation(config: NnUNetConfig) -> nn.Module:
    return nn.LeakyReLU(config.leak, inplace=True)
