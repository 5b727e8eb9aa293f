"""The progress of a registration, and the time that it may take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hanseg_shared.errors import RegistrationError

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0..1."""


def no_progress(done: float) -> None:
    """Ignore the share of the work that is done."""
    del done


@dataclass(slots=True)
class Clock:
    """Reports the progress between steps, and ends the work when its time is over."""

    deadline_s: float | None
    progress: Progress
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; infinite without one."""
        return math.inf if self.deadline_s is None else self.deadline_s - self.seconds

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_s is not None and self.seconds > self.deadline_s

    def step(self, done: float) -> None:
        """Report the share that is done, before the next step.

        Raises:
            RegistrationError: The deadline has passed.
        """
        if self.is_over:
            raise RegistrationError(
                f"the registration took {self.seconds:.0f} s; "
                f"{self.deadline_s:g} s are allowed"
            )
        self.progress(done)
