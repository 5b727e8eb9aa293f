"""The names of segments in a header of 3D Slicer's `.seg.nrrd` files.

Slicer writes keys such as ``Segment0_Name:=Brainstem`` and
``Segment0_LabelValue:=4``, in any order, among the fields of the NRRD header
(https://slicer.readthedocs.io, "Segmentations", file format).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hanseg_shared.errors import ImageError
from hanseg_shared.io.limits import DEFAULT_LIMITS

_KEY = re.compile(r"Segment([0-9]{1,6})_(Name|LabelValue|Layer)")
_ESCAPES = {"\\n": "\n", "\\\\": "\\"}


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a file.

    Attributes:
        name: What a person called it.
        value: Its number in the voxels; None where the file does not say.
    """

    name: str
    value: int | None


def read_segments(path: Path) -> tuple[Segment, ...]:
    """Return the segments that a file's header names, in order of their numbers.

    Empty for a file that is no NRRD, or names none.

    Raises:
        ImageError: A segment's number is none, or two segments have one number.
    """
    with path.open("rb") as file:
        head = file.read(DEFAULT_LIMITS.max_header_bytes)
    if not head.startswith(b"NRRD"):
        return ()
    found: dict[int, dict[str, str]] = {}
    for line in _header_lines(head):
        key, separator, text = line.partition(":=")
        match = _KEY.fullmatch(key) if separator else None
        if match is not None:
            found.setdefault(int(match[1]), {})[match[2]] = text.strip()
    named = [each for _, each in sorted(found.items()) if "Name" in each]
    segments = tuple(Segment(_plain(each["Name"]), _value(each)) for each in named)
    _require_distinct(segments)
    return segments


def _header_lines(head: bytes) -> list[str]:
    end = re.search(rb"\r?\n\r?\n", head)
    text = head[: end.start() if end else len(head)].decode("utf-8", "replace")
    return [line.rstrip("\r") for line in text.split("\n")]


def _plain(text: str) -> str:
    return re.sub(r"\\[n\\]", lambda match: _ESCAPES[match[0]], text)


def _value(fields: dict[str, str]) -> int | None:
    text = fields.get("LabelValue")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ImageError(
            f"segment {fields['Name']!r} has the label value {text[:20]!r}, which is "
            "no whole number"
        )
    return int(text)


def _require_distinct(segments: tuple[Segment, ...]) -> None:
    seen: dict[int | None, str] = {}
    for each in segments:
        if each.value in seen:
            what = "no label value" if each.value is None else f"label {each.value}"
            raise ImageError(
                f"the segments {seen[each.value]!r} and {each.name!r} both have "
                f"{what}; save the segmentation without overlaps"
            )
        seen[each.value] = each.name
