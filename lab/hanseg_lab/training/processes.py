"""The processes that train one network together, as torchrun starts them.

    torchrun --nproc-per-node 4 --no-python hanseg train eli1 --data DIR --out DIR

Without torchrun there is one. Each teaches on patches of its own; their gradients are
averaged by PyTorch's DistributedDataParallel.
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
class Place:
    """A process's place among those that train together.

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
        """Return what every process makes, the leader before all others.

        What the leader leaves in files need not be made again.
        """
        if self.leads:
            made = work()
            self.wait()
            return made
        self.wait()
        return work()

    def agreed(self, value: float) -> float:
        """Return the leader's value, so that all decide alike."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return float(shared.item())

    def shared(self, module: nn.Module, *, all_used: bool) -> nn.Module:
        """Return a module whose gradients are the mean of all processes'.

        Args:
            module: What learns.
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
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[Place]:
    """Join the processes that torchrun started, or be alone without it.

    A process gets a GPU of its own if there is any; several on a processor should
    have one thread each, which is what torchrun gives them.

    Args:
        environment: Where torchrun's variables are.

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
        yield Place(rank, size, device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Place(rank, size, device)
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
