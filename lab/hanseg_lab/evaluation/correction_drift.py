"""Whether corrections grow over time: one course an organ, and what it says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from hanseg_lab.evaluation.feedback import write_corrections
from hanseg_lab.evaluation.output import all_or_nothing
from hanseg_lab.evaluation.page import ReportPage
from hanseg_lab.evaluation.pictures import course_picture
from hanseg_shared.errors import InputError
from hanseg_shared.organs import ORGANS
from hanseg_shared.review.documents import Correction

FEWEST_FOR_TREND = 6
"""With fewer corrections no trend is worked out."""

CONFIDENCE = 0.95
"""Of the interval that a trend must leave zero outside."""

DAYS_OF_TREND = 100.0
"""Trends are given over so many days."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How one organ's corrections went.

    Attributes:
        organ: Its name.
        count: Corrections.
        median_surface_dice: Over all of them.
        last_surface_dice: Of the newest.
        median_added_path_mm: Over all of them.
        median_volume_change_ml: Over all of them.
        trend: Change of the surface Dice in `DAYS_OF_TREND` days (Theil and Sen's
            median slope); None with too few, or all on one day.
        worsens: Whether the trend's confidence interval lies below zero.
    """

    organ: str
    count: int
    median_surface_dice: float
    last_surface_dice: float
    median_added_path_mm: float
    median_volume_change_ml: float
    trend: float | None
    worsens: bool


def drifts(history: Iterable[Correction]) -> list[Drift]:
    """Return the drift of each organ that was ever corrected, in order of labels."""
    by_organ: dict[str, list[Correction]] = {}
    for change in history:
        by_organ.setdefault(change.organ, []).append(change)
    return [_drift(by_organ[o.name]) for o in ORGANS if o.name in by_organ]


def write_drift(history: list[Correction], folder: Path) -> None:
    """Write `drift.html`, the courses as pictures, and `corrections.csv`.

    Raises:
        InputError: Nothing was corrected yet.
    """
    if not history:
        raise InputError(
            "the service knows of no corrections: send some (hanseg feedback JOB "
            "CORRECTED), or correct organs in its page"
        )
    pictures = {
        "drift_surface_dice": _courses(history, "surface_dice", "surface Dice"),
        "drift_added_path": _courses(
            history, "added_path_mm", "added path length [mm]"
        ),
        "drift_volume": _courses(history, "volume_change_ml", "volume change [ml]"),
    }
    page = ReportPage("Corrections over time")
    page.paragraph(
        f"{len({change.job for change in history})} jobs, from "
        f"{history[0].judged_at:%Y-%m-%d} to {history[-1].judged_at:%Y-%m-%d}."
    )
    header, *rows = drift_rows(drifts(history))
    page.table(header, rows)
    page.note(
        f"Trend: median slope (Theil and Sen) in {DAYS_OF_TREND:.0f} days, from "
        f"{FEWEST_FOR_TREND} corrections on; 'worse' where its {100 * CONFIDENCE:.0f} "
        "% confidence interval lies below zero."
    )
    for name, png in pictures.items():
        page.picture(png, what=name)
    with all_or_nothing(folder) as draft:
        write_corrections(history, draft / "corrections.csv")
        (draft / "drift.html").write_text(page.render(), encoding="utf-8")
        for name, png in pictures.items():
            (draft / f"{name}.png").write_bytes(png)


def drift_rows(found: Iterable[Drift]) -> list[list[str]]:
    """Return the drifts as rows of cells, the header first."""
    header = [
        "organ",
        "corrections",
        "surface DSC %, median",
        "newest",
        "added path mm, median",
        "volume change ml, median",
        f"trend %/{DAYS_OF_TREND:.0f} d",
        "",
    ]
    return [header, *(_row(each) for each in found)]


def _row(drift: Drift) -> list[str]:
    return [
        drift.organ,
        str(drift.count),
        f"{100 * drift.median_surface_dice:.1f}",
        f"{100 * drift.last_surface_dice:.1f}",
        f"{drift.median_added_path_mm:.0f}",
        f"{drift.median_volume_change_ml:+.2f}",
        "-" if drift.trend is None else f"{100 * drift.trend:+.1f}",
        "worse" if drift.worsens else "",
    ]


def _drift(changes: list[Correction]) -> Drift:
    trend, worsens = _trend(changes)
    return Drift(
        organ=changes[0].organ,
        count=len(changes),
        median_surface_dice=_median(change.surface_dice for change in changes),
        last_surface_dice=changes[-1].surface_dice,
        median_added_path_mm=_median(change.added_path_mm for change in changes),
        median_volume_change_ml=_median(change.volume_change_ml for change in changes),
        trend=trend,
        worsens=worsens,
    )


def _trend(changes: list[Correction]) -> tuple[float | None, bool]:
    days = [change.judged_at.timestamp() / 86400.0 for change in changes]
    if len(changes) < FEWEST_FOR_TREND or max(days) == min(days):
        return None, False
    values = [change.surface_dice for change in changes]
    slope = stats.theilslopes(values, days, alpha=CONFIDENCE)
    return float(slope.slope) * DAYS_OF_TREND, bool(slope.high_slope < 0)


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def _courses(history: list[Correction], attribute: str, label: str) -> bytes:
    first = history[0].judged_at
    courses: dict[str, list[tuple[float, float]]] = {}
    for organ in (each.name for each in ORGANS):
        course = [
            ((x.judged_at - first).total_seconds() / 86400.0, getattr(x, attribute))
            for x in history
            if x.organ == organ
        ]
        if course:
            courses[organ] = course
    return course_picture(courses, label=label, ticks=f"days since {first:%Y-%m-%d}")
