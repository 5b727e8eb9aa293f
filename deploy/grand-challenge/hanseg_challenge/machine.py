"""How many threads a case may use, where only so many processes are allowed."""

from __future__ import annotations

import math
import os
from pathlib import Path

MOST_THREADS = 24
"""Of each pool. PyTorch, OpenMP, Numba and ITK have one each: beyond 256 processes and
threads the challenge's container gets no more, and a thread that cannot be started ends
the case."""

POOLS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""The variables by which the pools are told how many threads they may have."""

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_processors(quota: Path = _CPU_QUOTA) -> int:
    """Return how many processors this container may use, at least one.

    Args:
        quota: The kernel's file with microseconds of processor a period, and the
            period: ``max 100000`` where there is no limit.
    """
    count = len(os.sched_getaffinity(0))
    try:
        allowed, period = quota.read_text().split()
        count = min(count, math.ceil(int(allowed) / int(period)))
    except (OSError, ValueError):  # another kernel's file, or no limit
        pass
    return max(1, count)


def limit_threads(asked: int, processors: int) -> dict[str, str]:
    """Return the variables that keep each pool of threads small.

    Args:
        asked: What the settings ask for; 0 for as many as there are processors.
        processors: How many there are.
    """
    count = min(asked or processors, MOST_THREADS)
    return {name: str(count) for name in POOLS} | {"HANSEG_THREADS": str(count)}
