"""The versions of all jobs that somebody follows, looked up together.

Many streams follow jobs, and each would ask the database twice a second. Here one
question at a time asks for all of them, however many there are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress

from anyio.to_thread import run_sync

from hanseg_shared.errors import ServiceUnavailableError

logger = logging.getLogger(__name__)

Read = Callable[[Collection[str]], Mapping[str, int]]


class Versions:
    """What the versions of followed jobs were at the last look.

    Args:
        read: Returns the versions of jobs by id; those that are gone are missing.
        every: Seconds between two looks. There are none while nobody follows anything.
    """

    def __init__(self, read: Read, *, every: float) -> None:
        self._read = read
        self._every = every
        self._followers: Counter[str] = Counter()
        self._known: Mapping[str, int] = {}
        self._looked_for: frozenset[str] = frozenset()
        self._fault: str | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Condition()
        self._wanted = asyncio.Event()

    @asynccontextmanager
    async def followed(self, job_id: str) -> AsyncIterator[None]:
        """Have a job looked for while the body runs."""
        self._followers[job_id] += 1
        if self._looking is None or self._looking.done():
            self._looked, self._wanted = asyncio.Condition(), asyncio.Event()
            self._looking = asyncio.create_task(self._keep_looking())
        self._wanted.set()
        try:
            yield
        finally:
            self._followers -= Counter([job_id])
            if not self._followers:
                self._looking.cancel()
                self._looking = None
                self._forget()

    async def of(self, job_id: str) -> int | None:
        """Return a followed job's version at the last look; None if there is no job.

        Raises:
            ServiceUnavailableError: The database did not answer that look.
        """
        async with self._looked:
            await self._looked.wait_for(
                lambda: job_id in self._looked_for or self._fault is not None
            )
        if self._fault is not None:
            raise ServiceUnavailableError(self._fault)
        return self._known.get(job_id)

    async def _keep_looking(self) -> None:
        while True:
            self._wanted.clear()
            await self._look()
            async with self._looked:
                self._looked.notify_all()
            with suppress(TimeoutError):  # unless somebody new follows a job
                await asyncio.wait_for(self._wanted.wait(), self._every)

    async def _look(self) -> None:
        asked = frozenset(self._followers)
        try:
            self._known = await run_sync(self._read, asked)
        except ServiceUnavailableError as error:
            self._forget(error.message)
        except Exception:
            logger.exception("the versions of jobs cannot be looked up")
            self._forget("the database cannot be asked; the log has the details")
        else:
            self._looked_for, self._fault = asked, None

    def _forget(self, fault: str | None = None) -> None:
        self._known, self._looked_for, self._fault = {}, frozenset(), fault
