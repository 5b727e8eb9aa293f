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

import math

import torch
from torch.nn import functional

SMOOTH_VOXELS = 5.0
"""Added above and below the fraction of Dice, so that a few voxels do not jump."""

SMALLEST_PROBABILITY = 1e-6
"""Added before the logarithm; keeps a surely wrong voxel's loss finite."""

PLAUSIBLE_SIZE = (0.5, 1.6)
"""Smallest and largest plausible share of an organ's usual size."""

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


def size_loss(
    probabilities: torch.Tensor, allowed: torch.Tensor, sizes: torch.Tensor
) -> torch.Tensor:
    """Return how far organs that are surely there are from any plausible size.

    Without it a network learns to find organs that nobody drew in real cases in
    simulated patients alone. A label's size is the sum of its probability over the
    voxels that may be it (Kervadec et al. 2019, doi 10.1016/j.media.2019.02.009);
    the loss is the logarithm of the factor by which it is too small or too large. It
    is too small by the sum of squares, which a faint haze does not satisfy.

    Args:
        probabilities: ``(voxels, labels)``.
        allowed: Label sets as bits, int32 ``(voxels,)``.
        sizes: Usual size of each label in voxels, 0 if unknown, ``(labels,)``.
    """
    known = sizes > 0
    if not bool(known.any()):
        return probabilities.sum() * 0.0
    sets, rows = torch.unique(allowed, return_inverse=True)
    count = probabilities.shape[1]
    may = _members(sets, count)[:, known]
    usual, chances = sizes[known], probabilities[:, known]

    def log_ratio(values: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(len(sets), len(usual)).index_add(0, rows, values)
        return (((sums * may).sum(dim=0) + SMALLEST_PROBABILITY) / usual).log()

    low, high = (math.log(factor) for factor in PLAUSIBLE_SIZE)
    too_small = (low - log_ratio(chances.square())).clamp(min=0)
    too_large = (log_ratio(chances) - high).clamp(min=0)
    return (too_small + too_large).mean()


def training_loss(
    logits: torch.Tensor,
    allowed: torch.Tensor,
    groups: list[torch.Tensor],
    sizes: list[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the means of cross-entropy, Dice loss and size loss of a batch.

    Cross-entropy is the mean over all voxels, with a small share of the mean over
    organs' voxels (`ORGAN_SHARE`).

    Args:
        logits: ``(N, labels, D, H, W)``, best in channels-last memory.
        allowed: Label sets as bits, int32 ``(N, D, H, W)``.
        groups: For each patch, the sets that are scored as one organ.
        sizes: For each patch, the usual sizes of labels that are surely there.
    """
    entropies, losses, misfits = [], [], []
    for scores, sets, wanted, usual in zip(logits, allowed, groups, sizes, strict=True):
        rows = scores.permute(1, 2, 3, 0).reshape(-1, len(scores)).float()
        probabilities = functional.softmax(rows, dim=1)
        flat = sets.reshape(-1)
        chance = set_probability(probabilities, flat) + SMALLEST_PROBABILITY
        entropies.append(_balanced_mean(-chance.log(), (flat & 1) == 0))
        losses.append(set_dice_loss(probabilities, flat, wanted))
        misfits.append(size_loss(probabilities, flat, usual))
    means = (torch.stack(each).mean() for each in (entropies, losses, misfits))
    entropy, dice, misfit = means
    return entropy, dice, misfit


def _members(sets: torch.Tensor, size: int) -> torch.Tensor:
    """Return which of `size` labels each set holds, as 0 and 1, ``(sets, size)``."""
    labels = torch.arange(size, dtype=torch.int32)
    return ((sets[:, None] >> labels) & 1).float()


def _balanced_mean(entropy: torch.Tensor, organs: torch.Tensor) -> torch.Tensor:
    weight = organs.to(entropy.dtype)
    inside = torch.dot(entropy, weight) / weight.sum().clamp(min=1)
    return (1 - ORGAN_SHARE) * entropy.mean() + ORGAN_SHARE * inside
