"""When a message is tried again, and when that ends."""

from __future__ import annotations

FIRST_SECONDS = 10.0
"""After the first attempt."""

FACTOR = 4.0
"""By how much every wait is longer than the one before."""

LONGEST_SECONDS = 6 * 3600.0
"""No wait is longer, but for its jitter."""

JITTER = 0.25
"""Waits differ by up to so much from their length, either way: a receiver that comes
back is not met by everything at once."""

ATTEMPTS = 10
"""With these waits the last attempt is 22 hours after the first."""

PATIENCE_SECONDS = 5 * 24 * 3600.0
"""A webhook that was not reached for so long is disabled when a message is given up."""

KEPT_SECONDS = 30 * 24 * 3600.0
"""How long it is known what became of a message."""


def wait_seconds(attempts: int, chance: float) -> float | None:
    """Return after how many seconds a message is tried again; None for never.

    Args:
        attempts: How often it was tried, at least once.
        chance: From 0 to 1, by chance.
    """
    if attempts >= ATTEMPTS:
        return None
    wait = min(LONGEST_SECONDS, FIRST_SECONDS * FACTOR ** (attempts - 1))
    return wait * (1.0 + JITTER * (2.0 * chance - 1.0))
