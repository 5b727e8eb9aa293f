"""What computes a network: one library and one precision, behind one call.

An engine maps tiles ``(N, C, D, H, W)`` to logits ``(N, K, D, H, W)``. All engines of a
network hold the same weights; they differ in speed, and in the last bits of the answer.
Which of them is taken, `self_test` decides.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import torch
from torch import nn

from hanseg_segmentation.compute.convolution import winograd_convolutions
from hanseg_segmentation.inference.device import inferring, precision_on
from hanseg_segmentation.network.binary import BinaryBank
from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import ModelError
from hanseg_shared.user_cache import user_cache

if TYPE_CHECKING:
    from hanseg_shared.settings import Settings

logger = logging.getLogger(__name__)

Engine = Callable[[torch.Tensor], torch.Tensor]
"""Maps tiles ``(N, C, D, H, W)`` to logits ``(N, K, D, H, W)``, without gradients.

The logits are valid until the engine is called again.
"""

Library = Literal["eager", "winograd", "compile", "openvino"]

ENGINES_FOLDER = "engines"
"""Sub-folder of the user's cache, or of the data folder where there is none, for what
engines keep between processes."""

ORGAN_BY_ORGAN = {"eager", "winograd"}
"""Libraries that can leave out an organ's network; the others compile them as one."""

LARGEST_STRIDE = 32
"""By how much a network's coarsest features are coarser than its input, at most."""


class EngineName(StrEnum):
    """A library and the precision of its convolutions."""

    EAGER_FP32 = "eager-fp32"
    """PyTorch, layer by layer; what every other engine is compared with."""

    EAGER_BF16 = "eager-bf16"
    """The same with convolutions in bfloat16, under PyTorch's autocast."""

    WINOGRAD_FP32 = "winograd-fp32"
    """PyTorch, but convolutions with a quarter of the multiplications; CPU only."""

    COMPILE_FP32 = "compile-fp32"
    """PyTorch's own compiler. It needs a C++ compiler on the machine, and up to a
    minute the first time."""

    COMPILE_BF16 = "compile-bf16"

    OPENVINO_FP32 = "openvino-fp32"
    """Intel's OpenVINO, the optional extra ``[openvino]``; CPU only."""

    OPENVINO_BF16 = "openvino-bf16"

    @classmethod
    def of(cls, library: str, precision: torch.dtype) -> Self:
        """Return the engine of a library and a precision, float32 or bfloat16."""
        return cls(f"{library}-{'bf16' if precision is torch.bfloat16 else 'fp32'}")

    @property
    def library(self) -> str:
        """``eager``, ``winograd``, ``compile`` or ``openvino``."""
        return self.value.partition("-")[0]

    @property
    def precision(self) -> torch.dtype:
        """What convolutions run in."""
        return torch.bfloat16 if self.value.endswith("bf16") else torch.float32


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a site says about engines.

    Attributes:
        mode: How near to float32 on every tile the answer must be.
        library: The one to use, or ``auto`` for whatever is fastest here.
        cache: Folder for compiled networks and for what the self-test chose; None
            keeps nothing.
        threads: Threads that OpenVINO computes with; 0 takes PyTorch's number.
    """

    mode: InferenceMode = InferenceMode.FAST
    library: Literal["auto"] | Library = "auto"
    cache: Path | None = None
    threads: int = 0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings of a running service say."""
        return cls(
            mode=settings.inference,
            library=settings.engine,
            cache=(user_cache() or settings.data) / ENGINES_FOLDER,
            threads=settings.threads,
        )

    @property
    def coarse(self) -> Self:
        """What the coarse pass before a finer model runs with.

        PyTorch runs it: OpenVINO is no faster for it, and takes 190 MB.
        """
        return replace(self, mode=InferenceMode.RAPID, library="eager")


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """What an engine is built for.

    Attributes:
        tile: Shape ``(1, C, D, H, W)`` of what it will be given.
        device: Where it runs.
        cache: Folder for compiled networks; None keeps nothing.
        threads: Threads of an engine that does not use PyTorch's; 0 takes as many.
    """

    tile: tuple[int, int, int, int, int]
    device: torch.device
    cache: Path | None = None
    threads: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Eager:
    """PyTorch, layer by layer, convolutions channels-last in memory.

    Attributes:
        network: On `device` already.
        device: Where it runs.
        precision: What convolutions run in.
        winograd: Whether by Winograd's algorithm where that is worth it.
        channels: Of a network for each organ, the output channels of those that are
            run; None runs all.
    """

    network: nn.Module
    device: torch.device
    precision: torch.dtype
    winograd: bool = False
    channels: frozenset[int] | None = None

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return logits for tiles that lie on the device."""
        some = () if self.channels is None else (self.channels,)
        with (
            inferring(self.device, self.precision),
            winograd_convolutions(wanted=self.winograd),
        ):
            logits: torch.Tensor = self.network(
                tiles.contiguous(memory_format=torch.channels_last_3d), *some
            )
        return logits


def only(channels: frozenset[int] | None, engine: Engine) -> Engine:
    """Return an engine that leaves out the networks of all other organs.

    The same engine where one network finds all organs, or no channels are given.
    """
    if channels is None or not isinstance(engine, Eager):
        return engine
    if not isinstance(engine.network, BinaryBank):
        return engine
    return replace(engine, channels=channels)


def candidates(options: EngineOptions, device: torch.device) -> tuple[EngineName, ...]:
    """Return the engines that may be used, `EAGER_FP32` first.

    With ``auto``, PyTorch's compiler is no candidate: it takes up to a minute, which
    a first job should not wait for. Installing OpenVINO's extra is asking for it.
    """
    auto = {"eager", "winograd", "openvino"}
    wanted = auto if options.library == "auto" else {options.library}
    names = [name for name in EngineName if name.library in wanted]
    names = [name for name in names if _is_available(name.library, device)]
    exact = options.mode is InferenceMode.EXACT
    half = precision_on(device) is torch.bfloat16 and not exact
    names = [name for name in names if half or name.precision is torch.float32]
    if not names and options.library != "auto":
        logger.warning("engine %s cannot run here; eager is used", options.library)
        return candidates(EngineOptions(mode=options.mode, library="eager"), device)
    rest = (name for name in names if name is not EngineName.EAGER_FP32)
    return (EngineName.EAGER_FP32, *rest)


def make_engine(name: EngineName, network: nn.Module, plan: EnginePlan) -> Engine:
    """Return an engine of a network that lies on the plan's device.

    Raises:
        ModelError: The engine cannot take the network.
    """
    if isinstance(network, BinaryBank) and name.library not in ORGAN_BY_ORGAN:
        raise ModelError(
            f"engine {name} would run the networks of all organs on every tile"
        )
    try:
        return _MAKERS[name.library](name, network, plan)
    except Exception as error:
        raise ModelError(
            f"engine {name} cannot run this network: {_one_line(error)}"
        ) from error


def make_cpu_engines(networks: Sequence[nn.Module]) -> tuple[Engine, ...]:
    """Return float32 engines on the CPU, to which the networks are moved."""
    cpu = torch.device("cpu")
    return tuple(Eager(each.to(cpu), cpu, torch.float32) for each in networks)


def _is_available(library: str, device: torch.device) -> bool:
    if library == "winograd":
        return device.type == "cpu"
    if library == "openvino":
        return device.type == "cpu" and importlib.util.find_spec("openvino") is not None
    if library == "compile":
        return device.type == "cuda" or _cpp_compiler() is not None
    return True


def _cpp_compiler() -> str | None:
    """Return the C++ compiler that PyTorch's compiler would use."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


def _make_eager(name: EngineName, network: nn.Module, plan: EnginePlan) -> Engine:
    placed = network.to(plan.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return Eager(placed, plan.device, name.precision, name.library == "winograd")


def _make_compiled(name: EngineName, network: nn.Module, plan: EnginePlan) -> Engine:
    if plan.cache is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(plan.cache / "inductor"))
    import torch._inductor.config as inductor

    inductor.compile_threads = 1  # a pool of processes would outlive the worker
    placed = network.to(plan.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    compiled = torch.compile(placed, dynamic=False)
    engine = Eager(compiled, plan.device, name.precision)  # type: ignore[arg-type]
    engine(torch.zeros(plan.tile, device=plan.device))
    return engine


def _make_openvino(name: EngineName, network: nn.Module, plan: EnginePlan) -> Engine:
    import openvino
    from openvino.preprocess import PrePostProcessor

    threads = plan.threads or torch.get_num_threads()
    config: dict[str, str | int] = {
        "INFERENCE_PRECISION_HINT": "bf16"
        if name.precision is torch.bfloat16
        else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    if plan.cache is not None:
        config["CACHE_DIR"] = str(plan.cache / "openvino")
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it traces with a deprecated function
        model = openvino.convert_model(
            network, example_input=_make_tracing_tile(plan), input=list(plan.tile)
        )
    layouts = PrePostProcessor(model)
    layouts.output().model().set_layout(openvino.Layout("NCDHW"))
    layouts.output().tensor().set_layout(openvino.Layout("NDHWC"))
    compiled = openvino.Core().compile_model(layouts.build(), "CPU", config)
    return functools.partial(_run_openvino, compiled)


def _make_tracing_tile(plan: EnginePlan) -> torch.Tensor:
    """Return a small tile that a network can be traced with: a trace keeps everything.

    Edges are multiples of what the network divides them by, a power of two, and twice
    that where they can be, since a single voxel cannot be normalised.
    """
    edges = (min(edge, 2 * min(edge & -edge, LARGEST_STRIDE)) for edge in plan.tile[2:])
    return torch.zeros(*plan.tile[:2], *edges)


def _run_openvino(
    compiled: Callable[..., dict[int, object]], tiles: torch.Tensor
) -> torch.Tensor:
    """Run tiles one by one, since the network was compiled for one.

    It answers channels-last. A result lies in memory that the next call writes to, so
    it is copied where there are several; one is valid until then.
    """
    answers = (
        torch.from_numpy(
            compiled(tile[None].contiguous().numpy(), share_outputs=True)[0]
        )
        for tile in tiles
    )
    if len(tiles) == 1:
        found = next(answers)
    else:
        found = torch.cat([answer.clone() for answer in answers])
    return found.permute(0, 4, 1, 2, 3)


_MAKERS: dict[str, Callable[[EngineName, nn.Module, EnginePlan], Engine]] = {
    "eager": _make_eager,
    "winograd": _make_eager,
    "compile": _make_compiled,
    "openvino": _make_openvino,
}


def _one_line(error: Exception) -> str:
    """Return the first 200 characters of a message, without line breaks."""
    return " ".join(str(error).split())[:200] or type(error).__name__
