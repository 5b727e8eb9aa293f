"""Blows at random places and times, drawn from a seed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress

from hanseg_shared.jobs.stages import Stage
from tests.chaos.house import House

JOBS_BETWEEN = (2, 6)
"""How many jobs end between two blows, at least and at most: a slow machine is struck
less often, and does more than start again."""

PAUSE_SECONDS = (1.0, 20.0)
"""Shortest and longest time between two blows, however many jobs end."""


class Storm:
    """What falls upon a house, one blow after the other.

    Args:
        house: Where.
        seed: Of the blows and of the pauses between them.
    """

    def __init__(self, house: House, seed: int) -> None:
        self._house = house
        self._random = random.Random(seed)
        self._blows: list[Callable[[], None]] = [
            self._kill_family,
            *[self._kill_worker] * 2,
            *[self._kill_child] * 3,
            self._freeze_worker,
            self._send_again,
            lambda: house.kill("api"),
            lambda: house.kill("redis"),
            lambda: house.kill("sweep"),
            house.flush_redis,
        ]
        if house.postgres is not None:
            self._blows.append(lambda: house.kill("postgres"))

    def rage(self, is_over: Callable[[], bool]) -> None:
        """Strike until something is over."""
        while not is_over():
            with suppress(Exception):  # what it would hit is down already
                self._random.choice(self._blows)()
            self._await_ended(self._random.randint(*JOBS_BETWEEN), is_over)

    def _await_ended(self, count: int, is_over: Callable[[], bool]) -> None:
        shortest, longest = PAUSE_SECONDS
        goal = self._house.count_ended() + count
        until = time.monotonic() + longest
        self._house.rest(shortest)
        while time.monotonic() < until and not is_over():
            if self._house.count_ended() >= goal:
                return
            self._house.rest(0.2)

    def _kill_family(self) -> None:
        self._house.kill(self._random.choice(self._house.workers))

    def _kill_worker(self) -> None:
        self._house.kill_worker(self._random.choice(self._house.workers))

    def _kill_child(self) -> None:
        self._house.kill_child(self._random.choice(self._house.workers))

    def _freeze_worker(self) -> None:
        worker = self._random.choice(self._house.workers)
        with self._house.frozen(worker):
            self._house.rest(self._house.settings.lease_seconds + 2.0)

    def _send_again(self) -> None:
        holds = self._house.tables.claims.list_holds()
        if holds:
            job = self._house.tables.jobs.get(self._random.choice(holds).job_id)
            stage = Stage.due_in(job.state)
            if stage is not None:
                self._house.send_again(job.id, stage)
