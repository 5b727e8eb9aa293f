"""How the worker asks the system for memory, and gives it back."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""PyTorch's variable; it is read before the first tensor is made."""

OWN_BLOCK_BYTES = 2**20
"""What is larger is asked for by itself, and goes back to the system once freed."""

_M_MMAP_THRESHOLD = -3
"""An option of glibc's ``mallopt`` (see ``man 3 mallopt``)."""


def ask_for_huge_pages() -> None:
    """Let PyTorch's tensors lie on huge pages, unless the environment says otherwise.

    Each layer of a large network asks for memory anew, which the kernel maps and
    zeroes page by page. With pages of 2 MiB a pass took 8 to 20 % less processor time
    in float32, and no more memory. Keeping freed memory instead (see
    `training.malloc`) saves a third, but holds a third more: too much for inference.
    """
    os.environ.setdefault(HUGE_PAGES, "1")


def let_blocks_go() -> bool:
    """Let the C library return a layer's features as soon as they are freed.

    By itself glibc raises the size from which it does so to 32 MiB, and keeps what is
    smaller: 80 MB beside a tile's 250, which are no faster for it.

    Returns:
        Whether it could be done: only with glibc.
    """
    return set_malloc((_M_MMAP_THRESHOLD, OWN_BLOCK_BYTES))


def set_malloc(*settings: tuple[int, int]) -> bool:
    """Set options of glibc's ``mallopt``; return whether all could be set."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(option, value) for option, value in settings)


def give_back_memory() -> bool:
    """Return freed memory to the system; what a stage held is not missed by the next.

    Pictures leave cycles behind that hold the case's volumes, and glibc keeps what was
    freed: at 512 x 512 x 150 a third of the worker's memory between two jobs.

    Returns:
        Whether the C library could be asked: only with glibc.
    """
    gc.collect()
    return trim_memory()


def trim_memory() -> bool:
    """Return what was freed already to the system; takes some milliseconds.

    Returns:
        Whether the C library could be asked: only with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True


def giving_back(body: Callable[Given, Result]) -> Callable[Given, Result]:
    """Return a function that does the same, and gives back the memory it used."""

    @functools.wraps(body)
    def do(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return body(*args, **kwargs)
        finally:
            give_back_memory()

    return do
