"""Slices that are damaged, or made to do harm, each with what is said of it."""

from __future__ import annotations

import struct

from tests.io.dicom import raw_dicom as raw
from tests.io.dicom.raw_dicom import ct_slice, element, item, series, zip_of


def _jpeg(rows: int, columns: int, *, comments: int = 0) -> bytes:
    """Return the beginning of a JPEG lossless stream."""
    comment = b"\xff\xfe" + struct.pack(">H", 1002) + bytes(1000)
    frame = struct.pack(">HBHHB", 11, 16, rows, columns, 1) + b"\1\x11\0"
    return (
        b"\xff\xd8" + comment * comments + b"\xff\xc3" + frame + b"\xff\xda" + bytes(20)
    )


def _jpeg_2000(rows: int, columns: int, tile: tuple[int, int] = (64, 64)) -> bytes:
    """Return the beginning of a JPEG 2000 stream."""
    sizes = struct.pack(">8LH", columns, rows, 0, 0, *tile, 0, 0, 1) + b"\x0f\1\1"
    return b"\xff\x4f\xff\x51" + struct.pack(">HH", len(sizes) + 4, 0) + sizes


def _rle(*offsets: int) -> bytes:
    header = [len(offsets), *offsets]
    return struct.pack("<16L", *header, *([0] * (16 - len(header)))) + bytes(64)


def _packed(syntax: str, *parts: bytes, table: bytes = b"", frames: int = 1) -> bytes:
    changes = {raw.FRAMES: ("IS", str(frames).encode())}
    pixels = raw.fragments(*parts, table=table)
    return ct_slice(2, changes, pixels=pixels, syntax=syntax)


def _offsets(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}L", *values)


def _cut_at(tag: int, beyond: int) -> bytes:
    """Return a slice that ends so many bytes beyond the start of an element."""
    whole = ct_slice(2)
    return whole[: whole.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF)) + beyond]


def _with(tag: int, vr: str, value: bytes) -> bytes:
    return ct_slice(2, {tag: (vr, value)})


_WRONG_SLICES: dict[str, tuple[bytes, str]] = {
    # the head
    "a head cut off": (ct_slice(2)[:180], "group 0002"),
    "a head that claims too much": (
        raw.patched(ct_slice(2), b"\x10\0UI", b"\x10\0UI\xff\xff"),
        "group 0002",
    ),
    "no transfer syntax": (
        raw.patched(ct_slice(2), b"\2\0\x10\0UI", b"\2\0\x12\0UI"),
        r"Transfer Syntax UID \(0002,0010\) is missing",
    ),
    "two transfer syntaxes": (
        raw.patched(ct_slice(2), b"\2\0\3\0UI", b"\2\0\x10\0UI"),
        r"\(0002,0010\) is given twice",
    ),
    "a transfer syntax that is none": (
        ct_slice(2, syntax="1.2.840'; drop"),
        r"\(0002,0010\) is no UID",
    ),
    "an unknown transfer syntax": (
        ct_slice(2, syntax="1.2.3"),
        "'1.2.3': only Implicit",
    ),
    "deflated": (ct_slice(2, syntax=raw.DEFLATED), "it is deflated as a whole"),
    "big endian": (ct_slice(2, syntax=raw.BIG_ENDIAN), "retired from DICOM in 2006"),
    "JPEG Baseline": (ct_slice(2, syntax=raw.JPEG_BASELINE), "8 bits a pixel"),
    "a film": (ct_slice(2, syntax="1.2.840.10008.1.2.4.102"), "are read; export"),
    "a head of 70 000 bytes": (
        raw.patched(
            ct_slice(2), b"\2\0\3\0UI", element(0x00020102, "OB", bytes(70_000))
        ),
        "group 0002",
    ),
    # the elements
    "cut in an element's head": (_cut_at(raw.ROWS, 5), "ends within an element"),
    "cut in an element": (_cut_at(raw.ROWS, 9), "claims 2 bytes, where 1 are left"),
    "a length beyond the end": (
        ct_slice(2, extra=element(0x00291010, "OB", b"", length=0x7FFFFFFF)),
        r"\(0029,1010\) claims 2147483647 bytes, where",
    ),
    "a text of undefined length": (
        ct_slice(2, extra=element(0x00291010, "UT", b"", length=raw.UNDEFINED)),
        r"\(0029,1010\) claims 4294967295 bytes",
    ),
    "bytes of undefined length": (
        ct_slice(2, extra=element(0x00291010, "OB", b"", length=raw.UNDEFINED)),
        r"stands where a fragment of \(0029,1010\) belongs",
    ),
    "an unknown VR": (
        ct_slice(2, extra=element(0x00291010, "XX", b"a")),
        "'XX', which",
    ),
    "a VR in small letters": (
        ct_slice(2, extra=element(0x00291010, "us", b"a")),
        "'us'",
    ),
    "a VR that is none": (
        ct_slice(2, extra=element(0x00291010, "\0\1", b"a")),
        "which",
    ),
    "a tag twice": (
        ct_slice(2, extra=element(raw.ROWS, "US", raw.short(4))),
        r"\(0028,0010\) is given twice",
    ),
    "implicit where explicit is said": (
        raw.implicit_slice(2, syntax=raw.EXPLICIT),
        "written as implicit VR.*says explicit VR",
    ),
    "explicit where implicit is said": (
        ct_slice(2, syntax=raw.IMPLICIT),
        "written as explicit VR.*says implicit VR",
    ),
    "sequences in sequences": (ct_slice(2, extra=raw.nested(40)), "more than 16 deep"),
    "ten thousand sequences in each other": (
        ct_slice(2, extra=raw.nested(10_000)),
        r"more than 16 deep at \(0008,1140\)",
    ),
    "sequences in sequences, implicit": (
        raw.implicit_slice(
            2,
            extra=(
                raw.implicit(0x00409096, b"", length=raw.UNDEFINED)
                + item(b"", length=raw.UNDEFINED)
            )
            * 5000,
        ),
        "more than 16 deep",
    ),
    "unknown values in unknown values": (
        ct_slice(
            2,
            extra=element(0x00291010, "UN", b"", length=raw.UNDEFINED)
            + (
                item(b"", length=raw.UNDEFINED)
                + raw.implicit(0x00291010, b"", length=raw.UNDEFINED)
            )
            * 5000,
        ),
        "more than 16 deep",
    ),
    "a sequence without end": (
        ct_slice(2, extra=element(0x00081140, "SQ", b"", length=raw.UNDEFINED)),
        "where an item belongs",
    ),
    "a sequence of something else": (
        ct_slice(2, extra=element(0x00081140, "SQ", element(0x00080008, "CS", b"A"))),
        r"a sequence holds \(0008,0008\)",
    ),
    "an item longer than its sequence": (
        ct_slice(2, extra=element(0x00081140, "SQ", item(b"", length=100))),
        r"\(FFFE,E000\) claims 100 bytes, where 0 are left",
    ),
    "an element longer than its item": (
        ct_slice(
            2,
            extra=element(
                0x00081140, "SQ", item(element(0x00080008, "CS", b"", length=64))
            ),
        ),
        r"\(0008,0008\) claims 64 bytes, where 0 are left",
    ),
    "a delimiter too many": (ct_slice(2, extra=raw.ITEM_END), "nothing is to be ended"),
    # the pixels
    "no bytes of pixels": (_with(raw.PIXELS, "OW", b""), "Pixel Data.*is empty"),
    "half of the pixels": (
        _with(raw.PIXELS, "OW", bytes(256)),
        r"has 256 bytes, where 1 x 16 rows x 16 columns of 16 bits need 512",
    ),
    "pixels of two frames": (_with(raw.PIXELS, "OW", bytes(1024)), "has 1024 bytes"),
    "pixels cut off": (
        ct_slice(2)[:-100],
        r"\(7FE0,0010\) claims 512 bytes, where 412",
    ),
    "65535 rows": (_with(raw.ROWS, "US", b"\xff\xff"), r"Rows \(0028,0010\) is 65535"),
    "65535 columns": (_with(raw.COLUMNS, "US", b"\xff\xff"), r"Columns.* is 65535"),
    "4096 x 4096": (
        ct_slice(2, {raw.ROWS: ("US", b"\0\x10"), raw.COLUMNS: ("US", b"\0\x10")}),
        "has 512 bytes, where .* need 33554432",
    ),
    "no rows": (_with(raw.ROWS, "US", b"\0\0"), r"Rows .* must be a count"),
    "rows missing": (ct_slice(2, {raw.ROWS: None}), r"Rows \(0028,0010\) is missing"),
    "rows empty": (_with(raw.ROWS, "US", b""), r"Rows \(0028,0010\) is missing"),
    "rows as text": (_with(raw.ROWS, "DS", b"16"), r"Rows .* got DS"),
    "rows as a long number": (_with(raw.ROWS, "UL", b"\x10\0\0\0"), "Rows .* got UL"),
    "rows as a sequence": (
        _with(raw.ROWS, "SQ", b""),
        r"Rows \(0028,0010\) is missing",
    ),
    "a million frames": (_with(raw.FRAMES, "IS", b"1000000"), "Frames .* is 1000000"),
    "4000 frames": (_with(raw.FRAMES, "IS", b"4000"), "has 512 bytes, where 4000 x"),
    "frames of many figures": (_with(raw.FRAMES, "IS", b"9" * 64), "must be a count"),
    "minus one frame": (_with(raw.FRAMES, "IS", b"-1"), "Frames .* must be a count"),
    "frames in letters": (_with(raw.FRAMES, "IS", b"many"), "must be a count, got IS"),
    "no frames": (_with(raw.FRAMES, "IS", b"0"), "must be a count, got IS"),
    "frames as a number": (_with(raw.FRAMES, "US", b"\1\0"), "must be a count, got US"),
    "12 bits": (_with(raw.BITS, "US", raw.short(12)), "Bits Allocated .* is 12"),
    "no bits": (ct_slice(2, {raw.BITS: None}), "Bits Allocated .* is missing"),
    "seven samples": (_with(raw.SAMPLES, "US", raw.short(7)), "Samples per Pixel .* 7"),
    "fragments without need": (
        ct_slice(2, pixels=raw.fragments(raw.stored_pixels())),
        "not stored as Explicit VR Little Endian has it",
    ),
    "no fragments where they belong": (
        ct_slice(2, syntax=raw.RLE),
        "not stored as RLE Lossless has it",
    ),
    "fragments without end": (
        ct_slice(2, pixels=item(b"") + item(_jpeg(16, 16)), syntax=raw.JPEG_LOSSLESS),
        r"the fragments of \(7FE0,0010\) have no end",
    ),
    "a fragment longer than the file": (
        ct_slice(2, pixels=item(b"") + item(b"", length=1 << 31), syntax=raw.RLE),
        r"\(7FE0,0010\) claims 2147483648 bytes",
    ),
    "something between fragments": (
        ct_slice(2, pixels=item(b"") + element(0x00080008, "CS", b"A"), syntax=raw.RLE),
        r"\(0008,0008\) stands where a fragment",
    ),
    "no fragment": (_packed(raw.RLE), "Pixel Data .* is empty"),
    "empty fragments": (_packed(raw.RLE, b"", b""), "Pixel Data .* is empty"),
    "offsets in a circle": (
        _packed(raw.RLE, _rle(64, 96), _rle(64, 96), table=_offsets(0, 0), frames=2),
        "points backwards",
    ),
    "offsets backwards": (
        _packed(raw.RLE, *[_rle(64, 96)] * 3, table=_offsets(0, 272, 136), frames=3),
        "points backwards",
    ),
    "offsets to nowhere": (
        _packed(raw.RLE, _rle(64, 96), _rle(64, 96), table=_offsets(0, 9), frames=2),
        "points where no fragment begins",
    ),
    "offsets beyond the end": (
        _packed(
            raw.RLE, _rle(64, 96), _rle(64, 96), table=_offsets(0, 0xFFFFFFF0), frames=2
        ),
        "points where no fragment begins",
    ),
    "fewer fragments than frames": (
        _packed(raw.RLE, _rle(64, 96), frames=2),
        "nobody can tell where each frame begins",
    ),
    "an RLE header cut off": (_packed(raw.RLE, b"\2\0\0\0"), "too short for its RLE"),
    "RLE segments too many": (_packed(raw.RLE, _rle(64, 80, 96)), "has 3 RLE segments"),
    "RLE segments beyond": (
        _packed(raw.RLE, _rle(64, 9999)),
        "points outside the frame",
    ),
    "RLE segments in a circle": (_packed(raw.RLE, _rle(64, 64)), "points outside"),
    "RLE with 4 billion segments": (
        _packed(raw.RLE, b"\xff" * 128),
        "has 4294967295 RLE segments where 2",
    ),
    "a JPEG of 65535 rows": (
        _packed(raw.JPEG_LOSSLESS, _jpeg(65535, 65535)),
        "a compressed frame has 65535 rows x 65535 columns, where Rows",
    ),
    "a JPEG that says no size": (
        _packed(raw.JPEG_LOSSLESS, b"\xff\xd8" + bytes(100)),
        "does not say its size",
    ),
    "a JPEG of comments": (
        _packed(raw.JPEG_LOSSLESS, _jpeg(16, 16, comments=70)),
        "does not say its size",
    ),
    "a JPEG-LS that is none": (
        _packed(raw.JPEG_LS, bytes(100)),
        "does not begin as a JPEG stream",
    ),
    "a JPEG 2000 of 4 billion rows": (
        _packed(raw.JPEG_2000, _jpeg_2000(1 << 31, 1 << 31, (1 << 31, 1 << 31))),
        "a compressed frame has 2147483648 rows",
    ),
    "a JPEG 2000 of many tiles": (
        _packed(raw.JPEG_2000, _jpeg_2000(4096, 4096, (2, 2))),
        "has 4194304 tiles, more than 1024",
    ),
    "a JPEG 2000 of empty tiles": (
        _packed(raw.JPEG_2000, _jpeg_2000(16, 16, (0, 0))),
        "tiles without any",
    ),
    "a JPEG 2000 cut off": (
        _packed(raw.JPEG_2000, _jpeg_2000(16, 16)[:20]),
        "does not say its size",
    ),
    "a JPEG 2000 that is none": (
        _packed(raw.JPEG_2000, _jpeg(16, 16)),
        "does not begin as a JPEG 2000 stream",
    ),
}


def slices() -> dict[str, tuple[bytes, str]]:
    """Return whole series of which one slice is wrong, and the sentence's pattern."""
    return {
        name: (zip_of(series(s2=wrong)), pattern)
        for name, (wrong, pattern) in _WRONG_SLICES.items()
    }
