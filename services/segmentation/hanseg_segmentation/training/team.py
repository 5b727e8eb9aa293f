"""Several processes that train one network, each on patches of its own.

On a processor, a process of one thread a core learns more an hour than one process
of many threads: threads wait for each other at every operation, processes only once
an iteration, when they average their gradients.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn


@dataclass(frozen=True, slots=True)
class Team:
    """A process's place among those that train together.

    Attributes:
        rank: This process, from 0; the first one writes the files.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes log and checkpoints."""
        return self.rank == 0

    def share_gradients(self, network: nn.Module, seconds: float) -> float:
        """Replace gradients by the team's mean, in place; return the mean seconds.

        The time goes the same way, so that all agree on the schedule and on the end.
        """
        if self.size == 1:
            return seconds
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([seconds])])
        distributed.all_reduce(flat)
        flat /= self.size
        sizes = [*(g.numel() for g in gradients), 1]
        *parts, clock = torch.split(flat, sizes)
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return clock.item()


def run_team(size: int, work: Callable[[Team], None]) -> None:
    """Run `work` in that many processes, or here if it is one.

    Args:
        size: How many processes.
        work: A picklable function; told its place.

    Raises:
        torch.multiprocessing.ProcessRaisedException: One failed; all are ended.
    """
    if size == 1:
        work(Team())
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "team")
        spawn(_member, (size, meeting, work), nprocs=size)  # type: ignore[no-untyped-call]


def _member(rank: int, size: int, meeting: str, work: Callable[[Team], None]) -> None:
    # torch sends SIGINT when the parent dies; a background shell may have it ignored
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with _joined(rank, size, meeting):
        work(Team(rank, size))


@contextmanager
def _joined(rank: int, size: int, meeting: str) -> Iterator[None]:
    """Join the others of this machine, over the loop-back interface."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=size
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()
