"""Whose turn it is, as the service decides it, for cases that are only simulated.

The rule of `hanseg_shared.jobs.tables.turns`, without a database: urgent first, then
what is all but done, then the owner whose last turn is longest ago, with their oldest
case. There is one model, so that no case is passed over for a loaded one.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.stages import Stage

FOLLOWING = {stage: stage.following for stage in Stage}
"""The next stage of each, None after the last: asked for millions of times."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case that will be sent.

    Attributes:
        at: When, seconds since the simulation's begin.
        owner: Whose it is; owners take turns.
        urgent: Whether it goes before routine cases.
        seconds: What each stage will take: registration, segmentation, packaging.
    """

    at: float
    owner: str
    urgent: bool
    seconds: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Due:
    """A case's stage that waits for a worker; `number` is the case's place in time."""

    number: int
    stage: Stage
    owner: str
    urgent: bool


@dataclass(frozen=True, slots=True)
class _Group:
    stage: Stage
    urgent: bool
    owner: str


class DueCases:
    """The stages that wait for one kind of worker, and whose turn it is."""

    def __init__(self) -> None:
        self._groups: dict[_Group, list[int]] = {}
        self._last_turn: dict[str, int] = {}
        self._turn = 0

    def add(self, due: Due) -> None:
        """Have a case's stage wait."""
        group = _Group(due.stage, due.urgent, due.owner)
        heapq.heappush(self._groups.setdefault(group, []), due.number)

    def take(self) -> Due | None:
        """Return the stage whose turn it is, which waits no longer; None for none."""
        group = min(self._groups, key=self._order, default=None)
        if group is None:
            return None
        waiting = self._groups[group]
        number = heapq.heappop(waiting)
        if not waiting:
            del self._groups[group]
        if FOLLOWING[group.stage] is not None:  # the last, a short one, is no turn
            self._turn += 1
            self._last_turn[group.owner] = self._turn
        return Due(number, group.stage, group.owner, group.urgent)

    def _order(self, group: _Group) -> tuple[bool, bool, int, int]:
        return (
            not group.urgent,
            FOLLOWING[group.stage] is not None,
            self._last_turn.get(group.owner, 0),
            self._groups[group][0],
        )


def make_queues() -> dict[QueueName, DueCases]:
    """Return an empty queue for each kind of worker."""
    return {
        name: DueCases() for name in (QueueName.REGISTRATION, QueueName.SEGMENTATION)
    }
