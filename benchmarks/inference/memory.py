"""How much memory a process and all its descendants hold, at most.

Pages that several processes share, the libraries above all, are counted once: what is
summed is the proportional set size (Linux, proc_pid_smaps(5)).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

PERIOD_S = 0.25
"""A shorter peak than this may be missed."""

PROC = Path("/proc")


class TreeMemory:
    """Watches a process tree in a thread of its own while its block runs.

    Attributes:
        peak_gb: The largest sum seen, in GB of 10^9 bytes.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak_gb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self.peak_gb = max(self.peak_gb, tree_gb(self.pid))
            spent = time.monotonic() - began
            self._over.wait(max(PERIOD_S, 4 * spent))


def tree_gb(pid: int) -> float:
    """Return the memory of a process and its descendants now; 0 if it has ended."""
    return sum(_proportional_kib(each) for each in tree(pid, parents())) * 1024 / 1e9


def tree(root: int, parent_of: dict[int, int]) -> set[int]:
    """Return a process and all its descendants."""
    found = {root}
    grown = True
    while grown:
        further = {pid for pid, parent in parent_of.items() if parent in found} - found
        grown = bool(further)
        found |= further
    return found


def parents() -> dict[int, int]:
    """Return the parent of every process."""
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and (stat := _text(folder / "stat")):
            found[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def available_gb() -> float:
    """Return the memory that the machine could give to a new process."""
    return _field_kib(_text(PROC / "meminfo").splitlines(), "MemAvailable:") / 1e6


def _proportional_kib(pid: int) -> int:
    lines = _text(PROC / str(pid) / "smaps_rollup").splitlines()
    return _field_kib(lines, "Pss:")


def _field_kib(lines: Iterable[str], name: str) -> int:
    """Return a line's number; 0 where there is no such line."""
    for line in lines:
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def _text(path: Path) -> str:
    """Return a file of /proc; empty where the process ended in the meantime."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
