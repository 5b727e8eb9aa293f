"""Disk space that is promised but not yet filled, of all requests together.

What a request brings or fetches is reserved until it is over, and what was announced as
an upload until it is received: else each would find the room that the others will fill.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from hanseg_shared.errors import DiskFullError

COPIES = 2
"""An image is on the disk twice for a while: in the request's folder, and in the
store."""


class Reservations:
    """Bytes that are on their way to the disk, by who has reserved them.

    Args:
        free: Returns the bytes that are free now.
        least: How many of them must be left.
        announced: Returns the bytes of uploads that were announced and not received.
    """

    def __init__(
        self,
        free: Callable[[], int],
        *,
        least: int,
        announced: Callable[[], int] = lambda: 0,
    ) -> None:
        self._free = free
        self._least = least
        self._announced = announced
        self._turn = threading.Lock()  # held while disk and database are asked
        self._lock = threading.Lock()  # held for a moment, also by the event loop
        self._held: defaultdict[Hashable, int] = defaultdict(int)

    def take(self, size: int, *, by: Hashable, copies: int = COPIES) -> None:
        """Reserve room for what is on the disk so many times, beside what `by` has.

        Raises:
            DiskFullError: There is not enough beside what is reserved.
        """
        with self.checked(copies * size), self._lock:
            self._held[by] += copies * size

    @contextmanager
    def checked(self, size: int = 0) -> Iterator[None]:
        """Run the body if there is room for so much, and reserve nothing meanwhile.

        Raises:
            DiskFullError: There is not enough beside what is reserved.
        """
        with self._turn:
            free, reserved = self._free(), self._announced()
            with self._lock:
                reserved += sum(self._held.values())
            if free < self._least + reserved + size:
                raise DiskFullError(
                    f"the disk has {free} bytes free, {reserved} are reserved for what "
                    f"is announced or being received, {size} are needed, {self._least} "
                    "must be left; delete finished jobs or try again later"
                )
            yield

    def give_back(self, by: Hashable) -> None:
        """Give back all that somebody has reserved: it is stored, or will not come.

        It waits for neither disk nor database.
        """
        with self._lock:
            self._held.pop(by, None)
