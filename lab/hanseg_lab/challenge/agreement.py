"""What agrees with the paper's order of methods, and of organs, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from hanseg_lab.evaluation.methods import MetricTable
from hanseg_lab.evaluation.paper import FINAL_RANKS, PaperTable, Published
from hanseg_lab.evaluation.standing import organ_lines
from hanseg_shared.metrics.metric import Metric

HARDEST = 5
"""Organs that are named as the hardest."""


@dataclass(frozen=True, slots=True)
class OrderAgreement:
    """Pairs of methods that the paper ranks differently, by how they stand here.

    Attributes:
        same: In the paper's order here too, the better one first.
        turned: The other way round here; the paper's better one first.
        level: Ranked alike here; the paper's better one first.
        tau: Kendall's tau-b of both final ranks; None where it is not defined.
    """

    same: tuple[tuple[str, str], ...]
    turned: tuple[tuple[str, str], ...]
    level: tuple[tuple[str, str], ...]
    tau: float | None

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return len(self.same) + len(self.turned) + len(self.level)


def compare_orders(
    ours: Mapping[str, int], paper: Mapping[str, int] = FINAL_RANKS
) -> OrderAgreement:
    """Compare final ranks of the methods that both have.

    Args:
        ours: Final rank by method; 1 is best.
        paper: The same in the paper.
    """
    common = [name for name in paper if name in ours]
    found: dict[str, list[tuple[str, str]]] = {"same": [], "turned": [], "level": []}
    for one, other in combinations(common, 2):
        if paper[one] == paper[other]:
            continue
        better, worse = (one, other) if paper[one] < paper[other] else (other, one)
        step = ours[worse] - ours[better]
        kind = "same" if step > 0 else "turned" if step < 0 else "level"
        found[kind].append((better, worse))
    return OrderAgreement(
        tuple(found["same"]),
        tuple(found["turned"]),
        tuple(found["level"]),
        _tau([ours[n] for n in common], [paper[n] for n in common]),
    )


def _tau(ours: Sequence[int], paper: Sequence[int]) -> float | None:
    if len(set(ours)) < 2 or len(set(paper)) < 2:
        return None
    return float(stats.kendalltau(ours, paper).statistic)


@dataclass(frozen=True, slots=True)
class OrganAgreement:
    """How hard organs are here and in the paper, by the mean DSC of its methods.

    Attributes:
        rho: Spearman's correlation over the organs; None where it is not defined.
        hardest_here: Names, the hardest first.
        hardest_in_paper: The same in the paper.
    """

    rho: float | None
    hardest_here: tuple[str, ...]
    hardest_in_paper: tuple[str, ...]


def compare_organs(table: MetricTable, paper: PaperTable) -> OrganAgreement | None:
    """Compare organs by the mean DSC of the paper's methods that are in the table.

    Returns:
        The comparison; None without such methods or organs.
    """
    methods = [n for n, name in enumerate(table.methods) if name in paper.methods]
    organs = paper.organs(Metric.DSC)
    lines = [{each.organ: each.mean for each in organ_lines(table, n)} for n in methods]
    common = [name for name in organs if all(name in each for each in lines)]
    if not methods or not common:
        return None
    ours = {name: float(np.mean([each[name] for each in lines])) for name in common}
    theirs = {
        name: float(np.mean([line.mean for line in _lines(paper, name)]))
        for name in common
    }
    a, b = list(ours.values()), list(theirs.values())
    defined = len(set(a)) > 1 and len(set(b)) > 1
    rho = float(stats.spearmanr(a, b).statistic) if defined else None
    return OrganAgreement(rho, _hardest(ours), _hardest(theirs))


def _lines(paper: PaperTable, organ: str) -> list[Published]:
    found = (paper.find(Metric.DSC, organ, method) for method in paper.methods)
    return [line for line in found if line is not None]


def _hardest(means: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(sorted(means, key=lambda name: means[name])[:HARDEST])


def order_sentences(found: OrderAgreement) -> list[str]:
    """Return what agrees and what does not, a sentence a line."""
    if not found.pairs:
        return ["Fewer than two of the challenge's six took part: nothing to compare."]
    lines = [
        f"Of {found.pairs} pairs that the paper ranks differently, {len(found.same)} "
        f"stand in its order here, {len(found.turned)} the other way round, and "
        f"{len(found.level)} share a rank.",
    ]
    if found.tau is not None:
        lines.append(f"Kendall's tau-b of the final ranks is {found.tau:.2f}.")
    lines += [f"Agrees: {better} before {worse}." for better, worse in found.same]
    lines += [
        f"**Differs**: the paper has {better} before {worse}; here it is the other way"
        " round."
        for better, worse in found.turned
    ]
    lines += [
        f"**Differs**: the paper has {better} before {worse}; here they share a rank."
        for better, worse in found.level
    ]
    return lines


def organ_sentences(found: OrganAgreement | None) -> list[str]:
    """Return how organs compare, a sentence a line."""
    if found is None:
        return []
    lines = [
        f"Hardest organs here: {', '.join(found.hardest_here)}; in the paper:"
        f" {', '.join(found.hardest_in_paper)}."
    ]
    if found.rho is not None:
        lines.append(
            "Spearman's correlation of the organs' mean DSC, here and in the paper, is"
            f" {found.rho:.2f}."
        )
    return lines
