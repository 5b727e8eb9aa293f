"""Half precision in compiled loops, which Numba only knows as bits.

An array of float16 is given to such a loop as ``array.view(np.int16)``. `as_float` and
`as_stored` become one instruction each of the processor, and are vectorised with the
loop around them; for float32 they do nothing, so that a loop serves both.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Stored = npt.NDArray[np.float32] | npt.NDArray[np.int16]
"""float32, or float16 as the bits of it."""


def as_float(stored: Any) -> Any:  # noqa: ANN401 - a number of either kind
    """Return a float32 from what an array holds: float32, or the bits of float16."""
    if isinstance(stored, np.int16):
        return np.float32(stored.view(np.float16))
    return stored


def as_stored(value: Any, like: Any) -> Any:  # noqa: ANN401 - a number of either kind
    """Return a float32 as an array holds it, rounded to the nearest, ties to even.

    Args:
        value: The number.
        like: Any value of the array.
    """
    if isinstance(like, np.int16):
        return np.float32(value).astype(np.float16).view(np.int16)
    return np.float32(value)


def as_bits(values: torch.Tensor) -> Stored:
    """Return an array that shares a tensor's memory: float16 as its bits.

    Args:
        values: float32 or float16, on the CPU.
    """
    bits = values.view(torch.int16) if values.dtype is torch.float16 else values
    array: Stored = bits.numpy()
    return array


@functools.cache
def teach_numba() -> None:
    """Tell Numba what to make of both functions in loops that it compiles."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic, overload

    @intrinsic
    def widened(_context, _bits):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - Numba's protocol
        def generate(_context, builder, _signature, values):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            half = builder.bitcast(values[0], ir.HalfType())
            return builder.fpext(half, ir.FloatType())

        return types.float32(types.int16), generate

    @intrinsic
    def narrowed(_context, _value):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - Numba's protocol
        def generate(_context, builder, _signature, values):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            half = builder.fptrunc(values[0], ir.HalfType())
            return builder.bitcast(half, ir.IntType(16))

        return types.int16(types.float32), generate

    @overload(as_float, inline="always")
    def _as_float(stored):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if stored == types.int16:
            return lambda stored: widened(stored)  # type: ignore[call-arg]
        return lambda stored: stored

    @overload(as_stored, inline="always")
    def _as_stored(value, like):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
        if like == types.int16:
            return lambda value, like: narrowed(np.float32(value))  # type: ignore[call-arg] # noqa: ARG005
        return lambda value, like: np.float32(value)  # noqa: ARG005
