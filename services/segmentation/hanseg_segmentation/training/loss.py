"""The loss of partly drawn cases: cross-entropy and Dice over sets of labels.

A voxel that may be any label of a set is right when the set's probabilities sum to
one (marginal loss, Shi et al. 2021, doi 10.1016/j.media.2021.101979). Dice is
averaged over the groups that are present in a patch, so that an organ that is not
there is neither rewarded nor punished by it (Tappeiner et al. 2022,
arXiv 2201.01636).

Inside, voxels are rows: probabilities ``(voxels, labels)``, since that is how the
network's channels-last output lies in memory.
"""

from __future__ import annotations

import torch
from torch.nn import functional

SMOOTH_VOXELS = 5.0
"""Added above and below the fraction of Dice, so that a few voxels do not jump."""

SMALLEST_PROBABILITY = 1e-6
"""Added before the logarithm; keeps a surely wrong voxel's loss finite."""

ORGAN_SHARE = 0.1
"""Share of the organs' own mean in the cross-entropy. Organs fill few voxels: without
it small ones are learnt late; with much of it (0.5 was tried) all get too large."""


def set_probability(probabilities: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Return the probability that each voxel's label is in its set.

    Args:
        probabilities: ``(voxels, labels)``.
        allowed: Label sets as bits, int32 ``(voxels,)``.

    Returns:
        Shape ``(voxels,)``.
    """
    sets, rows = torch.unique(allowed, return_inverse=True)
    members = _members(sets, probabilities.shape[1])
    if bool((members.sum(dim=1) == 1).all()):
        truth = members.argmax(dim=1)[rows]
        return probabilities.gather(1, truth[:, None])[:, 0]
    return (probabilities * members[rows]).sum(dim=1)


def set_dice_loss(
    probabilities: torch.Tensor, allowed: torch.Tensor, groups: torch.Tensor
) -> torch.Tensor:
    """Return 1 - Dice, averaged over the groups that one patch shows; 0 if none.

    A voxel counts for a group if its set lies inside the group, against it if they
    share no label, and not at all otherwise. Probabilities are first summed over the
    voxels of each set, of which there are few.

    Args:
        probabilities: ``(voxels, labels)``.
        allowed: Label sets as bits, int32 ``(voxels,)``.
        groups: Sets of labels scored as one, int32 ``(groups,)``.
    """
    sets, rows = torch.unique(allowed, return_inverse=True)
    positive = (sets[:, None] & ~groups) == 0
    shown = positive.any(dim=0)
    if not bool(shown.any()):
        return probabilities.sum() * 0.0
    positive, wanted = positive[:, shown], groups[shown]
    counted = positive | ((sets[:, None] & wanted) == 0)
    size = probabilities.shape[1]
    sums = torch.zeros(len(sets), size).index_add(0, rows, probabilities)
    share = sums @ _members(wanted, size).T
    voxels = torch.bincount(rows, minlength=len(sets)).to(share.dtype)
    both = (share * positive).sum(dim=0)
    total = (share * counted).sum(dim=0) + voxels @ positive.to(share.dtype)
    dice = (2 * both + SMOOTH_VOXELS) / (total + SMOOTH_VOXELS)
    return 1 - dice.mean()


def training_loss(
    logits: torch.Tensor, allowed: torch.Tensor, groups: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean cross-entropy and the mean Dice loss of a batch.

    Cross-entropy is the mean over all voxels, with a small share of the mean over
    organs' voxels (`ORGAN_SHARE`).

    Args:
        logits: ``(N, labels, D, H, W)``, best in channels-last memory.
        allowed: Label sets as bits, int32 ``(N, D, H, W)``.
        groups: For each patch, the sets that are scored as one organ.
    """
    entropies, losses = [], []
    for scores, sets, wanted in zip(logits, allowed, groups, strict=True):
        rows = scores.permute(1, 2, 3, 0).reshape(-1, len(scores)).float()
        probabilities = functional.softmax(rows, dim=1)
        flat = sets.reshape(-1)
        chance = set_probability(probabilities, flat) + SMALLEST_PROBABILITY
        entropies.append(_balanced_mean(-chance.log(), (flat & 1) == 0))
        losses.append(set_dice_loss(probabilities, flat, wanted))
    return torch.stack(entropies).mean(), torch.stack(losses).mean()


def _members(sets: torch.Tensor, size: int) -> torch.Tensor:
    """Return which of `size` labels each set holds, as 0 and 1, ``(sets, size)``."""
    labels = torch.arange(size, dtype=torch.int32)
    return ((sets[:, None] >> labels) & 1).float()


def _balanced_mean(entropy: torch.Tensor, organs: torch.Tensor) -> torch.Tensor:
    weight = organs.to(entropy.dtype)
    inside = torch.dot(entropy, weight) / weight.sum().clamp(min=1)
    return (1 - ORGAN_SHARE) * entropy.mean() + ORGAN_SHARE * inside
