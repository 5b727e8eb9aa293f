"""Keeps a machine's copies of payloads from outliving the payloads.

Whoever deletes a job deletes its payloads in the store and the copies of one machine.
Each other machine finds out by its database, and deletes its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.tables.tables import Tables

EVERY_SECONDS = 30.0
"""How often is looked: so late do copies go on machines that did not delete them."""


class CacheTidying:
    """Deletes copies whose job or upload is gone, and those that nobody used for long.

    Args:
        store: Whose copies.
        tables: The database.
        steady: Seconds that only ever grow.
    """

    def __init__(
        self,
        store: PayloadStore,
        tables: Tables,
        *,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = store.cache
        self._tables = tables
        self._steady = steady
        self._due_at = steady()

    def run_if_due(self) -> None:
        """Look, if the last look is long enough ago.

        Raises:
            ServiceUnavailableError: The database does not answer.
        """
        if self._cache is None or self._steady() < self._due_at:
            return
        self._due_at = self._steady() + EVERY_SECONDS
        self._cache.tidy()
        owners = self._cache.owners()
        for owner in self._tables.jobs.forgotten(owners) if owners else ():
            self._cache.forget(owner)
