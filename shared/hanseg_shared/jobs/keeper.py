"""The process that keeps a worker: it has loaded its libraries, and forks the worker.

Loading takes most of a worker's start. So a worker that is killed, for want of memory
most often, is forked anew and back at work in a fraction of the time.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType

from hanseg_shared.jobs.leash import die_with_parent

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""What asks a worker to stop; the keeper hands it on."""

QUICK_DEATH_SECONDS = 10.0
"""A worker that is killed sooner is left to who started the keeper, who waits longer
and longer between two starts."""


class Keeper:
    """Runs a worker in a forked process, again and again while it is killed.

    Args:
        serve: What the forked process does; returns its exit status.
    """

    def __init__(self, serve: Callable[[], int | None]) -> None:
        self._serve = serve
        self._worker: int | None = None
        self._is_stopping = False

    def run(self) -> int:
        """Return the worker's exit status once it has ended by itself.

        If it was killed at once, or when it was told to stop, this process ends as it.
        """
        before = {
            number: signal.signal(number, self._hand_on) for number in STOP_SIGNALS
        }
        gc.freeze()  # what is shared with the worker stays shared
        while True:
            began = time.monotonic()
            worker = self._fork(before)
            if self._is_stopping:  # told while there was no worker
                os.kill(worker, signal.SIGTERM)
            _, status = os.waitpid(worker, 0)
            self._worker = None
            if not os.WIFSIGNALED(status):
                return os.waitstatus_to_exitcode(status)
            killed_by = signal.Signals(os.WTERMSIG(status))
            if self._is_stopping or time.monotonic() - began < QUICK_DEATH_SECONDS:
                _end_by(killed_by)
            logger.warning(
                "the worker was killed by %s and is started again", killed_by.name
            )

    def _hand_on(self, number: int, _: FrameType | None) -> None:
        self._is_stopping = True
        if self._worker is not None:
            os.kill(self._worker, number)

    def _fork(self, handlers: Mapping[signal.Signals, object]) -> int:
        keeper = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        worker = os.fork()
        if worker:
            self._worker = worker
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            return worker
        for number, handler in handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        # a signal to the keeper's group reaches the worker once, through the keeper
        os.setpgid(0, 0)
        die_with_parent(signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        if os.getppid() != keeper:  # it died before the kernel was told
            os._exit(1)
        sys.exit(self._serve())


def _end_by(number: signal.Signals) -> None:
    if number not in {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
