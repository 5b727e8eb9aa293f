"""HTTP header fields: entity tags, ranges, digests, preferences. Plain functions.

RFC 9110 (8.8.3 ETag, 13 conditional requests, 14 ranges), RFC 9530 (digests),
RFC 7240 (Prefer), RFC 6266 (Content-Disposition).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.IGNORECASE)
_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])', re.IGNORECASE)
_DIGEST = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]*):")
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
    """A range lies wholly outside the file."""


def quoted(tag: str) -> str:
    """Return a strong entity tag."""
    return f'"{tag}"'


def none_match(header: str | None, etag: str) -> bool:
    """Whether ``If-None-Match`` lets the request through; without it, it does."""
    if header is None:
        return True
    return header.strip() != "*" and etag not in _TAG.findall(header)


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
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
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
    match = _DIGEST.search(header) if header else None
    if match is None:
        return None
    try:
        return base64.b64decode(match[1], validate=True).hex()
    except binascii.Error:
        return ""  # equals no hash


def preferred_wait(header: str | None, *, at_most: int) -> int | None:
    """Return for how many seconds ``Prefer: wait`` asks, None if it does not."""
    match = _WAIT.search(header) if header else None
    return None if match is None else min(int(match[1]), at_most)


def attachment(name: str) -> str:
    """Return ``Content-Disposition`` for a result: saved, never shown in a page."""
    safe = _UNSAFE_IN_NAME.sub("_", name.rsplit("/", 1)[-1]).lstrip(".") or "result"
    return f'attachment; filename="{safe}"'
