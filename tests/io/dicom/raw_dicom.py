"""DICOM files and zip archives written byte by byte, so that they can be wrong.

`ct_slice` gives one slice of a small CT that is right; a test changes a tag's value,
its representation or its length as it likes. No DICOM library is used: none would
write such files.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

import numpy as np

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
REG_CLASS = "1.2.840.10008.5.1.4.1.1.66.1"
CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"

ROWS, COLUMNS, FRAMES = 0x00280010, 0x00280011, 0x00280008
SAMPLES, BITS, PIXELS = 0x00280002, 0x00280100, 0x7FE00010
UNDEFINED = 0xFFFFFFFF

SIZE = (16, 16, 6)
"""Columns, rows and slices of the CT."""

_LONG = {"OB", "OW", "SQ", "UN", "UT"}
Element = tuple[str, bytes]


def element(tag: int, vr: str, value: bytes, *, length: int | None = None) -> bytes:
    """Return an Explicit VR element; `length` claims another length."""
    value += b"\0" * (len(value) % 2)
    length = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in _LONG:
        return head + struct.pack("<HL", 0, length) + value
    return head + struct.pack("<H", length) + value


def implicit(tag: int, value: bytes, *, length: int | None = None) -> bytes:
    """Return an Implicit VR element."""
    value += b"\0" * (len(value) % 2)
    length = len(value) if length is None else length
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, length) + value


def item(value: bytes, *, length: int | None = None) -> bytes:
    """Return an item of a sequence, or a fragment."""
    length = len(value) if length is None else length
    return struct.pack("<HHL", 0xFFFE, 0xE000, length) + value


SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
ITEM_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)


def fragments(*parts: bytes, table: bytes = b"") -> bytes:
    """Return the value of encapsulated Pixel Data."""
    return item(table) + b"".join(map(item, parts)) + SEQUENCE_END


def nested(depth: int, inside: bytes = b"") -> bytes:
    """Return sequences of undefined length in each other."""
    start = element(0x00081140, "SQ", b"", length=UNDEFINED) + item(
        b"", length=UNDEFINED
    )
    return start * depth + inside + (ITEM_END + SEQUENCE_END) * depth


def short(number: int) -> bytes:
    """Return a US value."""
    return struct.pack("<H", number)


def file_of(
    body: bytes, *, syntax: str = EXPLICIT, sop_class: str = CT_CLASS, uid: str = "1.2"
) -> bytes:
    """Return a DICOM file: preamble, magic, group 0002 and a data set."""
    group = (
        element(0x00020001, "OB", b"\0\1")
        + element(0x00020002, "UI", sop_class.encode())
        + element(0x00020003, "UI", uid.encode())
        + element(0x00020010, "UI", syntax.encode())
    )
    length = element(0x00020000, "UL", struct.pack("<L", len(group)))
    return bytes(128) + b"DICM" + length + group + body


def stored_pixels(k: int = 0) -> bytes:
    """Return the stored values of slice `k`: HU + 1024, different in each voxel."""
    columns, rows, _ = SIZE
    values = np.arange(rows * columns, dtype="<i2") + 1000 * (k % 2)
    return values.tobytes()


def slice_elements(k: int = 0, *, modality: str = "CT") -> dict[int, Element]:
    """Return the elements of slice `k` of a small axial CT or MR, by tag."""
    columns, rows, _ = SIZE
    sop_class = CT_CLASS if modality == "CT" else MR_CLASS
    series = 1 if modality == "CT" else 2
    text: dict[int, Element] = {
        0x00080008: ("CS", b"ORIGINAL\\PRIMARY\\AXIAL"),
        0x00080016: ("UI", sop_class.encode()),
        0x00080018: ("UI", f"1.2.3.{series}.{k + 1}".encode()),
        0x00080060: ("CS", modality.encode()),
        0x00100010: ("PN", b"Doe^Jane"),
        0x00100020: ("LO", b"id-1"),
        0x00180050: ("DS", b"3"),
        0x00185100: ("CS", b"HFS"),
        0x0020000D: ("UI", b"1.2.3"),
        0x0020000E: ("UI", f"1.2.3.{series}".encode()),
        0x00200013: ("IS", str(k + 1).encode()),
        0x00200032: ("DS", f"-16\\-16\\{3 * k}".encode()),
        0x00200037: ("DS", b"1\\0\\0\\0\\1\\0"),
        0x00200052: ("UI", b"1.2.3.9"),
        SAMPLES: ("US", short(1)),
        0x00280004: ("CS", b"MONOCHROME2"),
        ROWS: ("US", short(rows)),
        COLUMNS: ("US", short(columns)),
        0x00280030: ("DS", b"2\\2"),
        BITS: ("US", short(16)),
        0x00280101: ("US", short(16)),
        0x00280102: ("US", short(15)),
        0x00280103: ("US", short(1)),
        PIXELS: ("OW", stored_pixels(k)),
    }
    if modality == "CT":
        text |= {0x00281052: ("DS", b"-1024"), 0x00281053: ("DS", b"1")}
    return text


def dataset(elements: Mapping[int, Element | None]) -> bytes:
    """Return elements in their order, those that are None left out."""
    return b"".join(
        element(tag, *value)
        for tag, value in sorted(elements.items())
        if value is not None
    )


def ct_slice(
    k: int = 0,
    changes: Mapping[int, Element | None] | None = None,
    *,
    extra: bytes = b"",
    pixels: bytes | None = None,
    syntax: str = EXPLICIT,
    modality: str = "CT",
    tail: bytes = b"",
) -> bytes:
    """Return slice `k` as a file.

    Args:
        k: Its number, from 0 on.
        changes: Elements to replace or, with None, to leave out.
        extra: Raw elements just before the pixels.
        pixels: The value of encapsulated Pixel Data.
        syntax: Transfer Syntax UID that the file names.
        modality: CT or MR.
        tail: Bytes behind the last element.
    """
    elements: dict[int, Element | None] = {**slice_elements(k, modality=modality)}
    elements |= changes or {}
    last = elements.pop(PIXELS)
    body = dataset(elements) + extra
    if pixels is not None:
        body += element(PIXELS, "OB", b"", length=UNDEFINED) + pixels
    elif last is not None:
        body += element(PIXELS, *last)
    sop_class = CT_CLASS if modality == "CT" else MR_CLASS
    return file_of(
        body + tail, syntax=syntax, sop_class=sop_class, uid=f"1.2.3.1.{k + 1}"
    )


def implicit_slice(k: int = 0, *, extra: bytes = b"", syntax: str = IMPLICIT) -> bytes:
    """Return slice `k` in Implicit VR Little Endian, whatever it says of itself."""
    elements = slice_elements(k)
    pixels = elements.pop(PIXELS)
    body = b"".join(implicit(tag, value) for tag, (_, value) in elements.items())
    return file_of(body + extra + implicit(PIXELS, pixels[1]), syntax=syntax)


def series(**changed: bytes) -> dict[str, bytes]:
    """Return the files of the CT by name; ``s2=…`` replaces one."""
    files = {f"s{k}": ct_slice(k) for k in range(SIZE[2])}
    return files | changed


def zip_of(
    files: Mapping[str, bytes | tuple[zipfile.ZipInfo, bytes]],
    method: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    """Return a zip archive; an entry may bring a ZipInfo of its own."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            if isinstance(content, tuple):
                archive.writestr(*content)
            else:
                archive.writestr(name, content)
    return packed.getvalue()


def patched(data: bytes, old: bytes, new: bytes, *, last: bool = False) -> bytes:
    """Return data with one occurrence of `old` overwritten by `new`."""
    at = data.rindex(old) if last else data.index(old)
    return data[:at] + new + data[at + len(new) :]
