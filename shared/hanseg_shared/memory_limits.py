"""How much memory there is, and how much a process holds; Linux, in bytes.

What a process holds is what only swapping could take from it: its own pages and shared
memory (proc(5), RssAnon and RssShmem). Libraries mapped from files do not count, nor do
the large address ranges that CUDA and thread stacks reserve.
"""

from __future__ import annotations

from pathlib import Path

STAGE_SHARE = 0.7
"""Share of the memory that a stage may hold where no setting says how much."""

_PROC = Path("/proc")
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_HELD = ("RssAnon", "RssShmem")
_KIB = 1024


def stage_limit(setting_bytes: int) -> int:
    """Return how much one stage may hold.

    Args:
        setting_bytes: What the settings say; 0 for a share of what there is.
    """
    return setting_bytes or int(STAGE_SHARE * available())


def available() -> int:
    """Return the memory of this machine, or of its container if that has less."""
    machine = _fields(_PROC / "meminfo")["MemTotal"]
    return min([machine, *_container_limits()])


def free() -> int:
    """Return what programs could still take without swapping, container or not."""
    machine = _fields(_PROC / "meminfo")["MemAvailable"]
    return min([machine, *_container_limits()])


def held_bytes(pid: int) -> int:
    """Return how much a process holds; 0 for one that is gone."""
    try:
        fields = _fields(_PROC / str(pid) / "status")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(fields.get(name, 0) for name in _HELD)


def tree_held_bytes(pid: int) -> int:
    """Return how much a process and its descendants hold together."""
    return held_bytes(pid) + sum(tree_held_bytes(child) for child in _children(pid))


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in (_PROC / str(pid) / "task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _fields(path: Path) -> dict[str, int]:
    """Return the lines ``Name:  123 kB`` of a file, in bytes."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.split()[0]) * _KIB
    return found


def _container_limits() -> list[int]:
    found = []
    for path in _CGROUP_LIMITS:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # no such controller, or "max"
            continue
    return found


def gigabytes(count: int) -> str:
    """Return a number of bytes as a person reads it."""
    return f"{count / 1e9:.2f} GB"
