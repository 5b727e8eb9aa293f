"""Commands as child processes: what they took, their words in a file, their end.

The children inherit the lock of the folder they work in: a run that is killed may leave
a command behind, and the next run must not begin beside it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hanseg_lab.challenge.ledger import Taken
from hanseg_shared.errors import ProcessLostError

HANSEG = "hanseg"
"""The first word of a command of the product."""

OWN = "challenge"
"""The first word of a command of this package."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}
"""What keeps PyTorch, NumPy and ITK to one thread."""

LAST_WORDS = 12
"""Lines of a failed command's words that an error repeats."""

ELSEWHERE = ("HANSEG_URL", "HANSEG_DATA")
"""Settings that would send cases to a service that does not have the models."""


class Runner(Protocol):
    """Runs a command and waits for its end."""

    def __call__(
        self,
        words: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Taken:
        """Run a command.

        Args:
            words: `HANSEG` or `OWN`, the sub-command and its arguments.
            log: File that its words are added to.
            environment: Variables besides this process's own.

        Raises:
            ProcessLostError: It did not end well; the message has its last words.
        """
        ...


class ChildCommands:
    """Runs commands as child processes; see `Runner`.

    Args:
        lock: Descriptor of the folder's lock, which they inherit; None without.
    """

    def __init__(self, lock: int | None = None) -> None:
        self._inherited = () if lock is None else (lock,)
        self._guard = threading.Lock()
        self._alive: set[subprocess.Popen[bytes]] = set()

    def __call__(
        self,
        words: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Taken:
        """Run a command; see `Runner`."""
        own = {k: v for k, v in os.environ.items() if k not in ELSEWHERE}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            file.write(f"\n$ {' '.join(words)}\n".encode())
            file.flush()
            begun = time.monotonic()
            child = subprocess.Popen(
                _program(words),
                env=own | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=self._inherited,
            )
            with self._guard:
                self._alive.add(child)
            try:
                status, processor_seconds = _wait(child)
            except BaseException:  # interrupted here, where `stop` would come too late
                child.terminate()
                child.wait()
                raise
            finally:
                with self._guard:
                    self._alive.discard(child)
        if status != 0:
            raise ProcessLostError(
                f"{' '.join(words[:3])} ended with status {status}; all its words are"
                f" in {log}:\n{_last_words(log)}"
            )
        return Taken(time.monotonic() - begun, processor_seconds)

    def stop(self) -> None:
        """Ask the commands that run to end."""
        with self._guard:
            for child in self._alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)


def _program(words: Sequence[str]) -> list[str]:
    first, *rest = words
    if first == HANSEG:
        return [str(Path(sys.executable).with_name(HANSEG)), *rest]
    return [sys.executable, "-m", "hanseg_lab.challenge", *rest]


def _wait(child: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Wait for a child; return its status, and the processor's seconds of its tree."""
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, used.ru_utime + used.ru_stime


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LAST_WORDS:])
