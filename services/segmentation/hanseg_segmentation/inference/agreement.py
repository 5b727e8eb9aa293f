"""How much several answers to one tile agree: of folds, and of mirrored passes.

A model that was trained five times, and contradicts itself about an organ, knows less
than the mean of its answers shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch


@dataclass(slots=True, eq=False)
class Agreement:
    """Counts votes of voxels, tile by tile.

    Attributes:
        channels: Output channels of the network.
        votes: How often each channel was voted for, ``(channels,)``.
        pairs: How many ordered pairs of answers voted for it at one voxel.
        answers: How many answers each tile got; 0 before the first.
    """

    channels: int
    answers: int = 0
    votes: npt.NDArray[np.int64] = field(init=False)
    pairs: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.votes = np.zeros(self.channels, dtype=np.int64)
        self.pairs = np.zeros(self.channels, dtype=np.int64)

    def add(self, winners: Sequence[torch.Tensor]) -> None:
        """Count the answers to a tile.

        Args:
            winners: The best channel of each voxel by each answer, integers of one
                shape, and always as many.

        Raises:
            ValueError: There are more or fewer answers than before.
        """
        if self.answers not in {0, len(winners)}:
            raise ValueError(f"{len(winners)} answers after {self.answers}")
        self.answers = len(winners)
        flat = [each.reshape(-1).long() for each in winners]
        for number, one in enumerate(flat):
            self.votes += self._count(one)
            for other in flat[:number]:
                self.pairs += 2 * self._count(one[one == other])

    def take(self, other: Agreement) -> None:
        """Become another count, such as that of the attempt that succeeded."""
        self.answers = other.answers
        self.votes, self.pairs = other.votes, other.pairs

    def of_channels(self) -> npt.NDArray[np.float64]:
        """Return the mean Dice of each two answers, pooled over voxels, by channel.

        With two answers it is their Dice. NaN for channels that nobody voted for, and
        for all of them unless there were two answers.
        """
        result = np.full(self.channels, np.nan)
        if self.answers > 1:
            possible = self.votes * (self.answers - 1)
            np.divide(self.pairs, possible, out=result, where=possible > 0)
        return result

    def _count(self, winners: torch.Tensor) -> npt.NDArray[np.int64]:
        counts: npt.NDArray[np.int64] = (
            torch.bincount(winners, minlength=self.channels).cpu().numpy()
        )
        return counts
