"""A stage that takes too much memory fails alone, before the machine has none left.

What takes memory is C++ that cannot be asked to stop. A thread looks at how much the
process holds; beyond the limit it writes down why the job has failed, and ends the
process, which the worker starts again.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable

from hanseg_shared.logs import keep_fields
from hanseg_shared.memory_limits import gigabytes, held_bytes

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
"""How often it looks. A process fills about a gigabyte a second at most."""


def measure_held() -> int:
    """Return how many bytes this process holds."""
    return held_bytes(os.getpid())


def end_here() -> None:
    """End this process at once, whatever it is busy with."""
    os.kill(os.getpid(), signal.SIGKILL)


class MemoryWatch:
    """Watches this process for as long as its body runs.

    Args:
        limit_bytes: Most that it may hold.
        fail: Called once, with a sentence that says how much more it holds.
        held: Returns how many bytes it holds.
        end: Ends it, after `fail`.
        poll_seconds: How often it is measured.
    """

    def __init__(
        self,
        limit_bytes: int,
        *,
        fail: Callable[[str], object],
        held: Callable[[], int] = measure_held,
        end: Callable[[], None] = end_here,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._limit = limit_bytes
        self._fail = fail
        self._held = held
        self._end = end
        self._poll_seconds = poll_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=keep_fields(self._watch), name="memory", daemon=True
        )

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._poll_seconds):
            held = self._held()
            if held > self._limit:
                self._stop(held)
                return

    def _stop(self, held: int) -> None:
        try:
            self._fail(
                f"it held {gigabytes(held)} of memory, more than the "
                f"{gigabytes(self._limit)} allowed for one stage; crop the images to "
                "the head and neck, or raise HANSEG_STAGE_MEMORY_BYTES"
            )
        except Exception:
            logger.exception("a stage out of memory could not be written down")
        finally:
            self._end()
