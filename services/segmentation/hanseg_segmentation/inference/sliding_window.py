"""The network over a whole volume: tile by tile, planes handed on once final."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
import torch

from hanseg_segmentation.compute.memory import trim_memory
from hanseg_segmentation.inference.agreement import Agreement
from hanseg_segmentation.inference.device import is_out_of_memory
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.network_engines import Engine, only
from hanseg_segmentation.inference.planner import (
    Effort,
    Need,
    Placement,
    free_bytes_on,
    plan_placements,
)
from hanseg_segmentation.inference.slab import Slab, Sums, Sweep, plan_sweep
from hanseg_segmentation.inference.tile_input import RowInput, Source
from hanseg_segmentation.inference.tiling import STEP, Shape, Tiling
from hanseg_segmentation.network.binary import ABSENT_SCORE
from hanseg_shared.errors import ModelError

logger = logging.getLogger(__name__)

SMALLEST_CHANCE = 1e-6
"""Probabilities below this count as this, so that their logarithm is a number."""

ONE_PASS = Effort(1, (), STEP, "one pass")
"""The first fold, not mirrored."""

LARGEST_SUMS_BYTES = 8 * 2**30
"""A slab of sums above this is refused before it is allocated."""

FULL_SUMS_BYTES = 512 * 2**20
"""A slab that would be larger is kept in half precision, as nnU-Net keeps all of it: on
borders it changes single voxels (0.01 %), as nnU-Net's own rounding does."""


class PlaneSink(Protocol):
    """Takes planes of logits once they are final, in their order."""

    def take(self, sums: torch.Tensor, weights: torch.Tensor) -> None:
        """Take the next planes of a sweep.

        Args:
            sums: Weighted sums of logits ``(z, y, x, K)``; not valid afterwards.
            weights: Sums of weights ``(z, y, x)``; 0 where no tile was run.
        """


Sink = TypeVar("Sink", bound=PlaneSink)


def run_network(
    model: LoadedModel,
    source: Source,
    tiling: Tiling,
    *,
    sink: Callable[[Sweep], Sink],
    progress: Callable[[float], None],
    effort: Effort = ONE_PASS,
    agreement: Agreement | None = None,
) -> Sink:
    """Return a sink that took the logits of every plane that a tile touches.

    Args:
        model: What runs.
        source: Its input.
        tiling: Which tiles are run, at least one.
        sink: Makes a sink. Where memory runs out, it is tried once more with less of
            it, and then on the CPU, each time with a new sink.
        progress: Called with the share of tiles done, 0 to 1, after each batch. What
            it raises ends the run.
        effort: Which folds are run, and along which axes tiles are mirrored as well.
        agreement: Counts what each fold and mirrored pass answers, if given.

    Raises:
        ModelError: The sums would not fit in memory, or the network returns values
            that are not finite.
    """
    sweep = plan_sweep(tiling, source.shape, in_order=_as_nnunet(model))
    kind = _kind_of_sums(model, sweep)
    placements = _placements(model, sweep, kind.dtype)
    for number, placement in enumerate(placements, start=1):
        counted = None if agreement is None else Agreement(model.channels_out)
        trim_memory()
        try:
            slab = Slab(sweep, model.channels_out, kind=kind, device=placement.sums_on)
            filled = _run(
                model,
                RowInput(source, sweep),
                sweep,
                slab,
                sink(sweep),
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
            return filled
        finally:
            if placement.device != model.device:
                model.folds_on(model.device)
        if placement.device.type == "cuda":
            torch.cuda.empty_cache()
    raise AssertionError("unreachable: the last attempt returns or raises")


def _as_nnunet(model: LoadedModel) -> bool:
    """Whether logits are added up bit by bit as nnU-Net's predictor would."""
    return model.is_exact and model.package.frame == "image"


def _kind_of_sums(model: LoadedModel, sweep: Sweep) -> Sums:
    """Return how logits are added up, unless not even that fits in memory."""
    values = math.prod(sweep.slab) * (model.channels_out + 1)
    if _as_nnunet(model):
        kind = Sums.NNUNET
    else:
        kind = Sums.FULL if values * 4 <= FULL_SUMS_BYTES else Sums.MEANS
    needed = values * kind.dtype.itemsize
    if needed > LARGEST_SUMS_BYTES:
        raise ModelError(
            f"model {model.package.name} would need {needed / 2**30:.1f} GiB for"
            f" {sweep.tiling.shape} voxels, more than"
            f" {LARGEST_SUMS_BYTES / 2**30:.0f} GiB; crop the CT to the head and neck"
        )
    return kind


def _placements(
    model: LoadedModel, sweep: Sweep, dtype: torch.dtype
) -> tuple[Placement, ...]:
    """Return what is tried in turn when memory runs out, at most three ways."""
    need = Need.of(
        tile_voxels=math.prod(sweep.tiling.patch),
        sums_voxels=math.prod(sweep.slab),
        channels_out=model.channels_out,
        value_bytes=model.precision.itemsize,
        sum_bytes=dtype.itemsize,
    )
    return plan_placements(need, model.device, free_bytes_on(model.device))


def _run(
    model: LoadedModel,
    images: RowInput,
    sweep: Sweep,
    slab: Slab,
    sink: Sink,
    *,
    placement: Placement,
    effort: Effort,
    agreement: Agreement | None,
    progress: Callable[[float], None],
) -> Sink:
    folds = model.folds_on(placement.device)[: effort.folds]
    flips = _flips(effort.mirror_axes, model.package.network_axes)
    done = 0
    with torch.inference_mode():
        for row in sweep.rows:
            for planes in slab.final_before(row[0][sweep.axis]):
                sink.take(*planes)
            for starts in _batches(row, placement.batch):
                tiles = images.tiles(starts).to(placement.device)
                wanted = sweep.tiling.channels_of(starts)
                logits = _answer(
                    [only(wanted, fold) for fold in folds],
                    tiles,
                    flips,
                    combine=model.package.combine,
                    agreement=agreement,
                    nowhere=_nowhere(sweep.tiling, starts, model.channels_out),
                )
                logits = logits.to(placement.sums_on)
                for start, tile in zip(starts, logits, strict=True):
                    _add(slab, start, tile, model)
                del tiles, logits, tile  # before the next ones are there
                done += len(starts)
                progress(done / len(sweep.tiling.starts))
        for planes in slab.final_before(sweep.high[sweep.axis]):
            sink.take(*planes)
    return sink


def _add(slab: Slab, start: Shape, tile: torch.Tensor, model: LoadedModel) -> None:
    try:
        slab.add(start, tile.permute(1, 2, 3, 0))
    except FloatingPointError as error:
        raise ModelError(
            f"model {model.package.name} returned values that are not finite;"
            " its weights or this machine's arithmetic cannot be trusted"
        ) from error


def _nowhere(
    tiling: Tiling, starts: Sequence[Shape], channels: int
) -> torch.Tensor | None:
    """Return where in tiles no organ of a channel can lie, ``(N, K, z, y, x)``."""
    masks = [tiling.outside(start, channels) for start in starts]
    known = [each for each in masks if each is not None]
    return torch.from_numpy(np.stack(known)) if known else None


def _flips(
    mirror_axes: tuple[str, ...], network_axes: tuple[str, str, str]
) -> tuple[tuple[int, ...], ...]:
    """Return the dimensions of a batch to flip in each pass, the first one none."""
    dims = [2 + network_axes.index(axis) for axis in mirror_axes]
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
    nowhere: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the logits of all folds and mirrored passes, combined as the model says.

    Mean probabilities are given as their logarithms, and so are votes: like logits
    they have the best channel as their largest, and a softmax of 1 in sum. An organ
    that somebody answers where it cannot be gets no voxel and no vote.
    """
    if nowhere is not None:
        nowhere = nowhere.to(tiles.device)
    if len(folds) * len(flips) == 1:
        return _leave_out(folds[0](tiles), nowhere)
    total: torch.Tensor | None = None
    winners = []
    for fold, dims in itertools.product(folds, flips):
        logits = (fold(tiles.flip(dims)).flip(dims) if dims else fold(tiles)).float()
        logits = _leave_out(logits, nowhere)
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


def _leave_out(logits: torch.Tensor, nowhere: torch.Tensor | None) -> torch.Tensor:
    """Return logits in which channels are absent where their organs cannot be."""
    if nowhere is None:
        return logits
    # a value that is no number must not be hidden
    absent = nowhere & torch.isfinite(logits)
    return logits.masked_fill(absent, ABSENT_SCORE)


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


def _batches(starts: Iterable[Shape], count: int) -> Iterator[tuple[Shape, ...]]:
    remaining = iter(starts)
    while batch := tuple(itertools.islice(remaining, count)):
        yield batch
