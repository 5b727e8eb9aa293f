"""Which engine a model runs on: the fastest on this machine that agrees with float32.

When a model is loaded, each engine that may be used computes one tile of a simulated
patient. What an engine answers is compared with PyTorch's float32, how long it takes
with the others. The choice is kept on disk, for this machine, model and these versions
of the libraries, so that the next process does not test again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import nn

from hanseg_segmentation.inference.network_engines import (
    Engine,
    EngineName,
    EngineOptions,
    EnginePlan,
    candidates,
    make_engine,
)
from hanseg_segmentation.inference.preprocess import WINDOWS_HU, normalise_ct, window
from hanseg_segmentation.inference.self_test_case import read_self_test_case
from hanseg_segmentation.packages.package import ModelPackage
from hanseg_shared.document import Document
from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import ModelError
from hanseg_shared.grid import Grid, Points
from hanseg_shared.itk import resample

logger = logging.getLogger(__name__)

LEAST_AGREEMENT = {
    InferenceMode.RAPID: 0.98,
    InferenceMode.FAST: 0.999,
    InferenceMode.EXACT: 0.9995,
}
"""Share of a tile's organ voxels on which an engine must agree with float32.

In rapid mode the default model in bfloat16 agrees on 0.995 to 0.997, in every library;
what differs are single voxels on borders, and an engine that is wrong is wrong by far
more. Fast mode's organs are to be those of exact mode: with bfloat16 a small organ's
Dice fell to 0.9 (docs/lab/performance.md). In exact mode engines in float32 differ in
the order of additions only. With random weights, whose logits are nearly tied, OpenVINO
reaches 0.9992 and nnU-Net's labels on 98.7 % of the foreground: then exact mode stays
with PyTorch."""

FEWEST_ORGAN_VOXELS = 200
"""A tile with fewer is judged by all its voxels: the model sees nothing in it."""

BUDGET_SECONDS = 120.0
"""No engine that must be prepared is tried where that would be exceeded, unless the
site named it. One that costs a pass is always tried (`READY`): a worker that was
started on a busy machine would else stay slow, since the choice is kept."""

READY = ("eager", "winograd")
"""Libraries that need not be prepared."""

OPENVINO_SECONDS_PER_MILLION = 1.5
"""What OpenVINO takes to convert and compile a network, per million of parameters
(measured: 2.9 s for 2.7 million, 40 to 50 s for 31)."""

ROUNDS = 4
"""Further passes of each engine, in turn, so that a busy moment hits all of them. The
shortest counts."""

VERSIONS = ("hanseg-segmentation", "openvino", "torch")
"""Distributions whose version may change what is fastest."""

AIR_HU = -1024.0

Clock = Callable[[], float]


class Choice(Document):
    """What a self-test found, as it is kept on disk.

    Attributes:
        engine: The engine that was taken.
        seconds_per_tile: What it takes for one tile.
        agreement: Share of the voxels on which it agrees with float32.
        tried: Seconds a tile of every engine that was tried, by name.
    """

    engine: EngineName
    seconds_per_tile: float
    agreement: float
    tried: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The engine that was taken, for each fold.

    Attributes:
        choice: What the self-test found.
        engines: One for each fold.
    """

    choice: Choice
    engines: tuple[Engine, ...]

    @property
    def name(self) -> EngineName:
        """The engine's name."""
        return self.choice.engine


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """One engine on the test's tile.

    Attributes:
        engine: What is tried.
        passes: Seconds of each pass so far.
    """

    engine: Engine
    passes: list[float]

    @property
    def seconds(self) -> float:
        """What a pass takes when nothing else disturbs it."""
        return min(self.passes)


def choose_engine(
    package: ModelPackage,
    networks: Sequence[nn.Module],
    *,
    device: torch.device,
    options: EngineOptions,
    clock: Clock = time.perf_counter,
) -> Chosen:
    """Return the fastest engine that agrees with float32, ready for every fold.

    Args:
        package: The model; `networks` are its folds, on `device`.
        networks: At least one.
        device: Where they run.
        options: Which engines may be used, and where the choice is kept.
        clock: Returns seconds.

    Raises:
        ModelError: Not even PyTorch in float32 returns finite values.
    """
    plan = EnginePlan(
        (1, len(package.channels), *package.patch),
        device,
        options.cache,
        options.threads,
    )
    kept = _choice_file(package, device, options)
    known = None if kept is None else _read(kept)
    if known is not None:
        try:
            return Chosen(known, _engines(known.engine, networks, plan))
        except ModelError as error:
            logger.warning("the engine chosen before does not work: %s", error)
    choice = _run_test(package, networks[0], plan, options=options, clock=clock)
    if kept is not None:
        _write(kept, choice)
    return Chosen(choice, _engines(choice.engine, networks, plan))


def agreement(labels: torch.Tensor, reference: torch.Tensor) -> float:
    """Return on what share of the voxels that either calls an organ both agree.

    Where hardly any voxel is an organ's, it is the share of all voxels.
    """
    same = labels == reference
    organs = (labels > 0) | (reference > 0)
    if int(organs.sum()) < FEWEST_ORGAN_VOXELS:
        return float(same.float().mean())
    return float(same[organs].float().mean())


def prove_engine(engine: Engine, package: ModelPackage, device: torch.device) -> None:
    """Compute one tile of a simulated patient, as a job would.

    Raises:
        ModelError: The answer is not finite, or the same everywhere.
    """
    tile = phantom_tile(package).to(device)
    logits = _time_pass(engine, tile, clock=time.perf_counter)[1].float()
    if not bool(torch.isfinite(logits).all()) or float(logits.std()) == 0.0:
        raise ModelError(
            f"model {package.name} does not answer a simulated patient with finite "
            "values any more"
        )


def phantom_tile(package: ModelPackage) -> torch.Tensor:
    """Return the network input ``(1, C, D, H, W)`` of a simulated patient's head.

    The tile is centred on the patient's organs, at the model's spacing.
    """
    case = read_self_test_case()
    edges = np.empty(3, dtype=int)
    edges[list(package.transpose)] = package.patch
    grid = _grid_about(case.centre, edges, package)
    ct = resample(case.ct, grid, background=AIR_HU).array.astype(np.float32)
    images = {
        "ct": normalise_ct(ct, package.normalisation.ct),
        "field_of_view": np.ones(ct.shape, dtype=np.float32),
        **{name: window(ct, *limits) for name, limits in WINDOWS_HU.items()},
    }
    if "mr" in package.channels:
        mr = resample(case.t1, grid).array.astype(np.float32)
        images["mr"] = (mr - mr.mean()) / max(float(mr.std()), 1e-6)
    stack = np.stack(
        [images[name].transpose(package.transpose) for name in package.channels]
    )
    return torch.from_numpy(np.ascontiguousarray(stack[None], dtype=np.float32))


def _grid_about(centre: Points, edges: np.ndarray, package: ModelPackage) -> Grid:
    """Return the axis-aligned grid of `edges` (z, y, x) voxels about a point."""
    x, y, z = (int(edge) for edge in edges[::-1])
    half = (np.array((x, y, z)) - 1) / 2 * np.array(package.spacing_mm)
    ox, oy, oz = (float(value) for value in centre - half)
    return Grid((x, y, z), package.spacing_mm, (ox, oy, oz))


def _run_test(
    package: ModelPackage,
    network: nn.Module,
    plan: EnginePlan,
    *,
    options: EngineOptions,
    clock: Clock,
) -> Choice:
    end = clock() + BUDGET_SECONDS if options.library == "auto" else math.inf
    tile = phantom_tile(package).to(plan.device)
    first, *others = candidates(options, plan.device)
    reference, labels = _start_trial(
        make_engine(first, network, plan), tile, clock=clock
    )
    if labels is None:
        raise ModelError(
            f"model {package.name} returned values that are not finite for a simulated"
            " patient; its weights cannot be trusted"
        )
    trials = {first: (reference, 1.0)}
    needed = LEAST_AGREEMENT[options.mode]
    for name in others:
        late = clock() + _estimate(name, network, reference.passes[0]) > end
        if late and name.library not in READY:
            logger.info("engine %s is not tried: it would take too long", name)
            continue
        attempt = _try_engine(name, network, plan, tile, clock=clock)
        if attempt is None:
            continue
        share = agreement(attempt[1], labels)
        if share < needed:
            logger.warning("engine %s agrees on %.4f only; not used", name, share)
        else:
            trials[name] = (attempt[0], share)
    racing = [trial for trial, _ in trials.values()] if len(trials) > 1 else []
    for _ in range(ROUNDS):
        for trial in racing:
            if clock() + trial.seconds < end:
                trial.passes.append(_time_pass(trial.engine, tile, clock=clock)[0])
    tried = {str(name): round(trial.seconds, 4) for name, (trial, _) in trials.items()}
    best = min(trials, key=lambda name: trials[name][0].seconds)
    trial, share = trials[best]
    logger.info("self-test of %s: %s takes %s", package.name, best, tried)
    return Choice(
        engine=best, seconds_per_tile=trial.seconds, agreement=share, tried=tried
    )


def _try_engine(
    name: EngineName,
    network: nn.Module,
    plan: EnginePlan,
    tile: torch.Tensor,
    *,
    clock: Clock,
) -> tuple[_Trial, torch.Tensor] | None:
    """Return how an engine does, or None where it does not work at all."""
    try:
        trial, labels = _start_trial(
            make_engine(name, network, plan), tile, clock=clock
        )
    except (ModelError, RuntimeError, MemoryError) as error:
        logger.warning("engine %s is not used: %s", name, error)
        return None
    if labels is None:
        logger.warning("engine %s returns values that are not finite", name)
        return None
    return trial, labels


def _start_trial(
    engine: Engine, tile: torch.Tensor, *, clock: Clock
) -> tuple[_Trial, torch.Tensor | None]:
    """Return an engine's first pass, and its labels unless a logit is not finite."""
    seconds, logits = _time_pass(engine, tile, clock=clock)
    logits = logits[0].float()
    finite = bool(torch.isfinite(logits).all())
    labels = logits.argmax(dim=0).cpu() if finite else None
    return _Trial(engine, [seconds]), labels


def _time_pass(
    engine: Engine, tile: torch.Tensor, *, clock: Clock
) -> tuple[float, torch.Tensor]:
    started = clock()
    logits = engine(tile)
    if tile.is_cuda:
        torch.cuda.synchronize()
    return clock() - started, logits


def _estimate(name: EngineName, network: nn.Module, seconds_per_tile: float) -> float:
    """Return about how long trying an engine takes, given float32's time for a tile."""
    if name.library != "openvino":
        return seconds_per_tile
    parameters = sum(each.numel() for each in network.parameters())
    return seconds_per_tile + OPENVINO_SECONDS_PER_MILLION * parameters / 1e6


def _engines(
    name: EngineName, networks: Sequence[nn.Module], plan: EnginePlan
) -> tuple[Engine, ...]:
    return tuple(make_engine(name, each, plan) for each in networks)


def _choice_file(
    package: ModelPackage, device: torch.device, options: EngineOptions
) -> Path | None:
    """Return the file that a choice of this machine, model and versions is kept in."""
    if options.cache is None:
        return None
    circumstances = {
        "model": [each.sha256 for each in package.folds],
        "machine": [platform.machine(), _processor(), os.cpu_count()],
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else str(device),
        "threads": options.threads or torch.get_num_threads(),
        "versions": [_version(name) for name in VERSIONS],
        "options": [options.mode, options.library, *candidates(options, device)],
    }
    text = json.dumps(circumstances, sort_keys=True)
    return options.cache / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _processor() -> str:
    """Return the processor's capabilities, which tell machines apart well enough."""
    return json.dumps(torch.cpu.get_capabilities(), sort_keys=True, default=str)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _read(path: Path) -> Choice | None:
    """Return what was chosen before; None if nothing was, or the file is damaged."""
    try:
        return Choice.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        logger.warning("%s cannot be used and is made anew: %s", path.name, error)
        return None


def _write(path: Path, choice: Choice) -> None:
    """Keep a choice; where that cannot be done, the next process tests again."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(choice.model_dump_json(indent=2))
        partial.replace(path)
    except OSError as error:
        logger.warning("the choice of engine is not kept: %s", error)
