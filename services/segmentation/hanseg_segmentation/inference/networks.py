"""Which networks there are: from the plan in a model package to a torch module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from pydantic import TypeAdapter
from torch import nn

from hanseg_segmentation.model_package import NetworkSpec
from hanseg_shared.errors import ModelError


def _unet(spec: NetworkSpec) -> nn.Module:
    """Return the project's own U-Net."""
    from hanseg_segmentation.network.unet import UNetConfig, build_network

    unknown = set(spec.config) - {each.name for each in fields(UNetConfig)}
    if unknown:
        raise ValueError(f"unknown settings {sorted(unknown)}")
    return build_network(TypeAdapter(UNetConfig).validate_python(spec.config))


KINDS: dict[str, Callable[[NetworkSpec], nn.Module]] = {"unet": _unet}
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


def with_weights(network: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
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
