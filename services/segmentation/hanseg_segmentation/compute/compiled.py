"""Loops that Numba compiles, and how threads share them out.

They release the interpreter lock, so plain threads will do. No threading layer is
involved, which a forked worker could trip over.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Done = TypeVar("Done")

SLICES_AT_ONCE = 4
"""Slices a thread takes at a time, at least."""

MOST_TASKS = 64
"""More parts than this gain nothing."""


def compiled(function: Callable[..., Any], signature: str) -> Callable[..., Any]:
    """Return a function's machine code for arguments of these types.

    It is kept on disk between processes. Where neither the package's folder nor the
    user's cache can be written, it is compiled anew (some seconds).
    """
    import numba

    compiler = functools.partial(numba.njit, signature, nogil=True, error_model="numpy")
    try:
        return compiler(cache=True)(function)
    except (RuntimeError, OSError) as error:  # no place for the cache can be written
        logger.info("compiled loops are not kept on disk: %s", error)
        return compiler()(function)


def teach(*helpers: Callable[..., Any], inline: bool = False) -> None:
    """Let Numba compile functions of ours into the loops that call them.

    Args:
        helpers: The functions; each may call those taught before.
        inline: Whether Numba itself copies them into the loop, so that this is
            vectorised with them. LLVM copies small ones in any case.
    """
    from numba.extending import overload

    for helper in helpers:
        names = ", ".join(inspect.signature(helper).parameters)
        stand_in = eval(f"lambda {names}: helper", {"helper": helper})  # noqa: S307 - names that we made
        teach_one = overload(
            helper,
            inline="always" if inline else "never",
            jit_options={"error_model": "numpy", "forceinline": not inline},
        )
        teach_one(stand_in)


def over_slices(work: Callable[[int, int], Done], count: int) -> list[Done]:
    """Return what ``work(first, last)`` returns for parts of `count` slices.

    They are shared out to this process's cores.
    """
    step = max(SLICES_AT_ONCE, math.ceil(count / MOST_TASKS))
    return over_parts(work, [*range(0, count, step), count])


def over_parts(work: Callable[[int, int], Done], ends: Sequence[int]) -> list[Done]:
    """Return what ``work(first, last)`` returns between each end and the next.

    The parts are shared out to this process's cores; the results are in their order.
    """
    with ThreadPoolExecutor(max_workers=threads()) as pool:
        return list(pool.map(work, ends[:-1], ends[1:]))


def threads() -> int:
    """Return torch's number of threads, which the worker sets from its settings."""
    import torch

    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1))
