"""Which networks there are: from the plan in a model package to a torch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

import torch
from pydantic import TypeAdapter
from torch import nn

from hanseg_segmentation.packages.package import NetworkSpec
from hanseg_shared.errors import ModelError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def _unet(spec: NetworkSpec) -> nn.Module:
    """Return the project's own U-Net."""
    from hanseg_segmentation.network.unet import UNetConfig, build_network

    return build_network(_settings(spec, UNetConfig))


def _plain_conv_unet(spec: NetworkSpec) -> nn.Module:
    """Return nnU-Net's plain U-Net."""
    from hanseg_segmentation.network.nnunet import NnUNetConfig, plain_conv_unet

    return plain_conv_unet(_settings(spec, NnUNetConfig))


def _residual_encoder_unet(spec: NetworkSpec) -> nn.Module:
    """Return nnU-Net's U-Net with a residual encoder."""
    from hanseg_segmentation.network.nnunet import NnUNetConfig, residual_encoder_unet

    return residual_encoder_unet(_settings(spec, NnUNetConfig))


def _stunet(spec: NetworkSpec) -> nn.Module:
    """Return a STU-Net."""
    from hanseg_segmentation.network.stunet import STUNet, STUNetConfig

    return STUNet(_settings(spec, STUNetConfig))


def _inception_unet(spec: NetworkSpec) -> nn.Module:
    """Return a U-Net of inception blocks."""
    from hanseg_segmentation.network.inception import InceptionConfig, InceptionUNet

    return InceptionUNet(_settings(spec, InceptionConfig))


def _binary_bank(spec: NetworkSpec) -> nn.Module:
    """Return a network for each organ."""
    from hanseg_segmentation.network.binary import BinaryBank, BinaryConfig

    return BinaryBank(_settings(spec, BinaryConfig))


def _settings(spec: NetworkSpec, kind: type[Config]) -> Config:
    """Return a network's configuration, validated and without unknown settings."""
    unknown = set(spec.config) - {each.name for each in fields(kind)}
    if unknown:
        raise ValueError(f"unknown settings {sorted(unknown)}")
    return TypeAdapter(kind).validate_python(spec.config)


KINDS: dict[str, Callable[[NetworkSpec], nn.Module]] = {
    "unet": _unet,
    "plain_conv_unet": _plain_conv_unet,
    "residual_encoder_unet": _residual_encoder_unet,
    "stunet": _stunet,
    "inception_unet": _inception_unet,
    "binary_bank": _binary_bank,
}
"""How each kind of network is built; a new kind adds a line here."""


def build(spec: NetworkSpec) -> nn.Module:
    """Return the network a package describes, with weights that mean nothing yet.

    Raises:
        ModelError: The kind is unknown, or its configuration does not fit.
    """
    builder = KINDS.get(spec.kind)
    if builder is None:
        known = ", ".join(sorted(KINDS))
        raise ModelError(
            f"network kind {spec.kind!r} is unknown to this version, which knows"
            f" {known}; the model may need a newer version"
        )
    try:
        return builder(spec)
    except (TypeError, ValueError) as error:
        raise ModelError(f"network configuration does not fit: {error}") from error


def build_loaded(spec: NetworkSpec, weights: dict[str, torch.Tensor]) -> nn.Module:
    """Return a network with its weights, built only if they are as large as it is.

    A package that describes a larger network than it has weights for is refused before
    any memory is taken.

    Raises:
        ModelError: As `build` and `load_weights`.
    """
    require_fitting(spec, weights)
    return load_weights(build(spec), weights)


def require_fitting(spec: NetworkSpec, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise `ModelError` unless the weights are the network's, by name and shape."""
    if odd := odd_weights(spec, weights):
        raise ModelError(
            f"the weights do not fit the network: {len(odd)} differ, the first is"
            f" {odd[0]}"
        )


def odd_weights(spec: NetworkSpec, weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of weights that the network lacks or has in another shape.

    Raises:
        ModelError: As `build`.
    """
    with torch.device("meta"):
        wanted = build(spec).state_dict()
    return sorted(set(wanted) ^ set(weights)) or [
        name for name, each in wanted.items() if each.shape != weights[name].shape
    ]


def load_weights(network: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
    """Return the network with these weights as float32, ready to infer.

    Raises:
        ModelError: A name or shape is not the network's, or a value is not finite.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"the weights {name} hold values that are not finite")
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit the network: {_one_line(error)}"
        ) from error
    return network.float().eval().requires_grad_(requires_grad=False)


def _one_line(error: Exception) -> str:
    """Return the first 300 characters of a message, without line breaks."""
    return " ".join(str(error).split())[:300]
