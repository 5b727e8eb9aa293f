"""HTTP header fields: entity tags, ranges, digests, preferences. Plain functions.

RFC 9110 (8.3 Content-Type, 8.8.3 ETag, 13 conditional requests, 14 ranges),
RFC 9530 (digests), RFC 7240 (Prefer), RFC 6266 (Content-Disposition).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

DICOM = "application/dicom"

LONGEST_FIELD = 1024
"""A longer field is not honoured: a range or a preference may be ignored, and a tag or
digest counts as one that does not match."""

_MOST_DIGITS = 18
_MOST_SECONDS_DIGITS = 9

_STRONG_TAG = re.compile(r'(?<!W/)("[^"]*")')
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to but without `stop` of a file of `size`."""

    start: int
    stop: int
    size: int

    @property
    def content_range(self) -> str:
        """The value of ``Content-Range``, whose last position is inclusive."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


class UnsatisfiableRangeError(ValueError):
    """A range is wholly outside the file."""


def entity_tag(tag: str) -> str:
    """Return a strong entity tag."""
    return f'"{tag}"'


def none_match(header: str | None, etag: str) -> bool:
    """Whether ``If-None-Match`` lets the request through; without it, it does."""
    if header is None or len(header) > LONGEST_FIELD:
        return True
    return header.strip() != "*" and etag not in _TAG.findall(header)


def matches(header: str, etag: str | None) -> bool:
    """Whether ``If-Match`` lets the request through (RFC 9110, 13.1.1).

    Args:
        header: The field's value.
        etag: Of what is there; None if nothing is.
    """
    if etag is None or len(header) > LONGEST_FIELD:
        return False
    return header.strip() == "*" or etag in _STRONG_TAG.findall(header)


def wants_multipart_dicom(accept: str | None) -> bool:
    """Whether ``Accept`` asks for DICOM objects in one answer (PS3.18, 8.7.3)."""
    if accept is None or len(accept) > LONGEST_FIELD:
        return False
    for each in accept.lower().split(","):
        kind, *parameters = (word.strip() for word in each.split(";"))
        if kind == "multipart/related":
            types = [p.partition("=")[2] for p in parameters if p.startswith("type=")]
            return not types or types[0].strip('"') == DICOM
    return False


def media_type_of(content_type: str | None) -> str:
    """Return what ``Content-Type`` names, in small letters and without parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


def range_applies(if_range: str | None, etag: str) -> bool:
    """Whether ``If-Range`` lets a range be answered.

    Only a strong tag does: dates and weak tags cannot promise the same bytes.
    """
    return if_range is None or if_range.strip() == etag


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the one range that ``Range`` asks for; None to answer the whole file.

    Several ranges, other units and bad syntax are answered with the whole file, as
    RFC 9110 (14.2) allows.

    Raises:
        UnsatisfiableRangeError: The file has none of these bytes.
    """
    if header is None or len(header) > LONGEST_FIELD:
        return None
    unit, equals, asked = header.partition("=")
    first, dash, last = (word.strip() for word in asked.partition("-"))
    if unit.strip().lower() != "bytes" or not (equals and dash and first + last):
        return None
    if not all(_is_number(word) for word in (first, last) if word):
        return None
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start = int(first)
        stop = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise UnsatisfiableRangeError(f"the file has {size} bytes, not {header}")
    return ByteRange(start, stop, size)


def digest_field(sha256: str) -> str:
    """Return a hexadecimal SHA-256 as RFC 9530 writes it."""
    encoded = base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
    return f"sha-256=:{encoded}:"


def declared_digest(header: str | None) -> str | None:
    """Return the hexadecimal SHA-256 of a digest field, None if it has none."""
    if header is None:
        return None
    if len(header) > LONGEST_FIELD:
        return ""  # equals no hash
    for member in header.split(","):
        name, _, value = (word.strip() for word in member.partition("="))
        if name == "sha-256" and len(value) > 1 and value[0] == value[-1] == ":":
            return _decode_digest(value[1:-1])
    return None


def preferred_wait(header: str | None, *, at_most: int) -> int | None:
    """Return for how many seconds ``Prefer: wait`` asks, None if it does not."""
    if header is None or len(header) > LONGEST_FIELD:
        return None
    for preference in header.replace(";", ",").split(","):
        name, _, value = (word.strip() for word in preference.partition("="))
        if name.lower() == "wait":
            return _parse_seconds(
                value.removeprefix('"').removesuffix('"'), at_most=at_most
            )
    return None


def known_version(last_event_id: str | None) -> int | None:
    """Return the version of a job that ``Last-Event-ID`` names, None if it does not."""
    known = last_event_id is not None and _is_number(last_event_id)
    return int(last_event_id) if known and last_event_id else None


def attachment(name: str) -> str:
    """Return ``Content-Disposition`` for a result: saved, never shown in a page."""
    safe = _UNSAFE_IN_NAME.sub("_", name.rsplit("/", 1)[-1]).lstrip(".") or "result"
    return f'attachment; filename="{safe}"'


def _is_number(word: str, *, digits: int = _MOST_DIGITS) -> bool:
    return len(word) <= digits and word.isascii() and word.isdecimal()


def _parse_seconds(word: str, *, at_most: int) -> int | None:
    if not _is_number(word, digits=_MOST_SECONDS_DIGITS):
        return None
    return min(int(word), at_most)


def _decode_digest(value: str) -> str:
    """Return base64 as hexadecimal digits; "", which equals no hash, if it is none."""
    try:
        return base64.b64decode(value, validate=True).hex()
    except (binascii.Error, ValueError):
        return ""
