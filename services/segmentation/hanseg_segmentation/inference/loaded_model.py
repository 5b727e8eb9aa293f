"""A model in memory: verified weights in a network on a device."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hanseg_segmentation.inference.device import choose_device, inferring, precision_on
from hanseg_segmentation.inference.kernels import kernels
from hanseg_segmentation.inference.networks import build, with_weights
from hanseg_segmentation.model_package import (
    ModelPackage,
    find_model,
    read_package,
    read_weights,
)
from hanseg_shared.errors import ModelError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to infer.

    Attributes:
        package: Its plan.
        network: Takes ``(N, 3, D, H, W)``, returns logits ``(N, K, D, H, W)``.
        device: Where `network` lies.
        precision: What convolutions run in, float32 or bfloat16.
        label_of_channel: The organ label of each output channel, uint8 ``(K,)``.
    """

    package: ModelPackage
    network: nn.Module
    device: torch.device
    precision: torch.dtype
    label_of_channel: np.ndarray[tuple[int], np.dtype[np.uint8]]

    @property
    def channels_out(self) -> int:
        """Number of output channels, the background included."""
        return len(self.label_of_channel)


def load_package(folder: Path, *, device: str = "auto") -> LoadedModel:
    """Return the model of a package folder, verified and warmed up by one tile.

    Raises:
        ModelError: The package is damaged, does not fit, or cannot run.
        OptionError: There is no such device name.
    """
    package = read_package(folder)
    network = with_weights(build(package.network), read_weights(folder, package))
    return ready(package, network, device=choose_device(device))


def load_named(
    name: str, folders: tuple[Path, ...], *, device: str = "auto"
) -> LoadedModel:
    """Return the installed model of that name; see `load_package`."""
    return load_package(find_model(name, folders).folder, device=device)


def ready(
    package: ModelPackage, network: nn.Module, *, device: torch.device
) -> LoadedModel:
    """Return a network as a loaded model, after a first pass that checks its shape.

    The pass also makes the libraries choose their kernels, so that the first case
    does not pay for it.

    Raises:
        ModelError: The output is not one value a channel and voxel, or not finite.
    """
    start = time.perf_counter()
    precision = precision_on(device)
    placed = network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    tile = torch.zeros((1, len(package.channels), *package.patch), device=device)
    kernels()
    with inferring(device, precision):
        logits = placed(tile.to(memory_format=torch.channels_last_3d))
    if logits.ndim != 5 or tuple(logits.shape[2:]) != package.patch:
        raise ModelError(
            f"model {package.name} returns shape {tuple(logits.shape)} for a tile of"
            f" {package.patch}; its network does not fit its plan"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(f"model {package.name} returns values that are not finite")
    logger.info(
        "model %s %s is ready on %s in %s, warmed up in %.1f s",
        package.name,
        package.version,
        device,
        precision,
        time.perf_counter() - start,
    )
    table = package.label_of_channel(int(logits.shape[1]))
    return LoadedModel(package, placed, device, precision, table)
