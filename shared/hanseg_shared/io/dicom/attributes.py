"""Attributes of a DICOM data set, read with their types and named in every refusal.

pydicom converts values when they are asked for and raises whatever a damaged one
leads to; here that becomes a sentence that names file, keyword and tag.
"""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from hanseg_shared.errors import ImageContentError

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


def describe_tag(keyword: str) -> str:
    """Return an attribute as messages name it: ``Modality (0008,0060)``."""
    number = tag_for_keyword(keyword)
    if number is None:
        raise ValueError(f"DICOM has no attribute {keyword}")
    tag = Tag(number)
    return f"{keyword} ({tag.group:04X},{tag.element:04X})"


@contextmanager
def quietly() -> Iterator[None]:
    """Silence pydicom where values break the standard: it would log the patient's."""
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@dataclass(frozen=True, slots=True, eq=False)
class Attributes:
    """The attributes of a data set or of an item in one.

    Attributes:
        name: What the sender calls the file.
        dataset: Its attributes, those of interest at least.
    """

    name: str
    dataset: Dataset

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.dataset

    def text(self, keyword: str) -> str:
        """Return a single text, stripped; empty if it is missing or several."""
        value = self._value(keyword)
        return value.strip() if isinstance(value, str) else ""

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the texts of an attribute, stripped; none if it is missing."""
        value = self._value(keyword)
        if value is None:
            return ()
        values = value if _is_several(value) else [value]
        return tuple(str(each).strip() for each in values)

    def uid(self, keyword: str) -> str:
        """Return a UID that must be there.

        Raises:
            ImageContentError: It is missing or no UID.
        """
        value = self.text(keyword)
        if len(value) > _LONGEST_UID or not _UID.fullmatch(value):
            self.refuse(keyword, "is missing or no UID", "export the series again")
        return value

    def number(self, keyword: str) -> float | None:
        """Return a number; None if it is missing or empty.

        Raises:
            ImageContentError: It is no finite number.
        """
        values = self.numbers(keyword)
        if not values:
            return None
        if len(values) > 1:
            self.refuse(keyword, f"has {len(values)} values instead of one", _AGAIN)
        return values[0]

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the numbers of an attribute; none if it is missing.

        Raises:
            ImageContentError: One is no finite number.
        """
        value = self._value(keyword)
        if value is None or value == "":
            return ()
        values = value if _is_several(value) else [value]
        try:
            numbers = tuple(float(each) for each in values)
        except (TypeError, ValueError):
            self.refuse(keyword, "is no number", _AGAIN)
        if not all(math.isfinite(each) for each in numbers):
            self.refuse(keyword, "is not finite", _AGAIN)
        return numbers

    def vector(self, keyword: str, length: int) -> tuple[float, ...]:
        """Return as many numbers as there must be.

        Raises:
            ImageContentError: It is missing, or has more or fewer.
        """
        values = self.numbers(keyword)
        if len(values) != length:
            found = f"has {len(values)} values" if values else "is missing"
            self.refuse(keyword, f"{found}, but needs {length}", _AGAIN)
        return values

    def whole(self, keyword: str) -> int | None:
        """Return a whole number whose type is ambiguous (US or SS); None if missing.

        Raises:
            ImageContentError: It is none.
        """
        value = self._value(keyword)
        if isinstance(value, bytes):  # how pydicom leaves it in implicit VR
            return int.from_bytes(value[:2], "little") if len(value) >= 2 else None
        number = self.number(keyword)
        if number is not None and number != int(number):
            self.refuse(keyword, "is no whole number", _AGAIN)
        return None if number is None else int(number)

    def count(self, keyword: str) -> int:
        """Return a whole number from 1 to 65535 that must be there.

        Raises:
            ImageContentError: It is missing or another number.
        """
        value = self.number(keyword)
        if value is None or value != int(value) or not 1 <= value <= 0xFFFF:
            found = "is missing" if value is None else f"is {value:g}"
            self.refuse(keyword, f"{found}, but must be 1 to 65535", _AGAIN)
        return int(value)

    def item(self, keyword: str) -> Attributes | None:
        """Return the first item of a sequence; None without one."""
        items = self.items(keyword)
        return items[0] if items else None

    def items(self, keyword: str) -> list[Attributes]:
        """Return the items of a sequence."""
        value = self._value(keyword)
        if value is None or isinstance(value, str | bytes):
            return []
        return [Attributes(self.name, each) for each in value if _is_item(each)]

    def refuse(self, keyword: str, fault: str, remedy: str) -> NoReturn:
        """Refuse the file for what an attribute says.

        Raises:
            ImageContentError: Always.
        """
        raise ImageContentError(
            f"{self.name}: {describe_tag(keyword)} {fault}; {remedy}"
        )

    def _value(self, keyword: str) -> Any:  # noqa: ANN401 - what pydicom gives
        if keyword not in self.dataset:
            return None
        try:
            with quietly():
                return self.dataset[keyword].value
        except Exception:  # noqa: BLE001 - pydicom raises anything on damaged values
            self.refuse(keyword, "cannot be read", _AGAIN)


_AGAIN = "export the series again"


def _is_several(value: object) -> bool:
    return not isinstance(value, str | bytes | float | int)


def _is_item(value: object) -> bool:
    return isinstance(value, Dataset)
