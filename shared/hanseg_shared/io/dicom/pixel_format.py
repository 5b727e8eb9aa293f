"""How a pixel is stored: bits, sign, and which stored values are padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from hanseg_shared.io.dicom.attributes import Attributes

_ALLOCATED = (8, 16, 32)

_PADDING_BITS = 16
"""What US and SS have, the types of Pixel Padding Value."""

_GRAY = ("MONOCHROME1", "MONOCHROME2")

Stored = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of an image are stored (PS3.3 C.7.6.3.1, PS3.5 section 8.1.1).

    Attributes:
        rows: Pixels down a column.
        columns: Pixels along a row.
        allocated: Bits of a cell.
        stored: Bits of the value in it.
        high: The value's highest bit, from 0 on; others may hold overlays.
        signed: Whether the value is in two's complement.
        inverted: Whether low values are meant to be shown bright (MONOCHROME1).
        padding: The lowest and highest value that are padding, both included; None if
            none is.
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    high: int
    signed: bool
    inverted: bool
    padding: tuple[int, int] | None

    @classmethod
    def of(cls, attributes: Attributes) -> Self:
        """Return how an image says its pixels are stored.

        Raises:
            ImageContentError: They are in colour, or the header contradicts itself.
        """
        _require_gray(attributes)
        allocated = attributes.count("BitsAllocated")
        stored = attributes.count("BitsStored")
        high = attributes.number("HighBit")
        high_bit = stored - 1 if high is None else int(high)
        if allocated not in _ALLOCATED:
            attributes.refuse("BitsAllocated", f"is {allocated}, {_NOT_READ}", _AGAIN)
        if not stored - 1 <= high_bit < allocated:
            attributes.refuse(
                "HighBit",
                f"is {high_bit} for {stored} bits stored in {allocated}",
                _AGAIN,
            )
        signed = attributes.number("PixelRepresentation")
        if signed not in (0, 1):
            attributes.refuse("PixelRepresentation", "is neither 0 nor 1", _AGAIN)
        return cls(
            rows=attributes.count("Rows"),
            columns=attributes.count("Columns"),
            allocated=allocated,
            stored=stored,
            high=high_bit,
            signed=signed == 1,
            inverted=attributes.text("PhotometricInterpretation") == "MONOCHROME1",
            padding=_read_padding(attributes, allocated, signed=signed == 1),
        )

    @property
    def cells(self) -> np.dtype[np.unsignedinteger]:
        """The type of a cell, in little endian."""
        return np.dtype(f"<u{self.allocated // 8}")

    @property
    def frame_bytes(self) -> int:
        """How many bytes a frame takes that is not packed."""
        return self.rows * self.columns * self.allocated // 8

    def values_of(self, cells: Stored) -> Stored:
        """Return the stored values of cells, without what else their bits hold."""
        cells = cells.view(self.cells)
        over = self.allocated - 1 - self.high
        if self.signed:
            values = cells.view(f"<i{self.allocated // 8}")
            if over:
                values = values << over
            return values >> (self.allocated - self.stored) if self._partly else values
        if not self._partly:
            return cells
        under = self.high + 1 - self.stored
        return (cells >> under) & self.cells.type((1 << self.stored) - 1)

    def padding_of(self, cells: Stored, values: Stored) -> npt.NDArray[np.bool_] | None:
        """Return where there is padding; None if nowhere.

        Some scanners write padding into all bits of a cell, others into those of the
        value only.
        """
        if self.padding is None:
            return None
        low, high = self.padding
        padded = values == low if low == high else (values >= low) & (values <= high)
        if self._partly:
            kind = "i" if self.signed else "u"
            whole = cells.view(f"<{kind}{self.allocated // 8}")
            padded |= (whole >= low) & (whole <= high)
        return padded if padded.any() else None

    @property
    def _partly(self) -> bool:
        """Whether a cell has more bits than the value."""
        return self.stored < self.allocated


_AGAIN = "export the series again"
_NOT_READ = "but 8, 16 or 32 are read"


def _require_gray(attributes: Attributes) -> None:
    samples = attributes.number("SamplesPerPixel")
    if samples not in (None, 1):
        attributes.refuse(
            "SamplesPerPixel",
            f"is {samples:g}: a colour image has no Hounsfield units or MR signal",
            "send the original series, not a screen capture",
        )
    meaning = attributes.text("PhotometricInterpretation")
    if meaning not in _GRAY:
        attributes.refuse(
            "PhotometricInterpretation",
            "is neither MONOCHROME1 nor MONOCHROME2",
            "send the original series, not a colour image",
        )


def _read_padding(
    attributes: Attributes, allocated: int, *, signed: bool
) -> tuple[int, int] | None:
    """Return the range of padding, in the numbers that the stored values are."""
    value = _read_stored(attributes, "PixelPaddingValue", allocated, signed=signed)
    if value is None:
        return None
    limit = _read_stored(attributes, "PixelPaddingRangeLimit", allocated, signed=signed)
    other = value if limit is None else limit
    return min(value, other), max(value, other)


def _read_stored(
    attributes: Attributes, keyword: str, allocated: int, *, signed: bool
) -> int | None:
    """Return a stored value from the header, whichever of the two types it has there.

    Its type should follow Pixel Representation (PS3.5 section 6.2), but often does not.
    """
    value = attributes.whole(keyword)
    if value is None:
        return None
    bits = min(allocated, _PADDING_BITS)
    value %= 1 << bits
    negative = signed and value >= 1 << (bits - 1)
    return value - (1 << bits) if negative else value
