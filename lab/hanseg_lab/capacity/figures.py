"""What a planner asks of a simulation: waits, shares that are late, utilisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_lab.capacity.simulation import Outcome, Pool
from hanseg_shared.jobs.messages import QueueName

Chosen = npt.NDArray[np.bool_]
"""Which cases are meant; shape ``(cases,)``."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long some cases waited, and how many were late; None where there are none.

    Attributes:
        cases: How many there are.
        p50_seconds: Median of what a case's time was beyond its stages.
        p95_seconds: Its 95th percentile.
        late_share: Of these cases, those whose results came after the limit.
    """

    cases: int
    p50_seconds: float | None
    p95_seconds: float | None
    late_share: float | None

    @classmethod
    def of(cls, outcome: Outcome, chosen: Chosen, *, limit_seconds: float) -> Waits:
        """Take the waits of some cases.

        Args:
            outcome: What became of all cases.
            chosen: Which are meant.
            limit_seconds: From submission to results; what takes longer is late.
        """
        if not chosen.any():
            return cls(0, None, None, None)
        p50, p95 = np.percentile(outcome.waiting[chosen], (50, 95))
        late = float(np.mean(outcome.turnaround[chosen] > limit_seconds))
        return cls(int(chosen.sum()), round(float(p50), 1), round(float(p95), 1), late)


@dataclass(frozen=True, slots=True)
class ClinicFigures:
    """What the clinic's own cases meet.

    Attributes:
        urgent: Cases that go before others.
        routine: All others.
        late_share: Of both together, those that came after the limit.
    """

    urgent: Waits
    routine: Waits
    late_share: float

    @classmethod
    def of(
        cls, outcome: Outcome, *, limit_seconds: float, owners: str = ""
    ) -> ClinicFigures:
        """Take the figures of the cases whose owner's name begins so."""
        cases = outcome.cases
        mine = np.array([case.owner.startswith(owners) for case in cases], dtype=bool)
        urgent = np.array([case.urgent for case in cases], dtype=bool)
        every = Waits.of(outcome, mine, limit_seconds=limit_seconds)
        return cls(
            Waits.of(outcome, mine & urgent, limit_seconds=limit_seconds),
            Waits.of(outcome, mine & ~urgent, limit_seconds=limit_seconds),
            every.late_share or 0.0,
        )


def utilisation(outcome: Outcome, pool: Pool, seconds: float) -> Mapping[str, float]:
    """Return the share of a time that workers of each kind were at a stage."""
    return {
        queue.value: outcome.busy_seconds[queue] / (pool.workers(queue) * seconds)
        for queue in (QueueName.REGISTRATION, QueueName.SEGMENTATION)
    }
