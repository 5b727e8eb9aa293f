"""The three steps of a Winograd convolution as vector instructions.

Numba does not vectorise loops over so many arrays at once, so that what is done to 16,
or 8, channels is written as LLVM's instructions here. Compiled loops call the functions
of this module with addresses; see `winograd`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Address = int | np.int64

ROWS = 8
"""Rows that a product is made of at once: their sums fill half of AVX-512's registers,
or of AVX2's."""

COLUMNS = (32, 16, 8)
"""Columns that a product can be made of at once."""


def bring_in(
    channels: int, image: Address, row: int, column: int, result: Address, step: int
) -> None:
    """Transform 6 x 6 voxels of some channels to 36 numbers each.

    Args:
        channels: 16 or 8.
        image: Address of the first voxel's first channel.
        row: Bytes from a row's voxel to the next row's.
        column: Bytes from a voxel to the next.
        result: Address of the first numbers.
        step: Bytes from these to the next of the 36.
    """
    raise NotImplementedError


def multiply(
    columns: int,
    rows: Address,
    row: int,
    matrix: Address,
    count: int,
    result: Address,
    step: int,
) -> None:
    """Multiply 8 rows with a matrix of 32, 16 or 8 columns.

    Args:
        columns: How many.
        rows: Address of the first row.
        row: Bytes from a row to the next; rows may overlap.
        matrix: Address of the matrix, its rows contiguous.
        count: Length of a row, and rows of the matrix.
        result: Address of the first row of the product.
        step: Bytes from a row of it to the next.
    """
    raise NotImplementedError


def take_out(
    channels: int,
    numbers: Address,
    step: int,
    bias: Address,
    image: Address,
    row: int,
    column: int,
) -> None:
    """Transform 36 numbers of some channels to 4 x 4 voxels, and add the bias.

    Args:
        channels: 16 or 8.
        numbers: Address of the first numbers.
        step: Bytes from these to the next of the 36.
        bias: Address of the first channel's.
        image: Address of the first voxel's first channel, written.
        row: Bytes from a row's voxel to the next row's.
        column: Bytes from a voxel to the next.
    """
    raise NotImplementedError


class _Code:
    """Writes instructions about vectors of a number of floats.

    Args:
        builder: llvmlite's, of the function they go into.
        lanes: Floats of a vector.
    """

    def __init__(self, builder: Any, lanes: int) -> None:  # noqa: ANN401
        from llvmlite import ir

        self.ir, self.builder, self.lanes = ir, builder, lanes
        self.vector = ir.VectorType(ir.FloatType(), lanes)
        self.word = ir.IntType(64)

    def at(self, address: Any, *steps: tuple[Any, int]) -> Any:  # noqa: ANN401
        """Return an address that lies so many steps of so many bytes further."""
        for step, count in steps:
            bytes_ = self.builder.mul(step, self.ir.Constant(self.word, count))
            address = self.builder.add(address, bytes_)
        return address

    def bytes(self, count: int) -> Any:  # noqa: ANN401
        return self.ir.Constant(self.word, count)

    def load(self, address: Any) -> Any:  # noqa: ANN401
        pointer = self.builder.inttoptr(address, self.vector.as_pointer())
        return self.builder.load(pointer, align=4)

    def store(self, value: Any, address: Any) -> None:  # noqa: ANN401
        pointer = self.builder.inttoptr(address, self.vector.as_pointer())
        self.builder.store(value, pointer, align=4)

    def load_everywhere(self, address: Any) -> Any:  # noqa: ANN401
        """Return a vector of one float in all its places."""
        ir, builder = self.ir, self.builder
        pointer = builder.inttoptr(address, ir.FloatType().as_pointer())
        nothing, place = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        one = builder.insert_element(
            nothing, builder.load(pointer, align=4), ir.Constant(place, 0)
        )
        first = ir.Constant(ir.VectorType(place, self.lanes), [0] * self.lanes)
        return builder.shuffle_vector(one, nothing, first)

    def all(self, value: float) -> Any:  # noqa: ANN401
        """Return a vector of a constant."""
        return self.ir.Constant(self.vector, [float(value)] * self.lanes)

    def fma(self, a: Any, b: Any, c: Any) -> Any:  # noqa: ANN401
        """Return ``a * b + c``, rounded once."""
        from numba.core import cgutils

        kind = self.ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{self.lanes}f32"
        module = self.builder.module
        fused = cgutils.get_or_insert_function(module, kind, name)
        return self.builder.call(fused, [a, b, c])

    def forward(self, d: list[Any]) -> list[Any]:
        """Return the 6 numbers of 6 voxels in a line: B^T d for F(4, 3)."""
        add, subtract = self.builder.fadd, self.builder.fsub
        a = self.fma(self.all(-4), d[2], d[4])
        b = self.fma(self.all(-4), d[1], d[3])
        c, e = subtract(d[4], d[2]), subtract(d[3], d[1])
        return [
            self.fma(self.all(4), d[0], self.fma(self.all(-5), d[2], d[4])),
            add(a, b),
            subtract(a, b),
            self.fma(self.all(2), e, c),
            self.fma(self.all(-2), e, c),
            self.fma(self.all(4), d[1], self.fma(self.all(-5), d[3], d[5])),
        ]

    def inverse(self, m: list[Any]) -> list[Any]:
        """Return the 4 voxels in a line of 6 numbers: A^T m for F(4, 3)."""
        add, subtract = self.builder.fadd, self.builder.fsub
        a, b = add(m[1], m[2]), subtract(m[1], m[2])
        c, e = add(m[3], m[4]), subtract(m[3], m[4])
        return [
            add(m[0], add(a, c)),
            self.fma(self.all(2), e, b),
            self.fma(self.all(4), c, a),
            add(self.fma(self.all(8), e, b), m[5]),
        ]


def _bring_in(code: _Code, image, row, column, result, step):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    columns = [
        code.forward(
            [code.load(code.at(image, (row, i), (column, j))) for i in range(6)]
        )
        for j in range(6)
    ]
    for i in range(6):
        for j, value in enumerate(code.forward([each[i] for each in columns])):
            code.store(value, code.at(result, (step, 6 * i + j)))


def _take_out(code: _Code, numbers, step, bias, image, row, column):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    columns = [
        code.inverse([code.load(code.at(numbers, (step, 6 * i + j))) for i in range(6)])
        for j in range(6)
    ]
    shift = code.load(bias)
    for i in range(4):
        for j, value in enumerate(code.inverse([each[i] for each in columns])):
            place = code.at(image, (row, i), (column, j))
            code.store(code.builder.fadd(value, shift), place)


def _multiply(code: _Code, rows, row, matrix, count, result, step, *, width):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Write a loop whose sums stay in registers, `width` vectors for each row."""
    builder, word = code.builder, code.word
    size = 4 * code.lanes
    before = builder.block
    again, done = builder.append_basic_block(), builder.append_basic_block()
    starts = [code.at(rows, (row, r)) for r in range(ROWS)]
    builder.branch(again)
    builder.position_at_end(again)
    number = builder.phi(word)
    number.add_incoming(code.bytes(0), before)
    sums = [[builder.phi(code.vector) for _ in range(width)] for _ in range(ROWS)]
    line = code.at(matrix, (number, size * width))
    factors = [
        code.load(builder.add(line, code.bytes(size * place))) for place in range(width)
    ]
    found = []
    for start, held in zip(starts, sums, strict=True):
        value = code.load_everywhere(code.at(start, (number, 4)))
        found.append(
            [code.fma(value, f, each) for f, each in zip(factors, held, strict=True)]
        )
        for each, new in zip(held, found[-1], strict=True):
            each.add_incoming(code.all(0), before)
            each.add_incoming(new, again)
    following = builder.add(number, code.bytes(1))
    number.add_incoming(following, again)
    builder.cbranch(builder.icmp_signed("<", following, count), again, done)
    builder.position_at_end(done)
    for r, new in enumerate(found):
        for place, value in enumerate(new):
            to = builder.add(code.at(result, (step, r)), code.bytes(size * place))
            code.store(value, to)


@functools.cache
def teach_numba() -> None:
    """Tell Numba what to make of the three functions in loops that it compiles."""
    _teach_transforms()
    _teach_multiply()


def _teach_transforms() -> None:
    from numba.extending import overload

    in_16, in_8 = (_of_five(_bring_in, lanes) for lanes in (16, 8))
    out_16, out_8 = (_of_six(_take_out, lanes) for lanes in (16, 8))

    def bring_any(channels, image, row, column, result, step):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if channels == 16:
            in_16(image, row, column, result, step)
        else:
            in_8(image, row, column, result, step)

    def take_any(channels, numbers, step, bias, image, row, column):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if channels == 16:
            out_16(numbers, step, bias, image, row, column)
        else:
            out_8(numbers, step, bias, image, row, column)

    @overload(bring_in)
    def _of_bring_in(channels, image, row, column, result, step):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
        return bring_any

    @overload(take_out)
    def _of_take_out(channels, numbers, step, bias, image, row, column):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
        return take_any


def _teach_multiply() -> None:
    from numba.extending import overload

    wide, middle = (_of_six(_multiply, 16, width=width) for width in (2, 1))
    narrow = _of_six(_multiply, 8, width=1)

    def multiply_any(columns, rows, row, matrix, count, result, step):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if columns == 32:
            wide(rows, row, matrix, count, result, step)
        elif columns == 16:
            middle(rows, row, matrix, count, result, step)
        else:
            narrow(rows, row, matrix, count, result, step)

    @overload(multiply)
    def _of_multiply(columns, rows, row, matrix, count, result, step):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
        return multiply_any


def _of_five(write: Callable[..., None], lanes: int) -> Any:  # noqa: ANN401
    """Return what Numba replaces by instructions about five integers."""
    from numba.extending import intrinsic

    @intrinsic
    def replaced(_context, _a, _b, _c, _d, _e):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        return _instructions(write, lanes, 5)

    return replaced


def _of_six(write: Callable[..., None], lanes: int, **options: int) -> Any:  # noqa: ANN401
    """Return what Numba replaces by instructions about six integers."""
    from numba.extending import intrinsic

    @intrinsic
    def replaced(_context, _a, _b, _c, _d, _e, _f):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        return _instructions(write, lanes, 6, **options)

    return replaced


def _instructions(
    write: Callable[..., None], lanes: int, arguments: int, **options: int
) -> tuple[Any, Callable[..., Any]]:
    """Return the types of what Numba replaces, and what writes the instructions."""
    from numba import types

    def generate(context, builder, _signature, values):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        write(_Code(builder, lanes), *values, **options)
        return context.get_dummy_value()

    return types.void(*[types.int64] * arguments), generate
