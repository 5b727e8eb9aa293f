"""Round after round over a watched folder, until it is done or told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from hanseg_shared.client.answers import BusyError, KeyRefusedError
from hanseg_shared.client.segment import LOST_TOUCH, PAUSE_SECONDS
from hanseg_shared.client.watch.run import WatchRun
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.signal_handlers import handling

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopping(Protocol):
    """Says when to stop; a `threading.Event` does."""

    def is_set(self) -> bool:
        """Whether to stop."""

    def wait(self, timeout: float) -> bool:
        """Wait for so many seconds, or until told to stop."""


def keep_watching(
    run: WatchRun, *, once: bool, poll_seconds: float, stopping: Stopping
) -> None:
    """Do rounds; a service that is away is waited for.

    Args:
        run: What is watched.
        once: Whether to end when nothing is left to do, and where the service does not
            answer for about a minute.
        poll_seconds: Between two rounds.
        stopping: Says when to stop.

    Raises:
        KeyRefusedError: The service lets it in no more.
        ServiceUnavailableError: It does not answer, and `once` is set.
    """
    failures = 0
    while not stopping.is_set():
        pause = poll_seconds
        try:
            run.round()
        except KeyRefusedError:
            raise  # waiting is no remedy
        except BusyError as error:
            run.say_waiting(error.message)
            pause = max(pause, error.retry_after or 0.0)
        except ServiceUnavailableError as error:
            failures += 1
            if once and failures >= LOST_TOUCH:
                raise
            run.say_waiting(f"{error.message}; trying again …")
            pause = PAUSE_SECONDS
        else:
            failures = 0
            run.say_well()
            if once and run.is_idle:
                return
        stopping.wait(pause)


@contextmanager
def stopped_by_signals(say: Callable[[], None]) -> Iterator[threading.Event]:
    """Yield what is set by the first signal to end; a second one interrupts at once.

    Args:
        say: Told of the first.
    """
    stopping = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        say()

    with handling(STOP_SIGNALS, stop):
        yield stopping
