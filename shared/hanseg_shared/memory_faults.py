"""How libraries say that they got no memory: few do so by a class of its own."""

from __future__ import annotations

import errno
import re

_NO_MEMORY = re.compile(
    r"bad_alloc|[Ff]ailed to allocate|[Oo]ut of memory|[Cc]an(?:'|no)t allocate memory"
)
"""The words of C++, ITK, CUDA, PyTorch's allocator on the CPU, and the C library."""


def says_no_memory(text: str) -> bool:
    """Whether a library's message says that it got no memory."""
    return _NO_MEMORY.search(text) is not None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the machine, or a device of it, has no memory left."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return says_no_memory(str(error))
