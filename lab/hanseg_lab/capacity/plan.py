"""What so many hosts do: around the clock, on a clinic's day, with a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hanseg_lab.capacity.figures import ClinicFigures, utilisation
from hanseg_lab.capacity.host_kinds import HostKind
from hanseg_lab.capacity.simulation import Outcome, simulate
from hanseg_lab.capacity.workload import (
    BATCH_OWNER,
    CLINIC_OWNER,
    DAY_SECONDS,
    HOUR_SECONDS,
    WORKING_HOURS,
    Clinic,
    draw_batch,
    draw_evenly,
    merge,
)

SIMULATED_CASES = 12_000
"""Of a clinic, so many cases are simulated at least, over as many days as it takes."""

MOST_DAYS = 250
"""Of a clinic, however few cases a day it sends."""

CASES_A_WORKER = 200
"""Of a batch that shows what comes out around the clock; its end, when workers run out
of work, is then a small part."""

MEANWHILE = 200
"""Cases that the clinic sends while a batch is worked on."""

SEARCH_STEPS = 7
"""Halvings of the interval in which the most cases a day are sought."""

LARGEST_SHARE = 0.4
"""Of what is possible around the clock: no clinic's day can have more, as 14 % of its
cases come in one hour."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a department asks for: few cases that take longer than a limit."""

    limit_seconds: float = 900.0
    late_share: float = 0.01


@dataclass(frozen=True, slots=True)
class DayPlan:
    """A clinic's working day.

    Attributes:
        cases_a_day: What it sends, in the mean.
        figures: What its cases meet.
        utilisation: Share of the working hours that each kind of worker is at a stage.
    """

    cases_a_day: int
    figures: ClinicFigures
    utilisation: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A batch that one owner sends, and the clinic's cases meanwhile.

    Attributes:
        cases: Of the batch.
        hours: Until its last result.
        figures: What the clinic's cases meet.
        utilisation: Share of these hours that each kind of worker is at a stage.
    """

    cases: int
    hours: float
    figures: ClinicFigures
    utilisation: Mapping[str, float]


class Planner:
    """Answers for a number of hosts of a kind; equal seeds give equal answers.

    Args:
        kind: The kind of host.
        hosts: How many there are.
        clinic: Who sends cases.
        goal: What is asked for.
        seed: Of chance.
    """

    def __init__(
        self, kind: HostKind, hosts: int, *, clinic: Clinic, goal: Goal, seed: int = 0
    ) -> None:
        self._kind = kind
        self._hosts = hosts
        self._pool = kind.pool(hosts)
        self._clinic = clinic
        self._goal = goal
        self._seed = seed

    def around_the_clock(self) -> int:
        """Return the cases a day that come out while there are always some waiting."""
        workers = max(self._pool.registration, self._pool.segmentation)
        outcome = self._run_batch(CASES_A_WORKER * workers)
        # from the tenth to the ninth tenth: neither the first jobs nor the last ones
        done = np.sort(outcome.done_at)
        begin, end = len(done) // 10, 9 * len(done) // 10
        return round((end - begin) * DAY_SECONDS / float(done[end] - done[begin]))

    def most_cases_a_day(self) -> int:
        """Return the most that a clinic may send a day if the goal is to be kept."""
        low, high = 0.0, LARGEST_SHARE * self._hosts * self._kind.bound_a_day
        for _ in range(SEARCH_STEPS):
            middle = (low + high) / 2
            plan = self.plan_day(middle)
            if plan.figures.late_share <= self._goal.late_share:
                low = middle
            else:
                high = middle
        return int(low)

    def plan_day(self, cases_a_day: float) -> DayPlan:
        """Return what a clinic meets that sends so many cases a day."""
        days = math.ceil(SIMULATED_CASES / max(cases_a_day, 1.0))
        days = min(days, MOST_DAYS)
        cases = self._clinic.draw_days(
            self._random(), self._kind.times, cases_a_day=cases_a_day, days=days
        )
        outcome = simulate(cases, self._pool)
        open_seconds = days * WORKING_HOURS * HOUR_SECONDS
        return DayPlan(
            round(cases_a_day),
            self._figures(outcome),
            utilisation(outcome, self._pool, open_seconds),
        )

    def plan_batch(self, count: int) -> BatchPlan:
        """Return how long a batch takes, and what the clinic's cases meet meanwhile."""
        outcome = self._run_batch(count, meanwhile=MEANWHILE)
        of_batch = np.array([c.owner == BATCH_OWNER for c in outcome.cases])
        seconds = float(outcome.done_at[of_batch].max())
        return BatchPlan(
            count,
            round(seconds / HOUR_SECONDS, 1),
            self._figures(outcome),
            utilisation(outcome, self._pool, float(outcome.done_at.max())),
        )

    def _run_batch(self, count: int, *, meanwhile: int = 0) -> Outcome:
        random, times = self._random(), self._kind.times
        batch = draw_batch(random, times, count=count)
        until = count * DAY_SECONDS / (self._hosts * self._kind.bound_a_day)
        others = draw_evenly(random, times, count=meanwhile, until=until)
        return simulate(merge(batch, others), self._pool)

    def _figures(self, outcome: Outcome) -> ClinicFigures:
        limit = self._goal.limit_seconds
        return ClinicFigures.of(outcome, limit_seconds=limit, owners=CLINIC_OWNER)

    def _random(self) -> np.random.Generator:
        return np.random.default_rng(self._seed)
