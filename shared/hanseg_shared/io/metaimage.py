"""MetaImage (MHA) headers, parsed before any other reader sees the file.

Keys: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import math
import re

import numpy as np

from hanseg_shared.errors import ImageContentError, ImageError, UnsafeImageError
from hanseg_shared.io.header_text import header_lines, quote
from hanseg_shared.io.layout import Encoding, Size, VoxelLayout

_LAST_KEY = re.compile(rb"(?:^|\n)[ \t]*ElementDataFile[ \t]*[=:]([^\n]*)\n")
_DTYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_NUMBERED = {"elementspacing": 3, "elementsize": 3, "offset": 3, "position": 3,
             "origin": 3, "transformmatrix": 9, "rotation": 9, "orientation": 9,
             "centerofrotation": 3}  # fmt: skip
_SYNONYMS = (
    ("offset", "position", "origin"),
    ("transformmatrix", "rotation", "orientation"),
)
"""Keys that mean the same; readers differ in which they follow."""

_IDENTITY_OF = {
    "elementnumberofchannels": "1",
    "headersize": "0",
    "elementtointensityfunctionslope": "1",
    "elementtointensityfunctionoffset": "0",
    "binarydata": "true",
}


def parse_metaimage(head: bytes, *, file_bytes: int) -> VoxelLayout:
    """Return what an MHA file's header says about its voxels.

    Args:
        head: The beginning of the file, at least to the line `ElementDataFile`.
        file_bytes: Length of the whole file, against which the stated length of the
            compressed voxels is held.

    Raises:
        UnsafeImageError: The voxels lie in other files.
        ImageError: The header is damaged, or uses what is not read here.
        ImageContentError: It is no scalar volume, or does not say how it lies in
            the patient.
    """
    text, offset = _split(head)
    fields = _fields(text)
    size = _size(fields)
    _require_plain(fields)
    _require_geometry(fields)
    return VoxelLayout(
        size=size,
        dtype=_dtype(fields),
        encoding=_encoding(fields, file_bytes - offset),
        offset=offset,
    )


def _split(head: bytes) -> tuple[str, int]:
    last = _LAST_KEY.search(head)
    if last is None:
        raise ImageError(
            f"the MHA header has no line ElementDataFile within {len(head)} bytes"
        )
    if last.group(1).strip().lower() != b"local":
        raise UnsafeImageError(
            "the MHA header names data files (ElementDataFile is not LOCAL); save "
            "header and voxels together as one .mha"
        )
    if last.group(0).lstrip(b"\n") != b"ElementDataFile = LOCAL\n":
        raise ImageError("the MHA header must end with 'ElementDataFile = LOCAL'")
    return head[: last.start() + 1].decode("latin-1").rstrip("\n"), last.end()


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in header_lines(text, what="MHA"):
        name, equals, value = line.partition("=")
        key = name.strip().lower()
        if not equals or not key or ":" in key or name[0].isspace():
            raise ImageError(
                f"the MHA header has a line that is no 'key = value': {quote(line)}"
            )
        if key in found:
            raise ImageError(f"the MHA key {quote(key)} is given twice")
        found[key] = value.strip()
    return found


def _require_field(fields: dict[str, str], key: str) -> str:
    if key not in fields:
        raise ImageError(f"the MHA header has no key {key!r}")
    return fields[key]


def _size(fields: dict[str, str]) -> Size:
    sizes = _require_field(fields, "dimsize").split()
    axes = _require_field(fields, "ndims")
    if not all(re.fullmatch(r"[0-9]{1,18}", word) for word in [axes, *sizes]):
        raise ImageError(f"DimSize must hold counts, got {' '.join(sizes)[:60]!r}")
    if int(axes) != len(sizes):
        raise ImageError(f"the MHA header has {len(sizes)} sizes for {axes} axes")
    if len(sizes) != 3:
        raise ImageContentError(
            f"one volume of three axes is needed, but the image has {axes} axes: "
            f"{' x '.join(sizes)[:60]}"
        )
    x, y, z = (int(word) for word in sizes)
    if min(x, y, z) < 1:
        raise ImageContentError(f"the image holds no voxels: its size is {(x, y, z)}")
    return x, y, z


def _require_plain(fields: dict[str, str]) -> None:
    if _require_field(fields, "objecttype").lower() != "image":
        raise ImageError(f"the MHA object is no image: {fields['objecttype'][:40]!r}")
    for key, needed in _IDENTITY_OF.items():
        got = fields.get(key, needed).lower()
        if got != needed:
            raise ImageContentError(
                f"voxels must be single numbers stored as they are: {key} must be "
                f"{needed}, got {got[:40]!r}"
            )


def _require_geometry(fields: dict[str, str]) -> None:
    if not {"elementspacing", "elementsize"} & fields.keys():
        raise ImageContentError("the MHA header has no ElementSpacing")
    if not {"transformmatrix", "rotation", "orientation"} & fields.keys():
        raise ImageContentError(
            "the MHA header does not say how the image lies in the patient (it has no "
            "TransformMatrix), so left and right cannot be told apart; save the image "
            "again with its geometry"
        )
    for key, count in _NUMBERED.items():
        if key in fields:
            _require_numbers(fields[key], key, count)
    for names in _SYNONYMS:
        _require_said_once(fields, names)


def _require_said_once(fields: dict[str, str], names: tuple[str, ...]) -> None:
    said = {key: fields[key] for key in names if key in fields}
    if len({tuple(map(float, value.split())) for value in said.values()}) > 1:
        both = " and ".join(f"{key} {value[:60]!r}" for key, value in said.items())
        raise ImageContentError(
            f"the MHA header contradicts itself: {both}; save the image again"
        )


def _require_numbers(value: str, key: str, count: int) -> None:
    try:
        numbers = [float(word) for word in value.split()]
    except ValueError:
        raise ImageError(f"{key} must hold numbers, got {value[:60]!r}") from None
    if len(numbers) != count:
        raise ImageError(f"{key} must hold {count} numbers, got {value[:60]!r}")
    if not all(math.isfinite(number) for number in numbers):
        raise ImageContentError(f"{key} must be finite, got {value[:60]!r}")
    if key in {"elementspacing", "elementsize"} and min(numbers) <= 0:
        raise ImageContentError(
            f"spacing must be positive, got {value[:60]!r} mm in {key}; save the image "
            "again (an axis that runs the other way belongs into TransformMatrix)"
        )


def _dtype(fields: dict[str, str]) -> np.dtype[np.generic]:
    name = _require_field(fields, "elementtype")
    if name not in _DTYPES:
        raise ImageContentError(
            f"voxels must be single numbers of a known type, got ElementType "
            f"{quote(name)}"
        )
    orders = {
        _truth(fields, key)
        for key in ("elementbyteordermsb", "binarydatabyteordermsb")
        if key in fields
    }
    if len(orders) > 1:
        raise ImageError("the MHA header gives two different byte orders")
    return np.dtype((">" if orders == {True} else "<") + _DTYPES[name])


def _truth(fields: dict[str, str], key: str) -> bool:
    value = fields.get(key, "false").lower()
    if value not in {"true", "false"}:
        raise ImageError(f"{key} must be True or False, got {value[:20]!r}")
    return value == "true"


def _encoding(fields: dict[str, str], following_bytes: int) -> Encoding:
    if not _truth(fields, "compresseddata"):
        return Encoding.RAW
    stated = fields.get("compresseddatasize", str(following_bytes))
    if stated != str(following_bytes):
        raise ImageError(
            f"the image is cut short or damaged: the header announces {stated[:30]} "
            f"bytes of compressed voxels, {following_bytes} follow"
        )
    return Encoding.DEFLATED
