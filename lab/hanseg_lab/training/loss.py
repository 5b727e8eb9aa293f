"""The loss of partly contoured cases: cross-entropy and Dice over sets of labels.

A voxel that may be any label of a set is right when the set's probabilities sum to
one (marginal loss, Shi et al. 2021, doi 10.1016/j.media.2021.101979). Dice is
averaged over the groups that are present in a patch, so that an organ that is not
there is neither rewarded nor punished by it (Tappeiner et al. 2022,
arXiv 2201.01636); `LossSettings` has the alternatives.

Inside, voxels are rows: probabilities ``(voxels, labels)``, since that is how the
network's channels-last output lies in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

SMALLEST_PROBABILITY = 1e-6
"""Added before the logarithm; keeps a surely wrong voxel's loss finite."""

PLAUSIBLE_SIZE = (0.5, 1.6)
"""Smallest and largest plausible share of an organ's usual size."""


@dataclass(frozen=True, slots=True)
class LossSettings:
    """What the loss is made of.

    Attributes:
        dice: Over which groups Dice is averaged: those ``present`` in the patch, or
            all ``known`` ones of the case, where an organ that is not there costs
            the probability it is given (nnU-Net).
        smooth_voxels: Added above and below the fraction of Dice. With as much as a
            small organ has voxels, finding it is hardly worth anything.
        organ_share: Share of the organs' own mean in the cross-entropy, each organ
            counted alike. Organs fill few voxels: without it small ones are learned
            late; with much of it (0.5 was tried) all get too large.
        size_weight: Weight of the size loss beside cross-entropy and Dice.
        hard_share: How much voxels that are wrong count more in Dice, 0 to 1: the
            lambda of Lei et al. 2021, arXiv 2102.01897.
        focal_power: The gamma of Lin et al. 2017, arXiv 1708.02002; 0 is plain
            cross-entropy.
        deep_supervision: Whether coarser outputs of the network are supervised too,
            with half the weight a level, the coarsest left out (nnU-Net).
    """

    dice: Literal["present", "known"] = "present"
    smooth_voxels: float = 1.0
    organ_share: float = 0.1
    size_weight: float = 0.2
    hard_share: float = 0.0
    focal_power: float = 0.0
    deep_supervision: bool = False


DEFAULT_LOSS = LossSettings()


@dataclass(frozen=True, slots=True)
class Losses:
    """The means over a batch of each part of the loss, as scalars."""

    cross_entropy: torch.Tensor
    dice: torch.Tensor
    size: torch.Tensor

    def total(self, settings: LossSettings) -> torch.Tensor:
        """Return their weighted sum."""
        return self.cross_entropy + self.dice + settings.size_weight * self.size


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
    probabilities: torch.Tensor,
    allowed: torch.Tensor,
    groups: torch.Tensor,
    *,
    settings: LossSettings = DEFAULT_LOSS,
) -> torch.Tensor:
    """Return 1 - Dice, averaged over groups of one patch; 0 if there is none.

    A voxel counts for a group if its set lies inside the group, against it if they
    share no label, and not at all otherwise. Probabilities are first summed over the
    voxels of each set, of which there are few.

    Args:
        probabilities: ``(voxels, labels)``.
        allowed: Label sets as bits, int32 ``(voxels,)``.
        groups: Sets of labels scored as one, int32 ``(groups,)``.
        settings: Which groups count, and how.
    """
    sets, rows = torch.unique(allowed, return_inverse=True)
    positive = (sets[:, None] & ~groups) == 0
    shown = positive.any(dim=0) | (settings.dice == "known")
    if not bool(shown.any()):
        return probabilities.sum() * 0.0
    positive, wanted = positive[:, shown], groups[shown]
    counted = positive | ((sets[:, None] & wanted) == 0)
    members = _members(wanted, probabilities.shape[1])
    if settings.hard_share:
        truth, counts = positive[rows].float(), counted[rows].float()
        both, total = _hard_overlap(
            probabilities @ members.T, truth, counts, settings.hard_share
        )
    else:
        share = _sums_of_rows(probabilities, rows, len(sets)) @ members.T
        voxels = torch.bincount(rows, minlength=len(sets)).to(share.dtype)
        both = (share * positive).sum(dim=0)
        total = (share * counted).sum(dim=0) + voxels @ positive.to(share.dtype)
    smooth = settings.smooth_voxels
    return 1 - ((2 * both + smooth) / (total + smooth)).mean()


def _hard_overlap(
    share: torch.Tensor, truth: torch.Tensor, counts: torch.Tensor, hard_share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return twofold Dice's overlap and total, wrong voxels counted more.

    Args:
        share: Probability of each group, ``(voxels, groups)``.
        truth: 1 where a voxel is the group's.
        counts: 1 where a voxel counts for the group at all.
        hard_share: From 0, all alike, to 1, only what is wrong.
    """
    wrong = (share.detach() - truth).abs()
    weight = counts * (hard_share * wrong + 1 - hard_share)
    return (weight * share * truth).sum(dim=0), (weight * (share + truth)).sum(dim=0)


def _sums_of_rows(values: torch.Tensor, rows: torch.Tensor, count: int) -> torch.Tensor:
    """Return the sums ``(count, columns)`` of values that share a row number."""
    zeros = torch.zeros(count, values.shape[1], device=values.device)
    return zeros.index_add(0, rows, values)


def size_loss(
    probabilities: torch.Tensor, allowed: torch.Tensor, sizes: torch.Tensor
) -> torch.Tensor:
    """Return how far organs that are surely there are from any plausible size.

    Without it a network finds organs that have no contour in real cases only in
    simulated patients. A label's size is the sum of its probability over the
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
        sums = _sums_of_rows(values, rows, len(sets))
        return (((sums * may).sum(dim=0) + SMALLEST_PROBABILITY) / usual).log()

    low, high = (math.log(factor) for factor in PLAUSIBLE_SIZE)
    too_small = (low - log_ratio(chances.square())).clamp(min=0)
    too_large = (log_ratio(chances) - high).clamp(min=0)
    return (too_small + too_large).mean()


def training_loss(
    logits: torch.Tensor,
    allowed: torch.Tensor,
    groups: Sequence[torch.Tensor],
    sizes: Sequence[torch.Tensor],
    *,
    settings: LossSettings = DEFAULT_LOSS,
) -> Losses:
    """Return the means of cross-entropy, Dice loss and size loss of a batch.

    Args:
        logits: ``(N, labels, D, H, W)``, best in channels-last memory.
        allowed: Label sets as bits, int32 ``(N, D, H, W)``.
        groups: For each patch, the sets that are scored as one organ.
        sizes: For each patch, the usual sizes of labels that are surely there.
        settings: What the loss is made of.
    """
    entropies, losses, misfits = [], [], []
    for scores, sets, wanted, usual in zip(logits, allowed, groups, sizes, strict=True):
        rows = scores.permute(1, 2, 3, 0).reshape(-1, len(scores)).float()
        probabilities = functional.softmax(rows, dim=1)
        flat = sets.reshape(-1)
        chance = set_probability(probabilities, flat) + SMALLEST_PROBABILITY
        entropy = -chance.log()
        if settings.focal_power:
            entropy = entropy * (1 - chance).clamp(min=0) ** settings.focal_power
        entropies.append(
            _balanced_mean(entropy, flat, wanted, organ_share=settings.organ_share)
        )
        losses.append(set_dice_loss(probabilities, flat, wanted, settings=settings))
        misfits.append(size_loss(probabilities, flat, usual))
    return Losses(*(torch.stack(each).mean() for each in (entropies, losses, misfits)))


def supervised_loss(
    scales: Sequence[torch.Tensor],
    allowed: torch.Tensor,
    groups: Sequence[torch.Tensor],
    sizes: Sequence[torch.Tensor],
    *,
    settings: LossSettings = DEFAULT_LOSS,
) -> Losses:
    """Return the losses of a network's outputs at several resolutions.

    A coarser output is compared with every so many-th voxel, and says nothing about
    sizes. Each level weighs half as much as the one before; the coarsest of several
    is left out (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z).

    Args:
        scales: Logits from full resolution down; a single one is `training_loss`.
        allowed: Label sets at full resolution; see `training_loss`.
        groups: See there.
        sizes: See there.
        settings: See there.
    """
    full = training_loss(scales[0], allowed, groups, sizes, settings=settings)
    used = scales[: max(1, len(scales) - 1)]
    unknown = [torch.zeros_like(each) for each in sizes]
    entropy, dice, weights = full.cross_entropy, full.dice, 1.0
    for level, logits in enumerate(used[1:], start=1):
        steps = [
            a // b for a, b in zip(allowed.shape[1:], logits.shape[2:], strict=True)
        ]
        coarse = allowed[:, :: steps[0], :: steps[1], :: steps[2]]
        found = training_loss(logits, coarse, groups, unknown, settings=settings)
        weight = 0.5**level
        entropy = entropy + weight * found.cross_entropy
        dice = dice + weight * found.dice
        weights += weight
    return Losses(entropy / weights, dice / weights, full.size)


def binary_loss(
    logits: torch.Tensor,
    truth: torch.Tensor,
    counts: torch.Tensor,
    *,
    settings: LossSettings = DEFAULT_LOSS,
) -> Losses:
    """Return the losses of one organ's own network.

    Args:
        logits: Of the organ against everything else, ``(N, D, H, W)``.
        truth: 1 where it is the organ.
        counts: 0 where nobody knows.
        settings: What the loss is made of; Dice is of every patch that shows the
            organ, or of all (`LossSettings.dice`).
    """
    scores, truth, counts = (
        each.float().reshape(len(logits), -1) for each in (logits, truth, counts)
    )
    entropy = functional.binary_cross_entropy_with_logits(
        scores, truth, reduction="none"
    )
    chances = torch.sigmoid(scores) * counts
    both, total = (chances * truth).sum(dim=1), (chances + truth * counts).sum(dim=1)
    smooth = settings.smooth_voxels
    dice = 1 - (2 * both + smooth) / (total + smooth)
    scored = (truth.sum(dim=1) > 0) | (settings.dice == "known")
    mean = (entropy * counts).sum() / counts.sum().clamp(min=1)
    return Losses(
        mean, (dice * scored).sum() / scored.sum().clamp(min=1), scores.sum() * 0.0
    )


def _members(sets: torch.Tensor, size: int) -> torch.Tensor:
    """Return which of `size` labels each set holds, as 0 and 1, ``(sets, size)``."""
    labels = torch.arange(size, dtype=torch.int32, device=sets.device)
    return ((sets[:, None] >> labels) & 1).float()


def _balanced_mean(
    entropy: torch.Tensor,
    allowed: torch.Tensor,
    groups: torch.Tensor,
    *,
    organ_share: float,
) -> torch.Tensor:
    """Return the mean over voxels, with a share of the mean over the groups' means."""
    sets, rows = torch.unique(allowed, return_inverse=True)
    inside = ((sets[:, None] & ~groups) == 0).to(entropy.dtype)
    shown = inside[:, inside.any(dim=0)]
    if shown.shape[1] == 0:
        return (1 - organ_share) * entropy.mean()
    sums = _sums_of_rows(entropy[:, None], rows, len(sets))[:, 0]
    voxels = torch.bincount(rows, minlength=len(sets)).to(entropy.dtype)
    organs = ((sums @ shown) / (voxels @ shown)).mean()
    return (1 - organ_share) * entropy.mean() + organ_share * organs
