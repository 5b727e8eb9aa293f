"""JPEG extended frames of 12 bits, made of flat blocks: they decode without loss.

A block of 8 x 8 pixels of one value has a DC coefficient and no other (ITU-T T.81 A.3),
so quantisation by 1 keeps it exactly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

BLOCK = 8
_LEVEL = 2048
"""What is subtracted of 12-bit samples before the transform (T.81 A.3.1)."""

_DC_BITS = 5
"""Each category of DC differences has its own number as a code of so many bits."""


def encode_flat_blocks(image: np.ndarray) -> bytes:
    """Return an image of whole flat blocks, values 0 to 4095, as JPEG extended."""
    rows, columns = image.shape
    blocks = image[::BLOCK, ::BLOCK]
    assert np.array_equal(np.kron(blocks, np.ones((BLOCK, BLOCK), int)), image)
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xDB, b"\x00" + bytes([1] * 64)),
            _segment(0xC1, struct.pack(">BHHB", 12, rows, columns, 1) + b"\x01\x11\0"),
            _segment(0xC4, _huffman(0x00, {_DC_BITS: range(16)})),
            _segment(0xC4, _huffman(0x10, {1: [0]})),
            _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
            _scan(blocks),
            b"\xff\xd9",
        )
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _huffman(table: int, symbols: dict[int, Iterable[int]]) -> bytes:
    listed = {length: list(symbols[length]) for length in symbols}
    counts = [len(listed.get(length, [])) for length in range(1, 17)]
    values = [each for length in sorted(listed) for each in listed[length]]
    return bytes([table, *counts, *values])


def _scan(blocks: np.ndarray) -> bytes:
    bits, previous = "", 0
    for value in blocks.ravel().tolist():
        dc = BLOCK * (value - _LEVEL)
        bits += _code(dc - previous) + "0"  # no further coefficient
        previous = dc
    bits += "1" * (-len(bits) % 8)
    packed = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    return packed.replace(b"\xff", b"\xff\x00")


def _code(difference: int) -> str:
    """Return a DC difference: its category, then its bits (T.81 F.1.2.1)."""
    category = abs(difference).bit_length()
    code = format(category, f"0{_DC_BITS}b")
    if category == 0:
        return code
    shown = difference if difference > 0 else difference + (1 << category) - 1
    return code + format(shown, f"0{category}b")
