"""What a header claims about pixels, held against what the file has, undecoded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from mmap import mmap

from hanseg_shared.errors import ImageError, ImageTooLargeError
from hanseg_shared.io.dicom.elements import Outline, Pixels, Span, Value
from hanseg_shared.io.dicom.frame_size import (
    HEAD_BYTES,
    FrameSize,
    read_jpeg_2000_size,
    read_jpeg_size,
    require_rle_header,
)
from hanseg_shared.io.dicom.syntaxes import Coding, Syntax
from hanseg_shared.io.header_text import quote
from hanseg_shared.io.limits import Limits

ROWS, COLUMNS, FRAMES = 0x00280010, 0x00280011, 0x00280008
SAMPLES, BITS_ALLOCATED = 0x00280002, 0x00280100
CLAIMED = (ROWS, COLUMNS, FRAMES, SAMPLES, BITS_ALLOCATED)
"""The tags that say how many pixels there are."""

_NAMES = {
    ROWS: "Rows (0028,0010)",
    COLUMNS: "Columns (0028,0011)",
    FRAMES: "Number of Frames (0028,0008)",
    SAMPLES: "Samples per Pixel (0028,0002)",
    BITS_ALLOCATED: "Bits Allocated (0028,0100)",
}
_ALLOWED_BITS = (1, 8, 16, 32, 64)
_WHOLE_NUMBER = re.compile(rb" *\+?([0-9]{1,12}) *\0?")


@dataclass(frozen=True, slots=True)
class PixelClaims:
    """How many pixels a header claims.

    Attributes:
        frame: The size of each frame.
        frames: Their number.
        bits: Bits Allocated, for one sample.
    """

    frame: FrameSize
    frames: int
    bits: int

    @property
    def voxels(self) -> int:
        """Pixels of all frames."""
        return self.frame.rows * self.frame.columns * self.frames

    @property
    def bytes(self) -> int:
        """Bytes of all frames, decoded."""
        return (self.voxels * self.frame.samples * self.bits + 7) // 8


def read_claims(outline: Outline, limits: Limits) -> PixelClaims:
    """Return what a header claims, within the caps.

    Raises:
        ImageTooLargeError: It claims more than the caps allow.
        ImageError: A number is missing or none.
    """
    values = outline.values
    rows, columns = _number(values, ROWS), _number(values, COLUMNS)
    frames, samples = _number(values, FRAMES, 1), _number(values, SAMPLES, 1)
    bits = _number(values, BITS_ALLOCATED)
    for tag, count in ((ROWS, rows), (COLUMNS, columns), (FRAMES, frames)):
        if count > limits.max_axis:
            raise ImageTooLargeError(
                f"{_NAMES[tag]} is {count}, more than {limits.max_axis}"
            )
    if bits not in _ALLOWED_BITS or samples > 4:
        raise ImageError(
            f"{_NAMES[BITS_ALLOCATED]} is {bits} and {_NAMES[SAMPLES]} {samples}, "
            "which DICOM does not allow"
        )
    claims = PixelClaims(FrameSize(rows, columns, samples), frames, bits)
    if claims.voxels > limits.max_voxels:
        raise ImageTooLargeError(
            f"it claims {frames} frames of {claims.frame}, more than "
            f"{limits.max_voxels} voxels"
        )
    return claims


def _number(values: dict[int, Value], tag: int, default: int | None = None) -> int:
    """Return a count; where it is missing or empty, the default."""
    value = values.get(tag)
    if value is None or not value.data.strip(b" "):
        if default is None:
            raise ImageError(f"{_NAMES[tag]} is missing")
        return default
    is_text = tag == FRAMES
    number = _parse_text(value.data) if is_text else _parse_short(value.data)
    if value.vr not in {None, b"IS" if is_text else b"US"} or not number:
        vr = "" if value.vr is None else f"{value.vr.decode('ascii')} "
        raise ImageError(
            f"{_NAMES[tag]} must be a count, got {vr}{quote(value.data[:16])}"
        )
    return number


def _parse_text(data: bytes) -> int | None:
    found = _WHOLE_NUMBER.fullmatch(data)
    return int(found[1]) if found else None


def _parse_short(data: bytes) -> int | None:
    return int.from_bytes(data, "little") if len(data) == 2 else None


def require_claimed(
    data: mmap, pixels: Pixels, claims: PixelClaims, syntax: Syntax
) -> None:
    """Refuse pixels that are not as many as the header claims.

    Args:
        data: The whole file.
        pixels: Where its pixels lie.
        claims: What its header says of them.
        syntax: How they are stored.

    Raises:
        ImageError: They are more or fewer, or stored in another way.
    """
    if pixels.encapsulated is not syntax.encapsulated:
        raise ImageError(
            f"Pixel Data (7FE0,0010) is not stored as {syntax.name} has it"
        )
    if not syntax.encapsulated:
        _require_length(pixels.spans[0].length, claims)
        return
    for fragments in _split_frames(data, pixels, claims.frames):
        _require_frame(data, fragments, claims, syntax)


def _require_length(length: int, claims: PixelClaims) -> None:
    if length == 0:
        raise ImageError("Pixel Data (7FE0,0010) is empty")
    frame_bytes = claims.bytes // claims.frames
    if not claims.bytes <= length < claims.bytes + max(frame_bytes, 2):
        raise ImageError(
            f"Pixel Data (7FE0,0010) has {length} bytes, where {claims.frames} x "
            f"{claims.frame} of {claims.bits} bits need {claims.bytes}"
        )


def _split_frames(data: mmap, pixels: Pixels, frames: int) -> list[tuple[Span, ...]]:
    """Return the fragments of each frame (PS3.5 A.4)."""
    if len(pixels.spans) < 2 or not any(span.length for span in pixels.spans[1:]):
        raise ImageError("Pixel Data (7FE0,0010) is empty")
    table, *fragments = pixels.spans
    if frames == 1 and table.length <= 4:
        return [tuple(fragments)]
    if table.length == 0 and len(fragments) == frames:
        return [(fragment,) for fragment in fragments]
    return _split_by_table(data, table, fragments, frames)


def _split_by_table(
    data: mmap, table: Span, fragments: list[Span], frames: int
) -> list[tuple[Span, ...]]:
    if table.length != 4 * frames:
        raise ImageError(
            f"Pixel Data (7FE0,0010) has {len(fragments)} fragments and an offset "
            f"table of {table.length} bytes for {frames} frames, so that nobody can "
            "tell where each frame begins"
        )
    offsets = memoryview(data[table.start : table.start + table.length]).cast("I")
    starts = {span.start - fragments[0].start: k for k, span in enumerate(fragments)}
    if offsets[0] != 0 or not all(offset in starts for offset in offsets):
        raise ImageError(
            "the offset table of Pixel Data (7FE0,0010) points where no fragment begins"
        )
    bounds = [starts[offset] for offset in offsets] + [len(fragments)]
    if any(first >= after for first, after in pairwise(bounds)):
        raise ImageError("the offset table of Pixel Data (7FE0,0010) points backwards")
    return [tuple(fragments[a:b]) for a, b in pairwise(bounds)]


def _require_frame(
    data: mmap, fragments: tuple[Span, ...], claims: PixelClaims, syntax: Syntax
) -> None:
    first = fragments[0]
    head = data[first.start : first.start + min(first.length, HEAD_BYTES)]
    if syntax.coding is Coding.RLE:
        length = sum(fragment.length for fragment in fragments)
        segments = claims.frame.samples * (claims.bits + 7) // 8
        require_rle_header(head, length, segments)
        return
    read = read_jpeg_size if syntax.coding is Coding.JPEG else read_jpeg_2000_size
    found = read(head)
    if found != claims.frame:
        raise ImageError(
            f"a compressed frame has {found}, where Rows (0028,0010) and Columns "
            f"(0028,0011) say {claims.frame}"
        )
