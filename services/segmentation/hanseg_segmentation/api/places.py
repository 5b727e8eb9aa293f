"""Places in which requests do what is costly: so many at once, and a share a caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import anyio
from anyio import CapacityLimiter

from hanseg_shared.errors import ServiceUnavailableError


class Places:
    """Places that are taken for a while; who waits is let in as they came.

    A caller who has his share waits for one of his own places, not in front of others.

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
    async def taken(self, caller: str, *, patience: float) -> AsyncIterator[None]:
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
        told = own.statistics()
        if not told.borrowed_tokens and not told.tasks_waiting:
            self._of_callers.pop(caller, None)
