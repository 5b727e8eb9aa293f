"""Ending a check from outside: nobody waits for it any more, or its time is over."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Halt:
    """Told by whoever waits for a check, heard by the check.

    A check calls `check` between its steps, and puts a child process that works for it
    under `over`: it is killed at the moment when the check is halted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._why: Exception | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def now(self, why: Exception) -> None:
        """End the check; `check` raises `why`. Only the first call counts."""
        with self._lock:
            if self._why is None:
                self._why = why
            if self._child is not None:
                self._child.kill()

    @property
    def is_told(self) -> bool:
        """Whether the check was halted."""
        return self._why is not None

    def check(self) -> None:
        """Return if the check should go on; raise what it was halted with if not."""
        if self._why is not None:
            raise self._why

    @contextmanager
    def over(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        """Have a child killed when the check is halted, or at once if it was."""
        with self._lock:
            self._child = child
            if self._why is not None:
                child.kill()
        try:
            yield
        finally:
            with self._lock:
                self._child = None
