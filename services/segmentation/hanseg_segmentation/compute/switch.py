"""Whether the compiled kernels are used, or their plain twins.

Plain PyTorch and NumPy give the same answers, more slowly. Tests run the whole pipeline
with both; a site switches kernels off (``HANSEG_KERNELS=false``) where they cannot be
compiled, or to rule them out as the cause of a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class _Switch:
    """One for the process: threads that share a case's work must agree."""

    on = True


def kernels_are_on() -> bool:
    """Whether compiled kernels are used."""
    return _Switch.on


def use_kernels(on: bool) -> None:
    """Use the compiled kernels from now on, or their plain twins."""
    _Switch.on = on


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Use the plain twins inside."""
    before = _Switch.on
    use_kernels(False)
    try:
        yield
    finally:
        use_kernels(before)
