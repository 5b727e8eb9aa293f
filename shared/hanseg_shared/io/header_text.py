"""The lines of a text header (NRRD, MetaImage), cut in one pass and capped.

A header comes from anybody: what reads it may take time in proportion to its length
and no more. Caps on each line and on their number bound the readers that come after,
of which NRRD's (teem) looks through all earlier keys for each key.
"""

from __future__ import annotations

from hanseg_shared.errors import ImageTooLargeError

MAX_LINE_CHARACTERS = 32 * 1024
"""Longest line of a header. The longest in the wild, the segmentation parameters that
3D Slicer writes, have a few thousand characters."""

MAX_LINES = 8192
"""Most lines of a header; a segmentation of 120 organs by 3D Slicer has 1500."""

_SHOWN = 60


def header_lines(text: str, *, what: str) -> list[str]:
    """Return a header's lines without their ends.

    Args:
        text: The header, decoded.
        what: What it is called in a message, such as ``NRRD``.

    Raises:
        ImageTooLargeError: There are too many lines, or one is too long.
    """
    lines = text.split("\n", MAX_LINES)
    if len(lines) > MAX_LINES:
        raise ImageTooLargeError(
            f"the {what} header has more than the {MAX_LINES} lines allowed; save the "
            "image without its further fields"
        )
    longest = max(lines, key=len)
    if len(longest) > MAX_LINE_CHARACTERS:
        raise ImageTooLargeError(
            f"the {what} header has a line of {len(longest)} characters, more than the "
            f"{MAX_LINE_CHARACTERS} allowed ({quote(longest)}); save the image without "
            "this field"
        )
    return [line.rstrip("\r") for line in lines]


def quote(value: object) -> str:
    """Return the beginning of a header's value as a message repeats it."""
    return repr(str(value)[:_SHOWN])
