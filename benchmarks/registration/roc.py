"""How well each number of the verdict tells good registrations from bad ones.

Good is an MR as it should be, within 2 mm of its truth; bad is one that is wrong by
more than 5 mm, or that has no right place. What lies between is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from benchmarks.registration.figures import LIE_MM, is_good
from benchmarks.registration.groups import Group
from benchmarks.registration.runs import Row

GOOD_TO_LOSE = 0.02
"""Share of good registrations that a threshold may reject."""

FEWEST = 10
"""With fewer good or bad values a curve says nothing."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """What one number can do alone.

    Attributes:
        measure: Its name.
        good, bad: How many registrations of each kind have it.
        area: Under the ROC curve: 1 parts them perfectly, 0.5 not at all.
        larger_is_better: Which side of a threshold is the good one.
        threshold: The strictest one that rejects at most `GOOD_TO_LOSE` of the good.
        bad_accepted: Share of the bad that it accepts.
        good_rejected: Share of the good that it rejects.
    """

    measure: str
    good: int
    bad: int
    area: float
    larger_is_better: bool
    threshold: float
    bad_accepted: float
    good_rejected: float


def curves(rows: Sequence[Row]) -> list[Curve]:
    """Return the curve of every number that enough rows have, the best ones first."""
    good, bad = parted(rows)
    names = sorted({name for row in [*good, *bad] for name in numbers(row)})
    found = []
    for name in names:
        values = [
            np.array([numbers(row)[name] for row in part if name in numbers(row)])
            for part in (good, bad)
        ]
        if min(len(part) for part in values) >= FEWEST:
            found.append(curve(name, *values))
    return sorted(found, key=lambda each: (-each.area, each.measure))


def parted(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the good and the bad registrations among rigid ones."""
    left_out = (Group.AFFINE, Group.DEFORMABLE)
    judged = [row for row in rows if row.group not in left_out]
    good = [row for row in judged if is_good(row)]
    bad = [row for row in judged if not row.within(LIE_MM)]
    return good, bad


def numbers(row: Row) -> dict[str, float]:
    """Return a row's measures, and the mirror image's similarity as a share."""
    found = dict(row.measures)
    if "similarity_mirrored" in found and found.get("similarity_after", 0.0) > 0:
        share = found["similarity_mirrored"] / found["similarity_after"]
        found["similarity_mirrored / similarity_after"] = share
    return found


def curve(measure: str, good: Values, bad: Values) -> Curve:
    """Return the curve of one number's values, each of shape ``(n,)``."""
    area = area_under(good, bad)
    larger = area >= 0.5
    sign = 1.0 if larger else -1.0
    threshold = sign * float(np.quantile(sign * good, GOOD_TO_LOSE, method="lower"))
    return Curve(
        measure=measure,
        good=len(good),
        bad=len(bad),
        area=max(area, 1.0 - area),
        larger_is_better=larger,
        threshold=threshold,
        bad_accepted=float((sign * bad >= sign * threshold).mean()),
        good_rejected=float((sign * good < sign * threshold).mean()),
    )


def area_under(good: Values, bad: Values) -> float:
    """Return the chance that a good value exceeds a bad one, ties counting half."""
    wins = (good[:, None] > bad[None, :]).mean()
    ties = (good[:, None] == bad[None, :]).mean()
    return float(wins + ties / 2.0)


def table(rows: Sequence[Row]) -> str:
    """Return the curves as a Markdown table; the verdict as a whole comes last."""
    lines = [
        "| number alone | area under ROC | keeps 98 % of the good if | bad accepted "
        "then | good, bad |",
        "|---|---|---|---|---|",
    ]
    for each in curves(rows):
        side = ">=" if each.larger_is_better else "<="
        lines.append(
            f"| `{each.measure}` | {each.area:.3f} | {side} {each.threshold:.3g} | "
            f"{100 * each.bad_accepted:.1f} % | {each.good}, {each.bad} |"
        )
    good, bad = parted(rows)
    if good and bad:
        lost = sum(not row.used for row in good) / len(good)
        passed = sum(row.used for row in bad) / len(bad)
        lines.append(
            f"| **the verdict, all together** | | rejects {100 * lost:.1f} % of the "
            f"good | {100 * passed:.1f} % | {len(good)}, {len(bad)} |"
        )
    return "\n".join(lines)
