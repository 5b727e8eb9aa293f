"""What a clinic sends: when, whose, how urgent, and how long its stages take."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_lab.capacity.turns import Case

HOUR_SECONDS = 3600.0
DAY_HOURS = 24
DAY_SECONDS = DAY_HOURS * HOUR_SECONDS

BATCH_OWNER = "study"
"""Who sends a batch."""

CLINIC_OWNER = "clinic"
"""What owners of the clinic's own cases are called, with a number behind it."""

HOURLY_SHARES = {
    7: 0.04,
    8: 0.10,
    9: 0.14,
    10: 0.14,
    11: 0.11,
    12: 0.06,
    13: 0.09,
    14: 0.12,
    15: 0.10,
    16: 0.06,
    17: 0.04,
}
"""Of a working day's cases, the share that is sent in each hour (an assumption:
planning scanners run from 7 to 18 h, with fewer patients at noon)."""

WORKING_HOURS = len(HOURLY_SHARES)


@dataclass(frozen=True, slots=True)
class StageTime:
    """What a stage takes: mean and standard deviation, seconds."""

    mean: float
    spread: float

    def draw(self, random: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
        """Draw seconds, shape ``(count,)``, from a log-normal distribution.

        It is never negative and has a tail to the right, as stages have. Without a
        spread every value is the mean.
        """
        if not self.spread or not self.mean:
            return np.full(count, self.mean)
        variance = math.log1p((self.spread / self.mean) ** 2)
        centre = math.log(self.mean) - variance / 2
        return random.lognormal(centre, math.sqrt(variance), count)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What the three stages take; those of a case are independent of each other."""

    register: StageTime
    segment: StageTime
    package: StageTime

    def draw(self, random: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
        """Draw seconds, shape ``(count, 3)``."""
        stages = (self.register, self.segment, self.package)
        return np.stack([stage.draw(random, count) for stage in stages], axis=1)

    @property
    def registration_seconds(self) -> float:
        """For how long a case has a registration worker, in the mean."""
        return self.register.mean

    @property
    def segmentation_seconds(self) -> float:
        """For how long a case has a segmentation worker, in the mean."""
        return self.segment.mean + self.package.mean


@dataclass(frozen=True, slots=True)
class Clinic:
    """Who sends cases on working days.

    Attributes:
        urgent_share: Of all cases.
        owners: Departments that send alike many, each with a key of its own.
    """

    urgent_share: float = 0.1
    owners: int = 3

    def draw_days(
        self,
        random: np.random.Generator,
        times: StageTimes,
        *,
        cases_a_day: float,
        days: int,
    ) -> list[Case]:
        """Draw the cases of some working days in a row, by the time they are sent.

        Args:
            random: Where chance comes from.
            times: What stages take.
            cases_a_day: How many are sent a day, in the mean.
            days: How many days.
        """
        at = draw_arrivals(random, cases_a_day=cases_a_day, days=days)
        urgent = random.random(len(at)) < self.urgent_share
        owners = random.integers(self.owners, size=len(at))
        seconds = times.draw(random, len(at))
        return [
            Case(float(when), f"{CLINIC_OWNER}-{who}", bool(now), _triple(took))
            for when, who, now, took in zip(at, owners, urgent, seconds, strict=True)
        ]


def draw_arrivals(
    random: np.random.Generator, *, cases_a_day: float, days: int
) -> npt.NDArray[np.float64]:
    """Draw when cases are sent, seconds since the first midnight, sorted.

    They are sent independently of each other, at a rate that is constant for an hour
    (a Poisson process in each hour of `HOURLY_SHARES`).
    """
    found = [np.empty(0)]
    for day in range(days):
        for hour, share in HOURLY_SHARES.items():
            count = random.poisson(share * cases_a_day)
            begin = (day * DAY_HOURS + hour) * HOUR_SECONDS
            found.append(begin + HOUR_SECONDS * random.random(count))
    return np.sort(np.concatenate(found))


def draw_evenly(
    random: np.random.Generator, times: StageTimes, *, count: int, until: float
) -> list[Case]:
    """Draw cases that the clinic sends while a batch is worked on, every other urgent.

    Args:
        random: Where chance comes from.
        times: What stages take.
        count: How many there are, an equal time apart.
        until: The end of that time, which begins at 0 s.
    """
    at = until * (np.arange(count) + 0.5) / count
    return [
        Case(float(when), f"{CLINIC_OWNER}-0", number % 2 == 0, _triple(took))
        for number, (when, took) in enumerate(
            zip(at, times.draw(random, count), strict=True)
        )
    ]


def draw_batch(
    random: np.random.Generator, times: StageTimes, *, count: int
) -> list[Case]:
    """Draw cases that one owner sends all at once, at 0 s, none of them urgent."""
    seconds = times.draw(random, count)
    return [Case(0.0, BATCH_OWNER, False, _triple(took)) for took in seconds]


def merge(*several: Iterable[Case]) -> list[Case]:
    """Return all cases by the time at which they are sent."""
    every = [case for cases in several for case in cases]
    return sorted(every, key=lambda case: case.at)


def _triple(seconds: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = map(float, seconds)
    return first, second, third
