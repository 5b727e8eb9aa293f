"""The network over a whole volume: tile by tile, into one sum of logits."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32

from hanseg_segmentation.inference.device import inferring, is_out_of_memory
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.preprocess import NetworkInput
from hanseg_segmentation.inference.tiling import Shape, Tiling, gaussian_weights
from hanseg_shared.errors import ModelError

logger = logging.getLogger(__name__)

LogitSums = Float32[np.ndarray, "z y x channel"]
Weights = Float32[np.ndarray, "z y x"]

TILES_AT_ONCE_ON_GPU = 4
"""Tiles of a batch on a GPU; the CPU takes one, which keeps its caches warm."""

LARGEST_SUMS_BYTES = 8 * 2**30
"""More than this for the sums of logits is refused before it is allocated."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt to run a network shares out memory.

    Attributes:
        device: Where the network runs.
        batch: Tiles at a time.
        sums_on: Where logits are added up.
    """

    device: torch.device
    batch: int
    sums_on: torch.device


def run_network(
    model: LoadedModel,
    channels: NetworkInput,
    tiling: Tiling,
    *,
    progress: Callable[[float], None],
) -> tuple[LogitSums, Weights]:
    """Return weighted sums of logits, channels last, and the sums of weights.

    Args:
        model: What runs.
        channels: Its input, of shape ``(3, *tiling.shape)``.
        tiling: Which tiles are run. Where none is, the weight is 0.
        progress: Told the share of tiles done, 0 to 1, after each batch. What it
            raises ends the run.

    Returns:
        Sums of shape ``(z, y, x, K)`` and weights of shape ``(z, y, x)``. Where memory
        runs out, it is tried once more with less of it, and then on the CPU.

    Raises:
        ModelError: The sums would not fit in memory, or the network returns values
            that are not finite.
    """
    _require_room(model, tiling.shape)
    attempts = _attempts(model.device)
    for number, attempt in enumerate(attempts, start=1):
        try:
            return _run(model, channels, tiling, attempt=attempt, progress=progress)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if number == len(attempts):
                raise ModelError(
                    f"there is not enough memory for model {model.package.name} on"
                    f" {tiling.shape} voxels, even with one tile at a time"
                ) from error
            logger.warning("out of memory on %s; trying with less", attempt.device)
        finally:
            model.network.to(model.device)
        if attempt.device.type == "cuda":
            torch.cuda.empty_cache()
    raise AssertionError("unreachable: the last attempt returns or raises")


def _attempts(device: torch.device) -> list[Attempt]:
    """Return what is tried in turn when memory runs out, at most three times."""
    cpu = torch.device("cpu")
    if device.type == "cpu":
        return [Attempt(cpu, 1, cpu)]
    return [
        Attempt(device, TILES_AT_ONCE_ON_GPU, device),
        Attempt(device, 1, cpu),
        Attempt(cpu, 1, cpu),
    ]


def _require_room(model: LoadedModel, shape: Shape) -> None:
    needed = int(np.prod(shape)) * (model.channels_out + 1) * 4
    if needed > LARGEST_SUMS_BYTES:
        raise ModelError(
            f"model {model.package.name} would need {needed / 2**30:.1f} GiB for"
            f" {shape} voxels, more than {LARGEST_SUMS_BYTES / 2**30:.0f} GiB; crop the"
            " CT to the head and neck"
        )


def _run(
    model: LoadedModel,
    channels: NetworkInput,
    tiling: Tiling,
    *,
    attempt: Attempt,
    progress: Callable[[float], None],
) -> tuple[LogitSums, Weights]:
    network = model.network.to(attempt.device)
    volume = torch.from_numpy(channels)
    gaussian = torch.from_numpy(gaussian_weights(tiling.patch)).to(attempt.sums_on)
    sums = torch.zeros((*tiling.shape, model.channels_out), device=attempt.sums_on)
    weights = torch.zeros(tiling.shape, device=attempt.sums_on)
    done = 0
    with inferring(attempt.device, model.precision):
        for starts in _batches(tiling.starts, attempt.batch):
            tiles = _cut(volume, tiling, starts).to(attempt.device)
            logits = network(tiles).to(attempt.sums_on, torch.float32)
            if not bool(torch.isfinite(logits).all()):
                raise ModelError(
                    f"model {model.package.name} returned values that are not finite;"
                    " its weights or this machine's arithmetic cannot be trusted"
                )
            for start, tile in zip(starts, logits, strict=True):
                part = tiling.slices(start)
                sums[part].addcmul_(tile.permute(1, 2, 3, 0), gaussian[..., None])
                weights[part] += gaussian
            done += len(starts)
            progress(done / len(tiling.starts))
    return sums.cpu().numpy(), weights.cpu().numpy()


def _cut(
    volume: torch.Tensor, tiling: Tiling, starts: tuple[Shape, ...]
) -> torch.Tensor:
    """Return tiles as a batch ``(N, 3, D, H, W)``, channels last in memory."""
    tiles = torch.stack([volume[:, *tiling.slices(start)] for start in starts])
    return tiles.contiguous(memory_format=torch.channels_last_3d)


def _batches(starts: Iterable[Shape], count: int) -> Iterator[tuple[Shape, ...]]:
    remaining = iter(starts)
    while batch := tuple(itertools.islice(remaining, count)):
        yield batch
