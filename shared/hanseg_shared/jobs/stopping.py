"""The notice that a worker must stop, and how long its stage may still go on."""

from __future__ import annotations

import math
import threading
import time


class StopNotice:
    """Whether this worker must stop, and until when its stage may go on."""

    def __init__(self) -> None:
        self._given = threading.Event()
        self._until = math.inf

    def give(self, *, grace_seconds: float) -> None:
        """Ask the worker to stop after a time of grace; the shortest one counts."""
        self._until = min(self._until, time.monotonic() + grace_seconds)
        self._given.set()

    def is_given(self, *, within_seconds: float = 0.0) -> bool:
        """Whether it was given, or is within a time that is waited for."""
        return self._given.wait(within_seconds)

    @property
    def is_due(self) -> bool:
        """Whether the time of grace is over."""
        return time.monotonic() >= self._until
