"""For how long rows have stayed as they are, by a clock that nobody can set.

A time in a row was written by another host, or before the clock was set. So nothing is
judged by it: what counts is that the row has not changed while it was watched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping


class Unchanged:
    """Remembers since when each thing has its mark.

    Args:
        most_step_seconds: A pause between two looks counts as no more than this: while
            this process or the database stood still, nobody could change a row.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, *, most_step_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_step_seconds = most_step_seconds
        self._clock = clock
        self._looked_at = clock()
        self._watched_seconds = 0.0
        self._since: dict[str, tuple[Hashable, float]] = {}

    def look(self, marks: Mapping[str, Hashable]) -> dict[str, float]:
        """Return for how many watched seconds each thing has had its mark.

        Args:
            marks: Every thing there is now, with what changes whenever it changes; one
                that is missing is forgotten.
        """
        now = self._clock()
        self._watched_seconds += min(now - self._looked_at, self._most_step_seconds)
        self._looked_at = now
        known = self._since
        self._since = {
            name: known[name]
            if name in known and known[name][0] == mark
            else (mark, self._watched_seconds)
            for name, mark in marks.items()
        }
        return {
            name: self._watched_seconds - since
            for name, (_, since) in self._since.items()
        }

    def restart(self, name: str) -> None:
        """Count a thing's time from now on, as if it had just changed."""
        if name in self._since:
            self._since[name] = (self._since[name][0], self._watched_seconds)
