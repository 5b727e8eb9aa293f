"""Whether the time of day can be believed: files are deleted by it."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

JUMP_SECONDS = 60.0
"""Time servers move a clock by less between two looks; retention is hours or more."""

HOLD_SECONDS = 6 * 3600.0
"""After a jump, nothing is deleted for so long, unless the clock goes back before."""


OFF_SECONDS = 24 * 3600.0
"""A machine that was off for longer may have woken up with a wrong time of day."""

FIRST_HOLD_SECONDS = 3600.0
"""Then nothing is deleted for so long: time servers put a clock right in minutes."""

NOTE_SECONDS = 60.0
"""How often the time of day is noted for the next start."""


def steady_time() -> float:
    """Return seconds that nobody can set and that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WallClock:
    """Compares the time of day with a clock that nobody can set.

    Args:
        read: Returns the time of day in seconds since 1970: the database's.
        steady: Seconds that only ever grow.
        memory: File that keeps the time of day from one start to the next.
    """

    def __init__(
        self,
        read: Callable[[], float],
        *,
        steady: Callable[[], float] = steady_time,
        memory: Path | None = None,
    ) -> None:
        self._memory = memory
        self._last_seen = None if memory is None else _read_time(memory)
        self._unsure_until: float | None = None
        self._noted_at = -math.inf
        self._read = read
        self._steady = steady
        self._trusted: float | None = None
        self._candidate = 0.0
        self._held_since: float | None = None

    def is_trusted(self) -> bool:
        """Look at both clocks; False for `HOLD_SECONDS` after one jumped.

        A clock that comes back to where it was is trusted again at once. At the start
        it is compared with what was noted before; see `OFF_SECONDS`.
        """
        trusted = not self._is_unsure() and self._is_steady()
        if trusted and self._steady() - self._noted_at >= NOTE_SECONDS:
            self._note()
        return trusted

    def _is_unsure(self) -> bool:
        """Whether the clock may have been wrong since the start."""
        if self._last_seen is None:
            return False
        now, away = self._steady(), self._read() - self._last_seen
        if self._unsure_until is None and abs(away) > OFF_SECONDS:
            self._unsure_until = now + FIRST_HOLD_SECONDS
            logger.warning(
                "the service was off for %.1f days, or the clock is wrong: no file is "
                "deleted for %.0f h",
                away / 86400.0,
                FIRST_HOLD_SECONDS / 3600.0,
            )
        if abs(away) > OFF_SECONDS and now < (self._unsure_until or now):
            return True
        self._last_seen = None
        return False

    def _note(self) -> None:
        self._noted_at = self._steady()
        if self._memory is not None:
            with contextlib.suppress(OSError):  # a full disk: then the last one counts
                draft = self._memory.with_name(f"{self._memory.name}.{os.getpid()}")
                draft.touch(mode=0o600)
                draft.write_text(f"{self._read():.0f}")
                draft.replace(self._memory)

    def _is_steady(self) -> bool:
        before = self._steady()
        wall = self._read()
        now = self._steady()
        # the time was read between the two: a slow answer is no jump
        earliest, latest = wall - now, wall - before
        if self._trusted is None:
            self._trusted = latest
        if _distance(self._trusted, earliest, latest) <= JUMP_SECONDS:
            self._trusted = latest
            self._release()
            return True
        if self._is_new_jump(earliest, latest):
            self._hold(latest, now)
        elif self._held_since is not None and now - self._held_since >= HOLD_SECONDS:
            self._trusted = latest
            self._release()
            return True
        return False

    def _is_new_jump(self, earliest: float, latest: float) -> bool:
        if self._held_since is None:
            return True
        return _distance(self._candidate, earliest, latest) > JUMP_SECONDS

    def _hold(self, offset: float, now: float) -> None:
        jump = offset - (self._trusted or 0.0)
        self._candidate, self._held_since = offset, now
        logger.warning(
            "the clock was set %s by %.0f s: no file is deleted for %.0f h, or until "
            "the clock is back",
            "forward" if jump > 0 else "back",
            abs(jump),
            HOLD_SECONDS / 3600.0,
        )

    def _release(self) -> None:
        if self._held_since is not None:
            self._held_since = None
            logger.warning("the clock is steady again: files whose time is over go")


def _read_time(memory: Path) -> float | None:
    try:
        return float(memory.read_text())
    except (OSError, ValueError):  # the first start, or a file that was damaged
        return None


def _distance(value: float, low: float, high: float) -> float:
    """Return how far a value lies outside an interval; 0 inside."""
    return max(low - value, value - high, 0.0)
