"""NRRD headers, parsed before any other reader sees the file.

Fields: https://teem.sourceforge.net/nrrd/format.html. A field that is not known here
is refused, so that nothing in a header can mean more to another reader.
"""

from __future__ import annotations

import re

import numpy as np

from hanseg_shared.errors import ImageContentError, ImageError, UnsafeImageError
from hanseg_shared.io.header_text import header_lines, quote
from hanseg_shared.io.layout import Encoding, Size, VoxelLayout

_MAGIC = re.compile(r"NRRD000[1-5]")
_FIELD = re.compile(r"([A-Za-z][A-Za-z ]*): *(.*)")
_DETACHED = {"datafile"}
_KNOWN = {
    "axismaxs", "axismins", "byteskip", "centerings", "centers", "content",
    "dimension", "encoding", "endian", "kinds", "labels", "lineskip", "max",
    "measurementframe", "min", "number", "oldmax", "oldmin", "sampleunits", "sizes",
    "space", "spacedimension", "spacedirections", "spaceorigin", "spaceunits",
    "spacings", "thicknesses", "type", "units",
}  # fmt: skip

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16",
           "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long",
           "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64",
           "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip
_DTYPE_OF = {name: code for code, names in _TYPES.items() for name in names}

_SPACES = {
    "lps", "left-posterior-superior", "ras", "right-anterior-superior",
    "las", "left-anterior-superior",
}  # fmt: skip
_SPATIAL_KINDS = {"domain", "space", "???"}
_MOST_AXES = 16
"""Most axes a NRRD can have; a message shows no more."""

_VECTOR = re.compile(r"\(([^()]*)\)")


def parse_nrrd(head: bytes) -> VoxelLayout:
    """Return what an attached NRRD's header says about its voxels.

    Args:
        head: The beginning of the file, at least to the empty line that ends the
            header.

    Raises:
        UnsafeImageError: The header names a data file.
        ImageError: The header is damaged, or uses what is not read here.
        ImageContentError: It is no scalar volume, or does not say how it lies in
            the patient.
    """
    text, offset = _split(head)
    fields = _fields(text)
    size = _size(fields)
    _require_geometry(fields)
    _require_no_skip(fields)
    return VoxelLayout(
        size=size,
        dtype=_dtype(fields),
        encoding=_encoding(fields),
        offset=offset,
    )


def _split(head: bytes) -> tuple[str, int]:
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None:
        raise ImageError(
            f"the NRRD header does not end within {len(head)} bytes (an empty line)"
        )
    return head[: end.start()].decode("latin-1"), end.end()


def _fields(text: str) -> dict[str, str]:
    lines = header_lines(text, what="NRRD")
    if not _MAGIC.fullmatch(lines[0]):
        raise ImageError(f"NRRD version not known: {lines[0][:20]!r}")
    found: dict[str, str] = {}
    for line in lines[1:]:
        if line.startswith("#") or ":=" in line.split(": ", 1)[0]:
            continue
        name, value = _field(line)
        if name in found:
            raise ImageError(f"the NRRD field {name!r} is given twice")
        found[name] = value
    return found


def _field(line: str) -> tuple[str, str]:
    squeezed = re.sub(r"[^a-z]", "", line.split(":", 1)[0].lower())
    if squeezed in _DETACHED:
        raise UnsafeImageError(
            "the NRRD header names a data file; only attached NRRD is read: save "
            "header and voxels together as one .nrrd"
        )
    match = _FIELD.fullmatch(line)
    if match is None or squeezed not in _KNOWN:
        raise ImageError(f"the NRRD header has a line that is not known: {line[:60]!r}")
    return squeezed, match.group(2).strip()


def _require_field(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise ImageError(f"the NRRD header has no field {name!r}")
    return fields[name]


def _integers(value: str, name: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,18}( +[0-9]{1,18})*", value):
        raise ImageError(
            f"the NRRD field {name!r} must hold counts, got {value[:60]!r}"
        )
    return tuple(int(word) for word in value.split())


def _size(fields: dict[str, str]) -> Size:
    axes = _integers(_require_field(fields, "dimension"), "dimension")
    sizes = _integers(_require_field(fields, "sizes"), "sizes")
    if axes != (len(sizes),):
        raise ImageError(f"the NRRD header has {len(sizes)} sizes for {axes[0]} axes")
    kinds = fields.get("kinds", "domain domain domain").lower().split()
    if len(sizes) != 3 or not set(kinds) <= _SPATIAL_KINDS:
        raise ImageContentError(
            "one volume of single numbers and three axes is needed, but the image has "
            f"{len(sizes)} axes of {sizes[:_MOST_AXES]} "
            f"({' '.join(kinds[:_MOST_AXES])})"
        )
    if min(sizes) < 1:
        raise ImageContentError(f"the image holds no voxels: its size is {sizes}")
    return sizes[0], sizes[1], sizes[2]


def _dtype(fields: dict[str, str]) -> np.dtype[np.generic]:
    name = _require_field(fields, "type").lower()
    if name not in _DTYPE_OF:
        raise ImageError(f"the NRRD type {name[:40]!r} is not one that can be read")
    code = _DTYPE_OF[name]
    if code.endswith("1"):
        return np.dtype(code)
    endian = _require_field(fields, "endian").lower()
    if endian not in {"little", "big"}:
        raise ImageError(
            f"the NRRD field 'endian' must be little or big, got {quote(endian)}"
        )
    return np.dtype((">" if endian == "big" else "<") + code)


def _encoding(fields: dict[str, str]) -> Encoding:
    name = _require_field(fields, "encoding").lower()
    if name == "raw":
        return Encoding.RAW
    if name in {"gzip", "gz"}:
        return Encoding.DEFLATED
    raise ImageError(
        f"the NRRD encoding {name[:40]!r} is not read; save the image as raw or gzip"
    )


def _require_no_skip(fields: dict[str, str]) -> None:
    for name in ("byteskip", "lineskip"):
        if fields.get(name, "0") != "0":
            raise ImageError(
                f"the NRRD field {name!r} must be 0, got {fields[name][:20]!r}"
            )


def _require_geometry(fields: dict[str, str]) -> None:
    space = fields.get("space", "").lower()
    if space not in _SPACES:
        raise ImageContentError(
            "the NRRD header must say how the image lies in the patient (space: "
            "left-posterior-superior or right-anterior-superior), got "
            f"{space[:40] or 'none'!r}; save the image again with its geometry"
        )
    units = fields.get("spaceunits", '"mm"').replace('"', "")
    if set(units.split()) != {"mm"}:
        raise ImageContentError(f"NRRD space units must be mm, got {quote(units)}")
    _require_directions(_require_field(fields, "spacedirections"))
    spacings = fields.get("spacings", "")
    if set(spacings.lower().split()) - {"nan", "none"}:
        raise ImageContentError(
            f"the NRRD header gives the spacing twice: spacings {spacings[:60]!r} "
            "beside the space directions; save the image again without spacings"
        )


def _require_directions(value: str) -> None:
    vectors = [_vector(match) for match in _VECTOR.findall(value)]
    if len(vectors) != 3 or "none" in value.lower():
        raise ImageContentError(
            f"three NRRD space directions are needed, got {value[:80]!r}"
        )
    with np.errstate(over="ignore"):  # a length without bounds is refused below
        lengths = np.linalg.norm(np.array(vectors), axis=1)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ImageContentError(
            f"spacing must be positive and finite, got {tuple(lengths.tolist())} mm"
        )


def _vector(inner: str) -> tuple[float, float, float]:
    try:
        x, y, z = (float(word) for word in inner.split(","))
    except ValueError:
        raise ImageError(
            f"an NRRD space direction must be three numbers, got ({inner[:60]})"
        ) from None
    return x, y, z
