"""How many requests may do costly work at once, and how many of one caller."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import anyio
from anyio import CapacityLimiter

from hanseg_shared.errors import ServiceUnavailableError

STREAM_RETRY_SECONDS = 10
"""When a caller may ask again for a stream that there was no room for."""


class Shares:
    """Places that are had at once or not at all.

    Args:
        total: How many there are.
        a_caller: How many of them one caller may have.
    """

    def __init__(self, total: int, *, a_caller: int) -> None:
        self._total = total
        self._a_caller = a_caller
        self._of_callers: Counter[str] = Counter()

    def take(self, caller: str) -> bool:
        """Take a place, to be given back; False if there is none."""
        taken = self._of_callers[caller]
        if taken >= self._a_caller or self._of_callers.total() >= self._total:
            self._of_callers += Counter()  # forgets who has none
            return False
        self._of_callers[caller] += 1
        return True

    def give_back(self, caller: str) -> None:
        """Give a place back."""
        self._of_callers[caller] -= 1
        if not self._of_callers[caller]:
            del self._of_callers[caller]


class Places:
    """Places that are taken for a while, in the order in which they were asked for.

    A caller who has taken his share waits for one of his own places to become free and
    holds up nobody else.

    Args:
        total: How many places there are.
        a_caller: How many of them one caller may have.
    """

    def __init__(self, total: int, *, a_caller: int) -> None:
        self._total = total
        self._a_caller = a_caller
        self._all = CapacityLimiter(total)
        self._of_callers: dict[str, CapacityLimiter] = {}

    @asynccontextmanager
    async def take(self, caller: str, *, patience: float) -> AsyncIterator[None]:
        """Have a place for as long as the body runs.

        Args:
            caller: Whose share it is of.
            patience: Seconds to wait for it.

        Raises:
            ServiceUnavailableError: There was none for so long.
        """
        own = self._of_callers.setdefault(caller, CapacityLimiter(self._a_caller))
        try:
            with ExitStack() as held:
                try:
                    with anyio.fail_after(patience):
                        for places in (own, self._all):
                            await places.acquire_on_behalf_of(held)
                            held.callback(places.release_on_behalf_of, held)
                except TimeoutError:
                    raise ServiceUnavailableError(
                        f"{self._total} requests look into their images and "
                        f"{self._a_caller} of one caller may; try again later"
                    ) from None
                yield
        finally:
            self._forget(caller, own)

    def _forget(self, caller: str, own: CapacityLimiter) -> None:
        use = own.statistics()
        if not use.borrowed_tokens and not use.tasks_waiting:
            self._of_callers.pop(caller, None)
