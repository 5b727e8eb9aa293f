"""A case contoured in a process that is watched: its time, its death, its answer.

The process that watches stays small, so that it is the other one that is killed where
memory runs out, and what happened can still be said.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from hanseg_challenge.plan import ANSWER, Answer, Order

ORDER = "order.json"

COMMAND = (sys.executable, "-m", "hanseg_challenge.contour")
"""What contours one case; the path of its order is added."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Runs orders, each in a process of its own.

    Attributes:
        command: What carries out an order, without the order's path.
        environment: Variables of that process, beside those of this one.
    """

    command: Sequence[str] = COMMAND
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, order: Order) -> Answer:
        """Have an order carried out, and return what became of it; never raises.

        A process that takes longer than `Order.seconds` is killed, with all that it has
        started.
        """
        path = order.scratch / ORDER
        path.write_text(order.model_dump_json())
        process = subprocess.Popen(
            [*self.command, str(path)],
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=order.seconds)
        except subprocess.TimeoutExpired:
            return Answer(
                error=f"the case was stopped after {order.seconds:g} s, its time limit"
            )
        finally:
            _kill_all(process)
        return _read_answer(order.scratch / ANSWER, status)


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and of those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_answer(path: Path, status: int) -> Answer:
    if status == -signal.SIGKILL:
        return Answer(
            error="the process that contoured the case was killed, most likely for lack"
            " of memory"
        )
    if status < 0:
        name = signal.Signals(-status).name
        return Answer(error=f"the process that contoured the case died by {name}")
    try:
        return Answer.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return Answer(
            error="the process that contoured the case ended with status"
            f" {status} and no answer; its log says why"
        )
