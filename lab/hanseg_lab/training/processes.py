"""The processes that train one network together, as torchrun starts them.

    torchrun --nproc-per-node 4 --no-python hanseg train eli1 --data DIR --out DIR

Without torchrun there is one. Each process trains on its own patches; PyTorch's
DistributedDataParallel averages their gradients.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import distributed, nn

from hanseg_shared.errors import OptionError

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class TrainingProcess:
    """One of the processes that train a network together.

    Attributes:
        rank: This process, from 0; the first one writes the files.
        size: How many there are.
        device: Where its network is.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes log and checkpoints."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    def first_alone(self, work: Callable[[], Made]) -> Made:
        """Run the work in the leader first, then in all others; return its result.

        The others can use the files that the leader has written.
        """
        if self.leads:
            made = work()
            self.wait()
            return made
        self.wait()
        return work()

    def agree_on(self, value: float) -> float:
        """Return the leader's value in every process, so that all decide alike."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return float(shared.item())

    def share_gradients(self, module: nn.Module, *, all_used: bool) -> nn.Module:
        """Return a module whose gradients are averaged over all processes.

        Args:
            module: What is trained.
            all_used: Whether every iteration uses all of its weights.
        """
        if self.size == 1:
            return module
        return nn.parallel.DistributedDataParallel(
            module,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            find_unused_parameters=not all_used,
        )


@contextmanager
def join_processes(
    environment: Mapping[str, str] = os.environ,
) -> Iterator[TrainingProcess]:
    """Join the processes that torchrun started; without torchrun there is one.

    Each process gets its own GPU if there are GPUs. On a CPU each of several
    processes should use one thread, which is torchrun's default.

    Args:
        environment: Holds torchrun's variables.

    Raises:
        OptionError: There are more processes than GPUs on this machine.
    """
    size, rank = (
        int(environment.get("WORLD_SIZE", "1")),
        int(environment.get("RANK", "0")),
    )
    local = int(environment.get("LOCAL_RANK", "0"))
    device = _device(local)
    if size == 1:
        yield TrainingProcess(rank, size, device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield TrainingProcess(rank, size, device)
    finally:
        distributed.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    """Return the GPU of that number, or the processor if there is none at all."""
    count = torch.cuda.device_count()
    if count == 0:
        return torch.device("cpu")
    if local_rank >= count:
        raise OptionError(
            f"torchrun starts process {local_rank}, but there are {count} GPUs; lower"
            " --nproc-per-node"
        )
    return torch.device("cuda", local_rank)
