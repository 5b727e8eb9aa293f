"""Values as they are written: their texts and lengths, numbers, and items."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

LONGEST = {
    "AE": 16,
    "CS": 16,
    "DA": 8,
    "DS": 16,
    "IS": 12,
    "LO": 64,
    "SH": 16,
    "ST": 1024,
    "TM": 14,
    "UI": 64,
}
"""Characters that a value of each kind has at most (PS3.5 6.2)."""

_IN_CHARACTER_SET = {"LO", "SH", "ST"}
"""Kinds whose characters may take several bytes."""


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return a sequence's items; none if it is missing or empty."""
    found = dataset.get(keyword)
    return list(found) if isinstance(found, Sequence) else []


def values_of(dataset: Dataset, keyword: str) -> list[str]:
    """Return an element's values as text, however it is held; none if it is missing."""
    tag = _tag(keyword)
    return _texts(dataset.get_item(tag)) if tag in dataset else []


@functools.cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def numbers_of(dataset: Dataset, keyword: str) -> npt.NDArray[np.float64]:
    """Return an element's values as numbers; those that are none are NaN."""
    texts = values_of(dataset, keyword)
    try:
        return np.array(texts, dtype=np.float64)
    except ValueError:
        return np.full(len(texts), np.nan)


def lint_values(dataset: Dataset) -> Iterator[str]:
    """Yield elements with values longer than their kind allows, or of no kind.

    With an explicit VR, 64 kB and more of a number or text can only be written as UN,
    "unknown" (PS3.5 6.2.2), which readers skip.
    """
    for tag in sorted(dataset.keys()):
        element = dataset.get_item(tag)
        known = dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
        if element.VR == "UN" != known:
            name = f"{keyword_for_tag(tag)} {_show(tag)}"
            yield f"{name} is written as UN, not as {known}"
        kind = element.VR or known
        if kind == "SQ":
            for item in dataset[tag].value:
                yield from lint_values(item)
        elif kind in LONGEST:
            yield from _lint_length(dataset, tag, kind)


def _lint_length(dataset: Dataset, tag: BaseTag, kind: str) -> Iterator[str]:
    in_characters = kind in _IN_CHARACTER_SET
    element = dataset[tag] if in_characters else dataset.get_item(tag)
    longest = max(map(len, _texts(element)), default=0)
    if longest > LONGEST[kind]:
        yield (
            f"{keyword_for_tag(tag)} {_show(tag)} has a value of {longest} characters, "
            f"and {kind} has at most {LONGEST[kind]}"
        )


def _show(tag: BaseTag) -> str:
    return f"({tag.group:04X},{tag.element:04X})"


def _texts(element: DataElement | RawDataElement) -> list[str]:
    value = element.value
    if isinstance(value, bytes):
        value = value.decode("latin-1").rstrip("\0 ")
    if value is None or (isinstance(value, str) and not value):
        return []
    if isinstance(value, str):
        return [value] if element.VR == "ST" else value.split("\\")
    if isinstance(value, (list, tuple)) or hasattr(value, "insert"):
        return [str(each) for each in value]
    return [str(value)]
