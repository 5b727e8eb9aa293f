"""How long a start is waited for: as long as something goes on, and not in silence.

A slow or busy machine may need minutes for what another does in seconds. So it is not
the time that ends a start, but the time without any progress: the same parts are
missing, and their processes compute nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from os import sysconf
from pathlib import Path

from hanseg_shared.errors import ServiceUnavailableError

IDLE_SECONDS = 120.0
"""Longest time without progress."""

MOST_SECONDS = 1800.0
"""Longest time at all: what computes for so long will not become ready."""

TELL_SECONDS = 15.0
"""How often it is said what is waited for."""

PROGRESS_CPU_SECONDS = 3.0
"""So much computing is progress. A start takes 5 to 15 s of it for each process, and a
worker that only waits uses less than 2 s in `IDLE_SECONDS`."""

_SESSION, _TIMES = 3, slice(11, 15)
"""Places in ``/proc/PID/stat`` after the name: proc(5), fields 6 and 14 to 17."""


class Patience:
    """Waits for parts to become ready, and gives up when nothing goes on.

    Args:
        announce: Told now and then what is missing, and since when.
        logs: Folder that the reason for giving up names.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        announce: Callable[[str], None],
        logs: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._announce = announce
        self._logs = logs
        self._clock = clock
        self._began = self._told_at = self._moved_at = clock()
        self._missing: frozenset[str] = frozenset()
        self._cpu_seconds = 0.0

    def note(
        self, missing: Collection[str], sentence: str, *, cpu_seconds: float
    ) -> None:
        """Note what is still missing.

        Args:
            missing: Names of the parts.
            sentence: What is said of them.
            cpu_seconds: How long the processes of these parts have computed.

        Raises:
            ServiceUnavailableError: Nothing has gone on for too long.
        """
        now = self._clock()
        self._cpu_seconds = min(self._cpu_seconds, cpu_seconds)  # one was replaced
        has_computed = cpu_seconds - self._cpu_seconds >= PROGRESS_CPU_SECONDS
        if frozenset(missing) != self._missing or has_computed:
            self._missing, self._cpu_seconds = frozenset(missing), cpu_seconds
            self._moved_at = now
        waited, idle = now - self._began, now - self._moved_at
        if idle >= IDLE_SECONDS or waited >= MOST_SECONDS:
            raise ServiceUnavailableError(
                f"not ready after {waited:.0f} s, {idle:.0f} of them without progress: "
                f"{sentence}; logs: {self._logs}"
            )
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            self._announce(f"not ready after {waited:.0f} s: {sentence}")


def cpu_seconds_of(sessions: Collection[int | None]) -> float:
    """Return how long all processes of some sessions, and ended ones, have computed.

    Processes that end meanwhile are left out; where there is no ``/proc``, it is 0.
    """
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[_SESSION]) in sessions:
                ticks += sum(map(int, fields[_TIMES]))
    return ticks / sysconf("SC_CLK_TCK")
