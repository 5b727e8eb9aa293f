"""A sign of life that a process without a port leaves for its container's health check.

It is a file with the time of the machine's monotonic clock, which all processes of a
machine share and nobody can set. Reading it needs none of the libraries of the service,
since every container is asked every few seconds.
"""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path

SWEEP = "sweep"
"""The name under which the sweep gives a sign after each pass."""

WORKERS = ("registration", "segmentation")
"""The names of workers: those of their queues. They give a sign after each report."""

PULSE_SECONDS = 60.0
"""A sweep that gave no sign for so long does not work."""

ALIVE_SECONDS = 15.0
"""A worker that has not reported for so long is taken for dead."""


def pulse_file(name: str) -> Path:
    """Return where this host's process of this name leaves its sign."""
    # containers may share the folder
    return Path(tempfile.gettempdir()) / f"hanseg-{name}-{socket.gethostname()}.alive"


def give_pulse(name: str) -> None:
    """Leave a sign of life; a disk that does not take it is no reason to stop."""
    path = pulse_file(name)
    try:
        draft = path.with_suffix(".new")
        draft.write_text(str(time.monotonic()))
        draft.replace(path)
    except OSError:
        return


def seconds_since_pulse(name: str) -> float | None:
    """Return how long ago the last sign was given; None if there was none."""
    try:
        given = float(pulse_file(name).read_text())
    except (OSError, ValueError):
        return None
    ago = time.monotonic() - given
    return ago if ago >= 0 else None  # else it is of the time before the last start
