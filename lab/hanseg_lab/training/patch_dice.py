"""Dice of organs over patches of partly contoured cases: what a loss does not say.

A loss has the recipe's own weights and counts organs that a patch does not show; Dice
is the same for every recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from hanseg_lab.training.training_batches import TrainingBatch


@dataclass(slots=True, eq=False)
class PatchDice:
    """Counts voxels of groups of labels over any number of patches.

    Attributes:
        shared: By group, voxels that are surely its, and were found.
        total: By group, voxels that are surely its, and those that were found where it
            is known whether they are.
    """

    shared: dict[int, int] = field(default_factory=dict)
    total: dict[int, int] = field(default_factory=dict)

    def add(self, found: torch.Tensor, batch: TrainingBatch) -> None:
        """Count a batch.

        Args:
            found: The label that was found at each voxel, ``(N, D, H, W)``.
            batch: Where the labels may be; one about an organ counts for that alone.
        """
        bits = torch.ones_like(batch.allowed) << found.to(torch.int32)
        for sets, one, groups in zip(batch.allowed, bits, batch.groups, strict=True):
            wanted = groups.tolist() if not batch.organ else [1 << batch.organ]
            for group in wanted:
                self._count(sets, (one & group) != 0, group)

    def _count(self, sets: torch.Tensor, found: torch.Tensor, group: int) -> None:
        sure = (sets & ~group) == 0
        known = sure | ((sets & group) == 0)
        shared = int((found & sure).sum())
        total = int(sure.sum()) + int((found & known).sum())
        self.shared[group] = self.shared.get(group, 0) + shared
        self.total[group] = self.total.get(group, 0) + total

    def mean(self) -> float | None:
        """Return the mean Dice of the groups that were shown or found; None of none."""
        values = [
            2 * self.shared[group] / total
            for group, total in self.total.items()
            if total > 0
        ]
        return sum(values) / len(values) if values else None
