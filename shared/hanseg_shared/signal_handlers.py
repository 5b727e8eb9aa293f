"""Signals that end a process, handled otherwise for the time of a block."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def handling(
    numbers: Collection[signal.Signals],
    handle: Callable[[int, FrameType | None], None],
) -> Iterator[None]:
    """Have signals handled for the time of a block, as before it afterwards.

    A signal that is ignored, as by ``nohup``, stays so.
    """
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(_: int, __: FrameType | None) -> None:
    """Take a signal for Ctrl-C, so that everything is cleaned up.

    Patients' images would be left in a temporary folder otherwise, or a command would
    be at work that nobody waits for any more.
    """
    raise KeyboardInterrupt
