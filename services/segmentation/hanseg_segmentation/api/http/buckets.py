"""Token buckets: how often something may happen, by whom; in this process's memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_BUCKETS = 10_000
"""Whose bucket was not used for longest is forgotten beyond so many."""


@dataclass(slots=True)
class _Bucket:
    level: float
    filled_at: float


class Buckets:
    """A bucket of tokens for each name, filled again at a steady rate.

    Args:
        size: Most tokens of one bucket, and how many it begins with.
        per_second: How many it gets back.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        *,
        size: float,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = size
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, name: str) -> float:
        """Return after how many seconds there is a token; 0 if there is one."""
        return max(0.0, (1.0 - self._fill(name).level) / self._per_second)

    def take(self, name: str, tokens: float = 1.0) -> None:
        """Take tokens, beyond what is there if need be: the next ones wait longer."""
        self._fill(name).level -= tokens

    def _fill(self, name: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault(name, _Bucket(self._size, now))
        self._buckets.move_to_end(name)
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        gained = (now - bucket.filled_at) * self._per_second
        bucket.level = min(self._size, bucket.level + gained)
        bucket.filled_at = now
        return bucket
