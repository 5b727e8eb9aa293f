"""Where a network runs, and how precisely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hanseg_shared.errors import ModelError, OptionError


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` takes a GPU if there is one.

    Raises:
        OptionError: The name is none of ``auto``, ``cpu`` and ``cuda``.
        ModelError: CUDA is asked for and not there.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise OptionError(f"device must be auto, cpu or cuda, got {name!r}")
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if name == "cuda":
        raise ModelError("no CUDA device is available; set the device to cpu or auto")
    return torch.device("cpu")


def precision_on(device: torch.device) -> torch.dtype:
    """Return the type convolutions run in: bfloat16 where the hardware has it.

    On the CPU it halves the time; see PyTorch's notes on ``torch.autocast``.
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities()
        fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def inferring(device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """Compute without gradients, in `precision` where that is safe."""
    with (
        torch.inference_mode(),
        torch.autocast(
            device.type, dtype=torch.bfloat16, enabled=precision is torch.bfloat16
        ),
    ):
        yield


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left.

    The CPU's allocator raises a plain `RuntimeError`, told apart by its text.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
