"""Sums by day made into what the statistics say: periods with counts and means."""

from __future__ import annotations

import importlib.resources
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from hanseg_shared.csv_cells import safe_row
from hanseg_shared.document import Document
from hanseg_shared.jobs.tables.statistics import WHOLE_JOB
from hanseg_shared.organs import ORGANS
from hanseg_shared.review.documents import Correction

SumsByDay = Mapping[tuple[int, str], Mapping[int, float]]

EPOCH = date(1970, 1, 1)


class Interval(StrEnum):
    """How long a period is."""

    DAY = "day"
    WEEK = "week"
    """From Monday on."""

    MONTH = "month"
    ALL = "all"
    """All in one."""


class JobPeriod(Document):
    """What became of the jobs of a period.

    Attributes:
        period: Its first day; None of all together.
        jobs: How many ended.
        states: How they ended.
        mr: What became of their MRs.
        registrations: What was said of registrations.
        signed: How many are signed.
        seconds: Mean time of each stage.
    """

    period: date | None
    jobs: int
    states: dict[str, int]
    mr: dict[str, int]
    registrations: dict[str, int]
    signed: int
    seconds: dict[str, float]


class OrganPeriod(Document):
    """What became of an organ in a period.

    Attributes:
        period: Its first day; None of all together.
        statuses: How often it had each status.
        flagged: How many of its contours had a flag.
        flags: How often each was raised.
        contours: How many contours there are.
        mean_ml: Mean volume; None without a contour.
        sd_ml: Standard deviation of volumes; None with fewer than two.
        accepted: Contours that were accepted.
        rejected: Those that were rejected.
        edited: Those that were corrected.
        accept_rate: Share of the accepted among those judged; None without any.
        dice: Mean of the corrected with the model's own; None without any.
        surface_dice: Likewise, at the organ's tolerance.
        added_path_mm: Mean contour that had to be drawn.
        volume_change_ml: Mean by which corrections made the organ larger.
    """

    period: date | None
    statuses: dict[str, int]
    flagged: int
    flags: dict[str, int]
    contours: int
    mean_ml: float | None
    sd_ml: float | None
    accepted: int
    rejected: int
    edited: int
    accept_rate: float | None
    dice: float | None
    surface_dice: float | None
    added_path_mm: float | None
    volume_change_ml: float | None


class OrganStatistics(Document):
    """What became of an organ.

    Attributes:
        organ: Its name.
        smallest_ml: Least volume that is plausible; None where none is stated.
        largest_ml: Most volume that is.
        total: Over all periods.
        periods: Those in which there were jobs, the oldest first.
    """

    organ: str
    smallest_ml: float | None
    largest_ml: float | None
    total: OrganPeriod
    periods: tuple[OrganPeriod, ...]


class JobStatistics(Document):
    """What became of jobs."""

    total: JobPeriod
    periods: tuple[JobPeriod, ...]


class StatisticsDocument(Document):
    """What became of jobs and organs, by the day on which the jobs ended.

    Attributes:
        interval: How long each period is.
        model: The one that was asked for; None for all.
        models: All that anything is known of, the last used first.
        first_day: Of the jobs that are counted; None without any.
        last_day: Likewise.
        jobs: Counts of jobs.
        organs: The 30, in label order.
    """

    interval: Interval
    model: str | None
    models: tuple[str, ...]
    first_day: date | None
    last_day: date | None
    jobs: JobStatistics
    organs: tuple[OrganStatistics, ...]


def correction_of(row: Mapping[str, Any]) -> Correction:
    """Return a row of the table of organs as a document."""
    return Correction(
        job=row["job_id"],
        organ=_NAMES[row["organ"]],
        model=row["model"],
        day=date_of(row["day"]),
        judged_at=datetime.fromtimestamp(row["judged_at"], tz=UTC),
        **{name: row[name] for name in _MEASURED},
    )


_MEASURED = (
    "volume_ml",
    "corrected_ml",
    "dice",
    "hd95_mm",
    "surface_dice",
    "added_path_mm",
)

_NAMES = {each.label: each.name for each in ORGANS}


def day_of(when: date) -> int:
    """Return a day, counted from 1970."""
    return (when - EPOCH).days


def date_of(day: int) -> date:
    """Return the date of a day counted from 1970."""
    return EPOCH + timedelta(days=day)


def first_days(days: tuple[int, int], interval: Interval) -> list[int]:
    """Return the first day of each period from a day to another, counted from 1970."""
    each = range(days[0], days[1] + 1)
    return sorted({day_of(_first_day(day, interval)) for day in each})


def make_document(
    sums: SumsByDay,
    *,
    days: tuple[int, int] | None,
    models: list[str],
    model: str | None,
    interval: Interval,
) -> StatisticsDocument:
    """Return what sums say, period by period.

    Args:
        sums: By the day, or by the first day of the period.
        days: The first and the last day that there is.
        models: All that anything is known of.
        model: The one that was asked for.
        interval: How long a period is.
    """
    of_jobs = _by_period(sums, WHOLE_JOB, interval)
    return StatisticsDocument(
        interval=interval,
        model=model,
        models=tuple(models),
        first_day=date_of(days[0]) if days else None,
        last_day=date_of(days[1]) if days else None,
        jobs=JobStatistics(
            total=_job_period(None, _add_up(of_jobs.values())),
            periods=tuple(_job_period(p, found) for p, found in of_jobs.items()),
        ),
        organs=tuple(_organ_statistics(each.label, sums, interval) for each in ORGANS),
    )


def csv_rows(document: StatisticsDocument) -> Iterator[list[object]]:
    """Yield the rows of a table, its header first: one for each organ and period."""
    plain = [
        name
        for name in OrganPeriod.model_fields
        if name not in {"period", "statuses", "flags"}
    ]
    yield ["organ", "period", "model", *plain, "statuses", "flags"]
    for each in document.organs:
        for found in each.periods:
            told = (getattr(found, name) for name in plain)
            yield safe_row(
                [
                    each.organ,
                    str(found.period),
                    document.model or "all",
                    *("" if value is None else value for value in told),
                    _list_counts(found.statuses),
                    _list_counts(found.flags),
                ]
            )


def _list_counts(counts: Mapping[str, int]) -> str:
    return " ".join(f"{name}:{count}" for name, count in sorted(counts.items()))


def _organ_statistics(
    label: int, sums: SumsByDay, interval: Interval
) -> OrganStatistics:
    name = _NAMES[label]
    found = _by_period(sums, label, interval)
    smallest, largest = plausible_volumes().get(name, (None, None))
    return OrganStatistics(
        organ=name,
        smallest_ml=smallest,
        largest_ml=largest,
        total=_organ_period(None, _add_up(found.values())),
        periods=tuple(_organ_period(p, each) for p, each in found.items()),
    )


@cache
def plausible_volumes() -> dict[str, tuple[float, float]]:
    """Return the least and most plausible volume in ml of each organ."""
    file = importlib.resources.files("hanseg_segmentation") / "quality/anatomy.json"
    organs = json.loads(file.read_text(encoding="utf-8"))["organs"]
    return {
        name: (each["smallest_ml"], each["largest_ml"]) for name, each in organs.items()
    }


def _by_period(
    sums: SumsByDay, label: int, interval: Interval
) -> dict[date, dict[str, float]]:
    """Return sums by name of each period, by its first day, the oldest first."""
    found: dict[date, dict[str, float]] = {}
    for (organ, name), by_day in sums.items():
        if organ != label:
            continue
        for day, value in by_day.items():
            names = found.setdefault(_first_day(day, interval), {})
            names[name] = names.get(name, 0.0) + value
    return dict(sorted(found.items()))


def _first_day(day: int, interval: Interval) -> date:
    when = date_of(day)
    match interval:
        case Interval.DAY:
            return when
        case Interval.WEEK:
            return when - timedelta(days=when.weekday())
        case Interval.MONTH:
            return when.replace(day=1)
    return EPOCH


def _add_up(periods: Any) -> dict[str, float]:  # noqa: ANN401 - values of a dict
    total: dict[str, float] = {}
    for names in periods:
        for name, value in names.items():
            total[name] = total.get(name, 0.0) + value
    return total


def _job_period(period: date | None, found: Mapping[str, float]) -> JobPeriod:
    stages = _counts(found, "stages")
    return JobPeriod(
        period=period,
        jobs=_count(found, "jobs"),
        states=_counts(found, "state"),
        mr=_counts(found, "mr"),
        registrations=_counts(found, "registration"),
        signed=_count(found, "signed"),
        seconds={
            name: found.get(f"seconds:{name}", 0.0) / count
            for name, count in stages.items()
        },
    )


def _organ_period(period: date | None, found: Mapping[str, float]) -> OrganPeriod:
    verdicts = _counts(found, "verdict")
    judged, edited = sum(verdicts.values()), verdicts.get("edited", 0)
    accepted = verdicts.get("accepted", 0)
    contours = _count(found, "volumes")
    mean, deviation = _mean_and_deviation(found, contours)
    return OrganPeriod(
        period=period,
        statuses=_counts(found, "status"),
        flagged=_count(found, "flagged"),
        flags=_counts(found, "flag"),
        contours=contours,
        mean_ml=mean,
        sd_ml=deviation,
        accepted=accepted,
        rejected=verdicts.get("rejected", 0),
        edited=edited,
        accept_rate=accepted / judged if judged else None,
        dice=_mean(found, "dice", edited),
        surface_dice=_mean(found, "surface_dice", edited),
        added_path_mm=_mean(found, "added_path_mm", edited),
        volume_change_ml=_mean(found, "volume_change_ml", edited),
    )


def _mean_and_deviation(
    found: Mapping[str, float], count: int
) -> tuple[float | None, float | None]:
    if not count:
        return None, None
    mean = found.get("volume_ml", 0.0) / count
    if count == 1:
        return mean, None
    spread = found.get("volume_ml_squared", 0.0) - count * mean * mean
    return mean, math.sqrt(max(spread, 0.0) / (count - 1))


def _mean(found: Mapping[str, float], name: str, count: int) -> float | None:
    return found.get(name, 0.0) / count if count else None


def _count(found: Mapping[str, float], name: str) -> int:
    return round(found.get(name, 0.0))


def _counts(found: Mapping[str, float], kind: str) -> dict[str, int]:
    """Return the counts of a kind by what follows its colon, without zeros."""
    return {
        name.partition(":")[2]: round(value)
        for name, value in sorted(found.items())
        if name.startswith(f"{kind}:") and round(value)
    }
