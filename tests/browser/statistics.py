"""Sums of a year, as ended jobs and their reviews leave them in the real table."""

from __future__ import annotations

from datetime import date

from hanseg_segmentation.api.http.statistics import EPOCH, plausible_volumes
from hanseg_shared.jobs.tables.statistics import WHOLE_JOB, Key, add_sums
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.organs import ORGANS, organ

STEM = organ("Brainstem").label

MODELS = ("default 1.0", "default 1.1")
"""The second from July on."""


def write_year(tables: Tables, owner: str) -> None:
    """Write twelve months, 20 jobs each, in which things slowly get better."""
    with tables.database.write() as connection:
        for month in range(1, 13):
            day = (date(2025, month, 3) - EPOCH).days
            key = Key(day, owner, MODELS[month > 6])
            add_sums(connection, key, _sum_month(month))


def _sum_month(month: int) -> dict[tuple[int, str], float]:
    sums: dict[tuple[int, str], float] = {
        (WHOLE_JOB, name): value
        for name, value in {
            "jobs": 20.0,
            "state:succeeded": 19.0,
            "state:failed": 1.0,
            "mr:used": 14.0,
            "mr:rejected": float(1 + month % 2),
            "mr:absent": 4.0,
            "registration:accepted": 11.0,
            "registration:rejected": float(month % 3 == 0),
            "signed": 12.0,
            "stages:registering": 20.0,
            "seconds:registering": 20.0 * (9 + month / 4),
            "stages:segmenting": 20.0,
            "seconds:segmenting": 20.0 * (34 - month),
            "stages:packaging": 20.0,
            "seconds:packaging": 20.0 * 6,
        }.items()
    }
    for each in ORGANS:
        for name, value in _sum_organ(each.label, month).items():
            sums[each.label, name] = value
    return sums


def _sum_organ(label: int, month: int) -> dict[str, float]:
    """Return sums in which a tenth is flagged; the Brainstem's mean is 20 ml."""
    mean_ml = _mean_ml(label) * (1 + month / 400 if label != STEM else 1)
    accepted = 8.0 + month // 3
    return {
        "volumes": 20.0,
        "volume_ml": 20.0 * mean_ml,
        "volume_ml_squared": 20.0 * mean_ml**2 * 1.04,
        "flagged": 2.0,
        "flag:holes": 2.0,
        "status:contoured": 18.0,
        "status:low_confidence": 2.0,
        "verdict:accepted": accepted,
        "verdict:rejected": 1.0,
        "verdict:edited": 4.0,
        "dice": 4 * (0.88 + month / 200),
        "surface_dice": 4 * (0.92 + month / 250),
        "added_path_mm": 4 * (220.0 - 9 * month),
        "volume_change_ml": 4 * 0.4,
    }


def _mean_ml(label: int) -> float:
    if label == STEM:
        return 20.0
    low, high = plausible_volumes()[ORGANS[label - 1].name]
    place = 0.1 + 0.8 * (7 * label % 30) / 30
    return low + place * (high - low)
