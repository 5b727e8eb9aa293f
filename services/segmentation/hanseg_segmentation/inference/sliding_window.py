"""The network over a whole volume: tile by tile, into one sum of logits."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float32

from hanseg_segmentation.inference.agreement import Agreement
from hanseg_segmentation.inference.device import is_out_of_memory
from hanseg_segmentation.inference.engines import Engine
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.planner import (
    Effort,
    Need,
    Placement,
    free_bytes_on,
    plan_placements,
)
from hanseg_segmentation.inference.preprocess import NetworkInput
from hanseg_segmentation.inference.tiling import (
    STEP,
    Shape,
    Tiling,
    gaussian_weights,
)
from hanseg_shared.errors import ModelError

logger = logging.getLogger(__name__)

LogitSums = Float32[np.ndarray, "z y x channel"]
Weights = Float32[np.ndarray, "z y x"]

SMALLEST_CHANCE = 1e-6
"""Probabilities below this count as this, so that their logarithm is a number."""

ONE_PASS = Effort(1, (), STEP, "one pass")
"""The first fold, not mirrored."""

LARGEST_SUMS_BYTES = 8 * 2**30
"""More than this for the sums of logits is refused before it is allocated."""


def run_network(
    model: LoadedModel,
    channels: NetworkInput,
    tiling: Tiling,
    *,
    progress: Callable[[float], None],
    effort: Effort = ONE_PASS,
    agreement: Agreement | None = None,
) -> tuple[LogitSums, Weights]:
    """Return weighted sums of logits, channels last, and the sums of weights.

    Args:
        model: What runs.
        channels: Its input, of shape ``(3, *tiling.shape)``.
        tiling: Which tiles are run. Where none is, the weight is 0.
        progress: Told the share of tiles done, 0 to 1, after each batch. What it
            raises ends the run.
        effort: Which folds are run, and along which axes tiles are mirrored as well.
        agreement: Told what each fold and mirrored pass answers, if given.

    Returns:
        Sums of shape ``(z, y, x, K)`` and weights of shape ``(z, y, x)``. Where memory
        runs out, it is tried once more with less of it, and then on the CPU.

    Raises:
        ModelError: The sums would not fit in memory, or the network returns values
            that are not finite.
    """
    _require_room(model, tiling.shape)
    placements = _placements(model, tiling)
    for number, placement in enumerate(placements, start=1):
        counted = None if agreement is None else Agreement(model.channels_out)
        try:
            sums = _run(
                model,
                channels,
                tiling,
                placement=placement,
                effort=effort,
                agreement=counted,
                progress=progress,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if number == len(placements):
                raise ModelError(
                    f"there is not enough memory for model {model.package.name} on"
                    f" {tiling.shape} voxels, even with one tile at a time"
                ) from error
            logger.warning("out of memory on %s; trying with less", placement.device)
        else:
            if agreement is not None and counted is not None:
                agreement.take(counted)
            return sums
        finally:
            if placement.device != model.device:
                model.folds_on(model.device)
        if placement.device.type == "cuda":
            torch.cuda.empty_cache()
    raise AssertionError("unreachable: the last attempt returns or raises")


def _placements(model: LoadedModel, tiling: Tiling) -> tuple[Placement, ...]:
    """Return what is tried in turn when memory runs out, at most three ways."""
    need = Need.of(
        tile_voxels=math.prod(tiling.patch),
        sums_voxels=math.prod(tiling.shape),
        channels_out=model.channels_out,
        value_bytes=model.precision.itemsize,
    )
    return plan_placements(need, model.device, free_bytes_on(model.device))


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
    placement: Placement,
    effort: Effort,
    agreement: Agreement | None,
    progress: Callable[[float], None],
) -> tuple[LogitSums, Weights]:
    folds = model.folds_on(placement.device)[: effort.folds]
    flips = _flips(effort.mirror_axes, model.package.transpose)
    volume = torch.from_numpy(channels)
    gaussian = torch.from_numpy(gaussian_weights(tiling.patch)).to(placement.sums_on)
    sums = torch.zeros((*tiling.shape, model.channels_out), device=placement.sums_on)
    weights = torch.zeros(tiling.shape, device=placement.sums_on)
    done = 0
    with torch.inference_mode():
        for starts in _batches(tiling.starts, placement.batch):
            tiles = _cut(volume, tiling, starts).to(placement.device)
            logits = _answer(
                folds, tiles, flips, combine=model.package.combine, agreement=agreement
            ).to(placement.sums_on, torch.float32)
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


def _flips(
    mirror_axes: tuple[str, ...], transpose: tuple[int, int, int]
) -> tuple[tuple[int, ...], ...]:
    """Return the dimensions of a batch to flip in each pass, the first one none."""
    dims = [2 + transpose.index("zyx".index(axis)) for axis in mirror_axes]
    return tuple(
        chosen
        for count in range(len(dims) + 1)
        for chosen in itertools.combinations(dims, count)
    )


def _answer(
    folds: Sequence[Engine],
    tiles: torch.Tensor,
    flips: Sequence[tuple[int, ...]],
    *,
    combine: str,
    agreement: Agreement | None,
) -> torch.Tensor:
    """Return the logits of all folds and mirrored passes, combined as the model says.

    Mean probabilities are given as their logarithms, and so are votes: like logits
    they have the best channel as their largest, and a softmax of 1 in sum.
    """
    if len(folds) * len(flips) == 1:
        return folds[0](tiles)
    total: torch.Tensor | None = None
    winners = []
    for fold, dims in itertools.product(folds, flips):
        logits = (fold(tiles.flip(dims)).flip(dims) if dims else fold(tiles)).float()
        best = logits.argmax(dim=1)
        winners.append(best)
        part = _as_combined(logits, best, combine)
        total = part if total is None else total.add_(part)
    if agreement is not None:
        agreement.add(winners)
    if total is None:
        raise AssertionError("unreachable: there is a fold")
    mean = total.div_(len(winners))
    return mean if combine == "logits" else mean.clamp_(min=SMALLEST_CHANCE).log_()


def _as_combined(
    logits: torch.Tensor, best: torch.Tensor, combine: str
) -> torch.Tensor:
    """Return what is averaged: logits, probabilities, or a vote for one channel."""
    if combine == "logits":
        return logits.clone()
    if combine == "softmax":
        return logits.softmax(dim=1)
    # a network that returns no numbers must not pass for one that votes
    votes = torch.zeros_like(logits).scatter_(1, best[:, None], 1.0)
    return votes + 0.0 * logits.sum(dim=1, keepdim=True)


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
