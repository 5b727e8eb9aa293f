"""Steps done as soon as they can be; what fails stops only what needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from enum import StrEnum

from hanseg_lab.challenge.ledger import Ledger, Step, Taken
from hanseg_shared.errors import HansegError


class Event(StrEnum):
    """What happened to a step."""

    KEPT = "kept"
    """It was done before."""

    BEGUN = "begun"

    DONE = "done"

    FAILED = "failed"

    SKIPPED = "skipped"
    """What it needs has failed."""


Tell = Callable[[Step, Event, str], None]
"""Told of every step: the step, what happened, and a remark."""


def run_steps(
    steps: Sequence[Step],
    ledger: Ledger,
    *,
    at_once: int,
    tell: Tell = lambda *_: None,
    stop: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Do what is not done yet.

    Args:
        steps: What to do, each after those that it needs.
        ledger: Knows what is done.
        at_once: How many steps of one thread run beside each other; the others run
            alone, once no step of one thread can be begun.
        tell: Told of every step.
        stop: Ends the commands that run, when the run itself is to end.

    Returns:
        The names of the steps that failed, or that need one that failed.
    """
    return _Run(list(steps), ledger, at_once, tell).finish(stop)


class _Run:
    """A run: what waits, what is under way, and what has ended."""

    def __init__(
        self, waiting: list[Step], ledger: Ledger, at_once: int, tell: Tell
    ) -> None:
        self.waiting, self.ledger, self.at_once = waiting, ledger, at_once
        self.tell = tell
        self.order = [step.name for step in waiting]
        self.under_way: dict[Future[bool], Step] = {}
        self.ended: dict[str, bool] = {}

    def finish(self, stop: Callable[[], None]) -> tuple[str, ...]:
        """Do all; return the names of what failed."""
        with ThreadPoolExecutor(self.at_once) as pool:
            try:
                while self.waiting or self.under_way:
                    self._go_on(pool)
            except BaseException:
                stop()
                raise
        return tuple(name for name in self.order if not self.ended[name])

    def _go_on(self, pool: ThreadPoolExecutor) -> None:
        """Begin what can be begun, and wait for an end."""
        ready = [step for step in self.waiting if self._can_begin(step)]
        narrow = [step for step in ready if step.one_thread]
        for step in narrow[: self.at_once - len(self.under_way)]:
            self.waiting.remove(step)
            self.under_way[pool.submit(self._do, step)] = step
        if not self.under_way:
            self.waiting.remove(ready[0])
            self.ended[ready[0].name] = self._do(ready[0])
            return
        for future in wait(self.under_way, return_when=FIRST_COMPLETED).done:
            self.ended[self.under_way.pop(future).name] = future.result()

    def _can_begin(self, step: Step) -> bool:
        return all(name in self.ended for name in step.needs)

    def _do(self, step: Step) -> bool:
        """Do a step; return whether it is done."""
        failed = [name for name in step.needs if not self.ended[name]]
        if failed:
            self.tell(step, Event.SKIPPED, f"it needs {', '.join(failed)}")
            return False
        if self.ledger.is_done(step):
            self.tell(step, Event.KEPT, "")
            return True
        self.tell(step, Event.BEGUN, "")
        try:
            taken = self.ledger.do(step)
        except HansegError as error:
            self.tell(step, Event.FAILED, error.message)
            return False
        self.tell(step, Event.DONE, describe(taken))
        return True


def describe(taken: Taken) -> str:
    """Return what a step took, in words."""
    return (
        f"{taken.seconds / 60:.1f} min, {taken.processor_seconds / 60:.1f} min of the"
        " processor"
    )
