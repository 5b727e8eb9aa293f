"""The elements of a DICOM data set, walked once before any parser sees them.

Lengths are never trusted: every value must lie in what it is part of. Nothing is
loaded but the few short values asked for, and nothing is recursive, so that neither a
length nor a depth that a sender makes up costs anything. What passes is read by
pydicom in the same way: encodings that it would have to guess are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap

from hanseg_shared.errors import ImageError, ImageTooLargeError
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.limits import Limits

PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_ITEM_START = b"\xfe\xff\x00\xe0"
_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR",
     b"UT", b"UV")
)  # fmt: skip
_SHORT_VRS = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO",
     b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
_BYTES = frozenset((b"OB", b"OW"))
_MOST_VALUE_BYTES = 1024
"""Longest value that is looked at; a UID has 64, a number 16."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where bytes lie, from the file's start."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the top level.

    Attributes:
        vr: Its value representation; None where the encoding does not say it.
        data: Its first bytes.
    """

    vr: bytes | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Pixels:
    """Where Pixel Data (7FE0,0010) lies.

    Attributes:
        spans: The value; of encapsulated pixels, the basic offset table and then each
            fragment.
        encapsulated: Whether it is in fragments (PS3.5 A.4).
    """

    spans: tuple[Span, ...]
    encapsulated: bool


@dataclass(frozen=True, slots=True)
class Outline:
    """What was found in a data set.

    Attributes:
        values: Those asked for, by tag; of the top level only.
        pixels: Where the pixels are; None if there are none.
    """

    values: dict[int, Value]
    pixels: Pixels | None


@dataclass(slots=True)
class Budget:
    """How many elements and items the files of an archive may still have.

    An empty one takes a few bytes of a file, next to none of an archive, and
    microseconds of every parser.
    """

    elements: int
    items: int

    @classmethod
    def of(cls, limits: Limits) -> Budget:
        """Return what an archive may have."""
        return cls(limits.max_elements, limits.max_items)


@dataclass(slots=True)
class _Level:
    """A data set, or a sequence, within others."""

    end: int
    explicit: bool
    is_sequence: bool = False
    is_undefined: bool = False


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    vr: bytes | None
    start: int
    length: int


def walk(
    data: mmap,
    start: int,
    *,
    explicit: bool,
    wanted: Collection[int],
    name: str,
    limits: Limits,
    budget: Budget,
) -> Outline:
    """Return the values asked for, after a look at every element.

    Args:
        data: The whole file.
        start: Where its data set begins.
        explicit: Whether elements name their VR.
        wanted: Tags whose values are returned.
        name: What the sender calls the file.
        limits: The cap on depth.
        budget: Taken from for each element and item.

    Raises:
        ImageTooLargeError: There are more elements or items than are left of the
            budget, or deeper ones than allowed.
        ImageError: An element does not lie in what it is part of, or is not written
            as the transfer syntax says.
    """
    walk_ = _Walk(data, name, limits, budget, frozenset(wanted))
    return walk_.run(start, explicit=explicit)


@contextmanager
def walk_file(
    file: DicomFile,
    start: int,
    *,
    explicit: bool,
    wanted: Collection[int],
    limits: Limits,
    budget: Budget,
) -> Iterator[tuple[mmap, Outline]]:
    """Yield a file's bytes, which are read where they are looked at, and its outline.

    Args:
        file: Which.
        start: Where its data set begins.
        explicit: Whether elements name their VR.
        wanted: Tags whose values are returned.
        limits: The cap on depth.
        budget: Taken from for each element and item.

    Raises:
        ImageTooLargeError: As `walk`.
        ImageError: As `walk`.
        OSError: The file cannot be opened.
    """
    with (
        file.path.open("rb") as opened,
        mmap(opened.fileno(), 0, access=ACCESS_READ) as data,
    ):
        yield (
            data,
            walk(
                data,
                start,
                explicit=explicit,
                wanted=wanted,
                name=file.name,
                limits=limits,
                budget=budget,
            ),
        )


@dataclass(slots=True)
class _Walk:
    data: mmap
    name: str
    limits: Limits
    budget: Budget
    wanted: frozenset[int]
    values: dict[int, Value] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    levels: list[_Level] = field(default_factory=list)
    at: int = 0
    pixels: Pixels | None = None

    def run(self, start: int, *, explicit: bool) -> Outline:
        """Walk to the end."""
        self.at = start
        self.levels = [_Level(len(self.data), explicit)]
        self._require_encoding(explicit=explicit)
        while self._step():
            self.budget.elements -= 1
            if self.budget.elements < 0:
                raise self._too_many("elements", self.limits.max_elements)
        return Outline(self.values, self.pixels)

    def _count_item(self) -> None:
        self.budget.items -= 1
        if self.budget.items < 0:
            raise self._too_many("items and fragments", self.limits.max_items)

    def _too_many(self, what: str, most: int) -> ImageTooLargeError:
        return ImageTooLargeError(
            f"{self.name}: with it, the files have more than {most} {what}; send the "
            "CT and MR series alone, without private elements"
        )

    def _step(self) -> bool:
        """Take one step; return whether there is another."""
        level = self.levels[-1]
        left = level.end - self.at
        if left == 0 and not level.is_undefined:
            self.levels.pop()
            return bool(self.levels)
        if left < 8:
            return self._end_early(left)
        if level.is_sequence:
            self._enter_item(level)
            return True
        if self.pixels and len(self.levels) == 1 and not any(self._head()):
            return False  # padding
        element = self._element(level)
        if element.tag == _ITEM_END:
            self._leave(is_sequence=False)
        else:
            self._pass(element, level)
        return True

    def _head(self) -> bytes:
        return self.data[self.at : self.at + 8]

    def _end_early(self, left: int) -> bool:
        """A few bytes after the last element are padding; elsewhere they are damage."""
        if len(self.levels) == 1 and not any(self.data[self.at : self.at + left]):
            return False
        raise self._damaged("it ends within an element")

    def _enter_item(self, level: _Level) -> None:
        group, number, length = struct.unpack_from("<HHL", self.data, self.at)
        tag = group << 16 | number
        self.at += 8
        if tag == _SEQUENCE_END:
            self._leave(is_sequence=True)
        elif tag == _ITEM:
            self._count_item()
            explicit = level.explicit and self._names_vr()
            self._enter(_ITEM, length, explicit, is_sequence=False)
        else:
            raise self._damaged(f"a sequence holds {show(tag)} where an item belongs")

    def _names_vr(self) -> bool:
        """Return whether the element here names its VR, judged as pydicom does.

        An item may be Implicit VR in an Explicit VR file (PS3.5 6.2.2).
        """
        vr = self.data[self.at + 4 : self.at + 6]
        return len(vr) < 2 or all(0x40 < letter < 0x5B for letter in vr)

    def _require_encoding(self, *, explicit: bool) -> None:
        if self.at + 8 <= len(self.data) and self._names_vr() is not explicit:
            written, said = ("im", "ex") if explicit else ("ex", "im")
            raise self._damaged(
                f"its elements are written as {written}plicit VR, but the Transfer "
                f"Syntax UID (0002,0010) says {said}plicit VR"
            )

    def _leave(self, *, is_sequence: bool) -> None:
        level = self.levels[-1]
        if level.is_sequence is not is_sequence or not level.is_undefined:
            raise self._damaged("a delimiter stands where nothing is to be ended")
        self.levels.pop()

    def _element(self, level: _Level) -> _Element:
        group, number, vr, length = struct.unpack_from("<HH2sH", self.data, self.at)
        tag = group << 16 | number
        start = self.at + 8
        if not level.explicit or tag == _ITEM_END:
            (length,) = struct.unpack_from("<L", self.data, self.at + 4)
            self.at = start
            return _Element(tag, None, start, length)
        if vr in _LONG_VRS:
            if start + 4 > level.end:
                raise self._damaged(f"it ends within {show(tag)}")
            (length,) = struct.unpack_from("<L", self.data, start)
            start += 4
        elif vr not in _SHORT_VRS:
            raise self._damaged(
                f"{show(tag)} has the value representation {vr.decode('latin-1')!r}, "
                "which DICOM does not know"
            )
        self.at = start
        return _Element(tag, vr, start, length)

    def _pass(self, element: _Element, level: _Level) -> None:
        """Pass over an element, or go into it."""
        at_top = len(self.levels) == 1
        if at_top:
            self._require_once(element.tag)
        if element.length == _UNDEFINED and element.vr in _BYTES:
            spans = self._fragments(element.tag, level)
            if at_top and element.tag == PIXEL_DATA:
                self.pixels = Pixels(spans, encapsulated=True)
        elif self._is_sequence(element):
            self._enter(element.tag, element.length, level.explicit, is_sequence=True)
        else:
            self._require_inside(element.tag, element.length, level)
            if at_top:
                self._keep(element)
            self.at += element.length

    def _keep(self, element: _Element) -> None:
        if element.tag == PIXEL_DATA:
            span = Span(element.start, element.length)
            self.pixels = Pixels((span,), encapsulated=False)
        elif element.tag in self.wanted:
            end = element.start + min(element.length, _MOST_VALUE_BYTES)
            self.values[element.tag] = Value(element.vr, self.data[element.start : end])

    def _is_sequence(self, element: _Element) -> bool:
        """Return whether a value is one of items, whatever its VR says of it."""
        if element.vr not in {None, b"UN", b"SQ"}:
            return False
        start = self.data[element.start : element.start + 4]
        return (
            element.vr == b"SQ"
            or element.length == _UNDEFINED
            or (element.length >= 8 and start == _ITEM_START)
        )

    def _fragments(self, tag: int, level: _Level) -> tuple[Span, ...]:
        """Pass over the fragments of a value, and return where each lies."""
        spans: list[Span] = []
        while level.end - self.at >= 8:
            group, number, length = struct.unpack_from("<HHL", self.data, self.at)
            self.at += 8
            if group << 16 | number == _SEQUENCE_END:
                return tuple(spans)
            if group << 16 | number != _ITEM:
                raise self._damaged(
                    f"{show(group << 16 | number)} stands where a fragment of "
                    f"{show(tag)} belongs"
                )
            self._count_item()
            self._require_inside(tag, length, level)
            spans.append(Span(self.at, length))
            self.at += length
        raise self._damaged(f"the fragments of {show(tag)} have no end")

    def _enter(
        self, tag: int, length: int, explicit: bool, *, is_sequence: bool
    ) -> None:
        parent = self.levels[-1]
        if len(self.levels) > 2 * self.limits.max_nesting:
            raise ImageTooLargeError(
                f"{self.name}: its sequences are nested more than "
                f"{self.limits.max_nesting} deep at {show(tag)}; export it without its "
                "private elements"
            )
        undefined = length == _UNDEFINED
        if not undefined:
            self._require_inside(tag, length, parent)
        end = parent.end if undefined else self.at + length
        self.levels.append(_Level(end, explicit, is_sequence, undefined))

    def _require_inside(self, tag: int, length: int, level: _Level) -> None:
        if self.at + length > level.end:
            raise self._damaged(
                f"{show(tag)} claims {length} bytes, where {level.end - self.at} are "
                "left"
            )

    def _require_once(self, tag: int) -> None:
        if tag in self.seen:
            raise self._damaged(f"{show(tag)} is given twice")
        self.seen.add(tag)

    def _damaged(self, what: str) -> ImageError:
        return ImageError(
            f"{self.name}: {what}: the file is damaged or cut off; export the series "
            "again"
        )


def show(tag: int) -> str:
    """Return a tag as people write it, such as ``(0028,0010)``."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
