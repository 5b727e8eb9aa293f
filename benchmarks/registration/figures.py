"""What was asked of the registration, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from benchmarks.figure import Figure
from benchmarks.registration.groups import Group
from benchmarks.registration.runs import Row

from hanseg_lab.simulator import Reach

SUCCESS_MM = 2.0
"""A smaller mean error is a success."""

LIE_MM = 5.0
"""An MR that is used with a larger mean error would deceive."""

SAME_AS_RIGID = 1.1
"""An affine result may be so many times worse than the rigid one."""

SMALLEST_DIFFERENCE_MM = 0.01
"""Errors nearer to each other than this are the same, whatever their ratio."""


def figures(rows: Sequence[Row]) -> list[Figure]:
    """Return the table's lines for those groups that have rows."""
    tables: dict[Group, Callable[[list[Row]], list[Figure]]] = {
        Group.RIRE: _rire,
        Group.SIMULATED: _simulated,
        Group.SABOTAGED: _sabotaged,
        Group.DEFORMABLE: _deformable,
    }
    found: list[Figure] = []
    for group, table in tables.items():
        own = [row for row in rows if row.group is group]
        found += table(own) if own else []
    return [*found, *_affine(rows), *_honesty(rows)]


def errors_mm(rows: Sequence[Row]) -> list[float]:
    """Return the mean errors of the rows that have one."""
    return [row.error_mean_mm for row in rows if row.error_mean_mm is not None]


def at_most(
    name: str, value: float, limit: float, *, unit: str, count: int, of: str
) -> Figure:
    """Return the figure of a value with an upper limit."""
    return Figure(
        f"{name} ({count} {of})",
        f"<= {limit:g}{unit}",
        f"{value:.2f}{unit}",
        value <= limit,
    )


def share(name: str, done: int, total: int, *, least: float) -> Figure:
    """Return the figure of a share with a lower limit."""
    return Figure(
        name,
        f">= {100 * least:g} %",
        f"{done} of {total} ({100 * done / max(total, 1):.1f} %)",
        done >= least * total,
    )


def _rire(rows: list[Row]) -> list[Figure]:
    errors = errors_mm(rows)
    median, worst = float(np.median(errors)), max(errors)
    count, of = len(rows), "starts"
    return [
        at_most("RIRE 001, median", median, 0.70, unit=" mm", count=count, of=of),
        at_most("RIRE 001, worst", worst, 0.90, unit=" mm", count=count, of=of),
    ]


def is_short(row: Row) -> bool:
    """Whether a simulated MR is a slab of 60 to 100 mm."""
    return row.about.get("reach") == Reach.SHORT_SLAB.value


def _simulated(rows: list[Row]) -> list[Figure]:
    long = [row for row in rows if not is_short(row)]
    short = [row for row in rows if is_short(row)]
    found: list[Figure] = []
    if long:
        landed = sum(row.within(SUCCESS_MM) for row in long)
        median = float(np.median(errors_mm(long)))
        name = "simulated, whole head to 100 mm"
        found += [
            share(f"{name}, within 2 mm", landed, len(long), least=0.995),
            at_most(
                f"{name}, median", median, 0.4, unit=" mm", count=len(long), of="MRs"
            ),
        ]
    if short:
        landed = sum(row.within(SUCCESS_MM) for row in short)
        honest = sum(row.within(SUCCESS_MM) or not row.used for row in short)
        median = float(np.median(errors_mm(short)))
        name = "simulated, slabs of 60 to 100 mm"
        found += [
            share(f"{name}, within 2 mm or rejected", honest, len(short), least=0.97),
            Figure(f"{name}, within 2 mm", "", f"{landed} of {len(short)}", None),
            Figure(f"{name}, median", "", f"{median:.2f} mm", None),
        ]
    return found


def _sabotaged(rows: list[Row]) -> list[Figure]:
    def kind(row: Row) -> str:
        return str(row.about["sabotage"])

    found = []
    for name, group in groupby(sorted(rows, key=kind), key=kind):
        own = list(group)
        lies = sum(row.is_lie(LIE_MM) for row in own)
        landed = sum(row.used for row in own) - lies
        found.append(
            Figure(
                f"sabotaged: {name.replace('_', ' ')}",
                "0 used and wrong",
                f"{lies} used and wrong, {landed} used and right, "
                f"{len(own) - lies - landed} rejected, of {len(own)}",
                lies == 0,
            )
        )
    return found


def _deformable(rows: list[Row]) -> list[Figure]:
    errors = errors_mm(rows)
    folded = sum((row.smallest_determinant or 0.0) <= 0.0 for row in rows)
    return [
        at_most(
            "deformable, median of the cases' means",
            float(np.median(errors)) if errors else float("nan"),
            1.2,
            unit=" mm",
            count=len(rows),
            of="bent patients",
        ),
        Figure("deformable, folded", "0", str(folded), folded == 0),
    ]


def _affine(rows: Sequence[Row]) -> list[Figure]:
    rigid = {row.number: row for row in rows if row.group is Group.SIMULATED}
    pairs = [
        (row.error_mean_mm, rigid[row.number].error_mean_mm)
        for row in rows
        if row.group is Group.AFFINE and row.number in rigid
    ]
    ratios = [ratio(a, b) for a, b in pairs if a is not None and b is not None]
    if not ratios:
        return []
    return [
        at_most(
            "affine error, times the rigid one, worst",
            max(ratios),
            SAME_AS_RIGID,
            unit="",
            count=len(ratios),
            of="MRs with a rigid truth",
        )
    ]


def ratio(affine_mm: float, rigid_mm: float) -> float:
    """Return how many times worse one error is; 1 if the difference is nothing."""
    if affine_mm - rigid_mm <= SMALLEST_DIFFERENCE_MM:
        return min(1.0, affine_mm / max(rigid_mm, 1e-6))
    return affine_mm / max(rigid_mm, 1e-6)


def _honesty(rows: Sequence[Row]) -> list[Figure]:
    """Return how many lies there are, and how many good MRs were refused."""
    judged = [row for row in rows if row.group is not Group.DEFORMABLE]
    lies = sum(row.is_lie(LIE_MM) for row in judged)
    good = [row for row in judged if is_good(row)]
    refused = sum(not row.used for row in good)
    return [
        Figure(
            f"used, but wrong by more than {LIE_MM:g} mm ({len(judged)} cases)",
            "0",
            str(lies),
            lies == 0,
        ),
        Figure(
            "good, but rejected",
            "<= 2 %",
            f"{refused} of {len(good)} ({100 * refused / max(len(good), 1):.1f} %)",
            refused <= 0.02 * len(good),
        ),
    ]


def is_good(row: Row) -> bool:
    """Whether a registration is within 2 mm and of an MR as it should be."""
    return row.within(SUCCESS_MM) and "sabotage" not in row.about
