"""A model in memory: verified weights in networks on a device, behind engines."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hanseg_segmentation.compute.labels import voxel_labeller
from hanseg_segmentation.compute.sums import tile_adder
from hanseg_segmentation.compute.winners import winner_finder
from hanseg_segmentation.inference.device import choose_device, precision_on
from hanseg_segmentation.inference.network_engines import (
    Eager,
    Engine,
    EngineName,
    EngineOptions,
    make_cpu_engines,
)
from hanseg_segmentation.inference.self_test import Chosen, choose_engine
from hanseg_segmentation.network.binary import BinaryBank
from hanseg_segmentation.network.build import build_loaded
from hanseg_segmentation.packages.installed import find_model
from hanseg_segmentation.packages.package import ModelPackage, read_package
from hanseg_segmentation.packages.weights import (
    localiser_folder,
    read_weights,
    second_stage_folder,
)
from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import ModelError

logger = logging.getLogger(__name__)

KINDS_OF_SUMS = (("float32", "float32"), ("int16", "float32"), ("int16", "int16"))
"""What sums and weights are held in (see `slab.Sums`), whose loops are compiled before
the first job: float32, or float16 as its bits."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to infer.

    Attributes:
        package: Its plan.
        network: The first fold. Takes ``(N, C, D, H, W)``, returns logits
            ``(N, K, D, H, W)``.
        device: Where the networks lie.
        precision: What convolutions run in, float32 or bfloat16.
        label_of_channel: The organ label of each output channel, uint8 ``(K,)``.
        further: The networks of the other folds.
        chosen: What the self-test chose, with an engine for each fold; None where
            PyTorch runs the networks untested.
        mode: Which tiles are run, and how their logits are added up.
        localiser: A coarse model that says where organs can be; None without.
        second: A finer model that segments some of the organs again; None without.
        normalises_tiles: Whether a tile's answer depends on all that lies in the tile.
    """

    package: ModelPackage
    network: nn.Module
    device: torch.device
    precision: torch.dtype
    label_of_channel: np.ndarray[tuple[int], np.dtype[np.uint8]]
    further: tuple[nn.Module, ...] = ()
    chosen: Chosen | None = None
    mode: InferenceMode = InferenceMode.FAST
    localiser: LoadedModel | None = None
    second: LoadedModel | None = None
    normalises_tiles: bool = True

    @property
    def is_exact(self) -> bool:
        """Whether every tile is run, none left out where no organ can be."""
        return self.mode is InferenceMode.EXACT

    @property
    def channels_out(self) -> int:
        """Number of output channels, the background included."""
        return len(self.label_of_channel)

    @property
    def finds_organs_apart(self) -> bool:
        """Whether each organ has a network of its own, which can be left out."""
        return all(isinstance(each, BinaryBank) for each in self.networks)

    @property
    def engine(self) -> EngineName:
        """What computes the folds."""
        if self.chosen is not None:
            return self.chosen.name
        return EngineName.of("eager", self.precision)

    @property
    def seconds_per_tile(self) -> float | None:
        """What a fold takes for a tile by the self-test; None without one."""
        return None if self.chosen is None else self.chosen.choice.seconds_per_tile

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The networks of all folds."""
        return (self.network, *self.further)

    @property
    def folds(self) -> tuple[Engine, ...]:
        """What computes each fold on `device`."""
        if self.chosen is not None:
            return self.chosen.engines
        return tuple(Eager(each, self.device, self.precision) for each in self.networks)

    def folds_on(self, device: torch.device) -> tuple[Engine, ...]:
        """Return what computes each fold on the model's device, or on the CPU.

        Leaving a GPU for the CPU moves the networks there; asking for the GPU's
        engines moves them back.
        """
        if device.type == self.device.type:
            for each in self.networks:
                each.to(self.device)
            return self.folds
        return make_cpu_engines(self.networks)


def load_package(
    folder: Path,
    *,
    device: str = "auto",
    options: EngineOptions | None = None,
    whole: bool = True,
) -> LoadedModel:
    """Return the model of a package folder, verified and warmed up by one tile.

    Args:
        folder: Where the package is.
        device: ``auto``, ``cpu`` or ``cuda``.
        options: Which engines may run it; None takes PyTorch in the precision that
            the device is fastest in, without a self-test.
        whole: Whether its second stage is loaded as well, if it has one. Its own
            localiser always is.

    Raises:
        ModelError: The package is damaged, does not fit, or cannot run.
        OptionError: There is no such device name.
    """
    package = read_package(folder)
    place = choose_device(device)
    networks = [
        build_loaded(package.network, read_weights(folder, package, fold=fold))
        for fold in range(len(package.folds))
    ]
    model = make_loaded_model(
        package, networks[0], device=place, further=networks[1:], options=options
    )
    if package.localiser is not None:
        place_of_coarse = localiser_folder(folder, package.localiser)
        coarse = None if options is None else options.coarse
        localiser = load_package(place_of_coarse, device=device, options=coarse)
        model = replace(model, localiser=localiser)
    if not whole or package.second_stage is None:
        return model
    place_of_second = second_stage_folder(folder, package.second_stage)
    second = load_package(place_of_second, device=device, options=options)
    return replace(model, second=second)


def load_named(
    name: str,
    folders: tuple[Path, ...],
    *,
    device: str = "auto",
    options: EngineOptions | None = None,
    whole: bool = True,
) -> LoadedModel:
    """Return the installed model of that name; see `load_package`."""
    folder = find_model(name, folders).folder
    return load_package(folder, device=device, options=options, whole=whole)


def make_loaded_model(
    package: ModelPackage,
    network: nn.Module,
    *,
    device: torch.device,
    further: Sequence[nn.Module] = (),
    options: EngineOptions | None = None,
) -> LoadedModel:
    """Return networks as a loaded model, after a first pass that checks its shape.

    The pass also makes the libraries choose their kernels, so that the first case
    does not pay for it.

    Raises:
        ModelError: The output is not one value a channel and voxel, or not finite.
    """
    start = time.perf_counter()
    for values, weights in KINDS_OF_SUMS:
        winner_finder(values)
        voxel_labeller(values)
        tile_adder(values, weights)
    placed = [
        each.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        for each in (network, *further)
    ]
    channels = {_run_first_pass(package, each, device=device) for each in placed}
    if len(channels) > 1:
        raise ModelError(
            f"the folds of model {package.name} have {sorted(channels)} output"
            " channels; they must have the same"
        )
    table = package.label_of_channel(channels.pop())
    chosen = None
    if options is not None:
        chosen = choose_engine(package, placed, device=device, options=options)
    precision = precision_on(device) if chosen is None else chosen.name.precision
    logger.info(
        "model %s %s is ready on %s with %s in %.1f s",
        package.name,
        package.version,
        device,
        "eager" if chosen is None else chosen.name,
        time.perf_counter() - start,
    )
    return LoadedModel(
        package,
        placed[0],
        device,
        precision,
        table,
        further=tuple(placed[1:]),
        chosen=chosen,
        mode=InferenceMode.FAST if options is None else options.mode,
        normalises_tiles=any(map(_normalises_tiles, placed)),
    )


def _normalises_tiles(network: nn.Module) -> bool:
    kinds = (nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm)
    return any(isinstance(each, kinds) for each in network.modules())


def _run_first_pass(
    package: ModelPackage, network: nn.Module, *, device: torch.device
) -> int:
    """Return a network's output channels, found with a tile of zeros."""
    tile = torch.zeros((1, len(package.channels), *package.patch), device=device)
    logits = Eager(network, device, precision_on(device))(tile)
    if logits.ndim != 5 or tuple(logits.shape[2:]) != package.patch:
        raise ModelError(
            f"model {package.name} returns shape {tuple(logits.shape)} for a tile of"
            f" {package.patch}; its network does not fit its plan"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(f"model {package.name} returns values that are not finite")
    return int(logits.shape[1])
