"""Archives that are damaged, or made to do harm, each with what is said of it."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile

from tests.io.dicom import raw_dicom as raw
from tests.io.dicom.raw_dicom import ct_slice, series, zip_of

Cases = dict[str, tuple[bytes, str]]
"""By what is wrong: the file, and the pattern of the sentence."""

_LOCAL, _LISTED, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_HALF_DICOM = bytes(128) + b"DICM"


def _entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _field(data: bytes, magic: bytes, at: int, form: str, value: int) -> bytes:
    """Overwrite a field of the first record of a kind."""
    start = data.index(magic) + at
    end = start + struct.calcsize(form)
    return data[:start] + struct.pack(form, value) + data[end:]


def _one(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    return zip_of({"s0": ct_slice(0)}, method)


def _named(name: str) -> bytes:
    """Return an archive whose last entry has this name, as a sender may write it."""
    info = zipfile.ZipInfo("x")
    info.filename = name
    return zip_of({**series(), "x": (info, ct_slice(0))})


def _twice(first: str, second: str) -> bytes:
    one, two = zipfile.ZipInfo("x"), zipfile.ZipInfo("x")
    one.filename, two.filename = first, second
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zip_of({"a": (one, ct_slice(0)), "b": (two, ct_slice(1))})


def _overlapping() -> bytes:
    """Return an archive whose two entries are the same bytes."""
    packed = zip_of({"a": ct_slice(0), "b": ct_slice(0)})
    second = packed.index(_LISTED, packed.index(_LISTED) + 1)
    return packed[: second + 42] + struct.pack("<L", 0) + packed[second + 46 :]


def _zip64(count: int, list_bytes: int) -> bytes:
    """Return an archive with a Zip64 end record that says so."""
    packed = _one()
    end = packed.index(_END)
    (offset,) = struct.unpack_from("<L", packed, end + 16)
    record = struct.pack(
        "<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, list_bytes, offset
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    return packed[:end] + record + locator + packed[end:]


def _zip64_entry() -> bytes:
    """Return an archive whose entry claims 2 to the 62 bytes."""
    packed = _one()
    at = packed.index(_LISTED)
    name_end = at + 46 + 2
    extra = struct.pack("<HHQQ", 1, 16, 1 << 62, 1 << 62)
    head = packed[at:name_end]
    head = head[:20] + b"\xff" * 8 + head[28:30] + struct.pack("<H", 20) + head[32:]
    packed = packed[:at] + head + extra + packed[name_end:]
    end = packed.index(_END)
    (length,) = struct.unpack_from("<L", packed, end + 12)
    return packed[: end + 12] + struct.pack("<L", length + 20) + packed[end + 16 :]


def _flat_bomb() -> bytes:
    """Return an archive of 30 kB that becomes 33 MiB of DICOM."""
    return zip_of({"s0": ct_slice(0) + bytes(33 << 20)})


def _bomb_of_many() -> bytes:
    info = [zipfile.ZipInfo(f"s{k}") for k in range(40)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in info:
            each.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(each, _HALF_DICOM + bytes(1 << 20))
    return packed.getvalue()


_ONE, _WHOLE = _one(), zip_of(series())
_LINK = _entry("s0", stat.S_IFLNK | 0o777)
_DEVICE = _entry("s0", stat.S_IFBLK | 0o777)

_WRONG_NAMES = {
    "../s": "a name that leads out",
    "a/../../s": "a name that leads out",
    "a\\..\\..\\s": "a name that leads out",
    "/etc/s": "a name that is no relative path",
    "C:/s": "a name that is no relative path",
    "c:s": "a name that is no relative path",
    "\\\\server\\s": "a name that is no relative path",
    "a\nb": "a name with control characters",
    "a\x1b[31m": "a name with control characters",
    "a\u202eb": "a name with control characters",
    "s" * 600: "a name longer than 512 characters",
}

_WRONG_ARCHIVES: Cases = {
    "cut in its last byte": (
        _WHOLE[:-1],
        "cut off: its list of entries is missing",
    ),
    "empty": (zip_of({}), "it holds no DICOM file; send"),
    "no DICOM": (zip_of({"a.txt": b"hello"}), "holds one file.*'a.txt'"),
    "litter": (zip_of({"__MACOSX/._s0": b"x"}), "it holds no DICOM file; send"),
    "a zip in it": (zip_of({"in.zip": _ONE}), r"another archive \('in.zip'\)"),
    "only a folder": (zip_of({"a/": b""}), "it holds no DICOM file; send"),
    "encrypted": (
        _field(_field(_ONE, _LISTED, 8, "<H", 1), _LOCAL, 6, "<H", 1),
        "the entry 's0' is encrypted",
    ),
    "strongly encrypted": (_field(_ONE, _LISTED, 8, "<H", 0x40), "is encrypted"),
    "encrypted by its own header": (
        _field(_ONE, _LOCAL, 6, "<H", 1),
        "'s0' contradicts the list",
    ),
    "patched data": (
        _field(_ONE, _LISTED, 8, "<H", 0x20),
        "a method that is not",
    ),
    "a link": (zip_of({"s0": (_LINK, b"/etc/passwd")}), "a link or a device"),
    "a device": (zip_of({"s0": (_DEVICE, b"")}), "a link or a device"),
    "the same name twice": (
        _twice("a/s0", "a/s0"),
        "two entries are called 'a/s0'",
    ),
    "the same name, other slashes": (
        _twice("a/s0", "a\\s0"),
        "two entries are",
    ),
    "bzip2": (_one(zipfile.ZIP_BZIP2), r"not read here \(number 12\)"),
    "lzma": (_one(zipfile.ZIP_LZMA), r"not read here \(number 14\)"),
    "an unknown method": (_field(_ONE, _LISTED, 10, "<H", 97), "number 97"),
    "another method in its own header": (
        _field(_ONE, _LOCAL, 8, "<H", 0),
        "contradicts the list",
    ),
    "another name in its own header": (
        raw.patched(_ONE, b"s0", b"t0"),
        "damaged or cut off",
    ),
    "a wrong checksum": (_field(_ONE, _LISTED, 16, "<L", 1), "Bad CRC-32"),
    "longer than it is": (
        _field(_ONE, _LISTED, 24, "<L", 1 << 20),
        r"damaged or cut off \('s0 lacks 10",
    ),
    "shorter than it is": (_field(_ONE, _LISTED, 24, "<L", 400), "Bad CRC-32"),
    "packed beyond the end": (
        _field(_ONE, _LISTED, 20, "<L", 1 << 20),
        "an entry ends behind the list",
    ),
    "not deflated": (
        _ONE[:40] + b"\xff" * 40 + _ONE[80:],
        "damaged or cut off",
    ),
    "entries on each other": (_overlapping(), "'b' lies on another one"),
    "no entry's header there": (
        _field(_ONE, _LISTED, 42, "<L", 7),
        "behind the list",
    ),
    "more entries than listed": (
        _field(_ONE, _END, 10, "<H", 9),
        "list of 9 entries",
    ),
    "a list that is too long": (
        _field(_ONE, _END, 12, "<L", 1 << 30),
        "its list of 1 entries has 1073741824 bytes",
    ),
    "a list elsewhere": (
        _field(_ONE, _END, 16, "<L", 1 << 30),
        "list of entries is not where it should be",
    ),
    "Zip64 with many entries": (_zip64(1 << 60, 1 << 62), "more than 20000"),
    "Zip64 with a long list": (
        _zip64(1, 1 << 62),
        "list of 1 entries has 46116860",
    ),
    "Zip64 sizes": (_zip64_entry(), "an entry ends behind the list"),
    "a flat bomb": (_flat_bomb(), "more than 40 times as much"),
    "a bomb of many files": (_bomb_of_many(), "more than 40 times as much"),
    "a text": (b"PK\3\4 I am no archive", "list of entries is missing"),
    "two ends": (_ONE + _END + bytes(18), "holds no DICOM|damaged"),
}


def archives() -> Cases:
    """Return zip archives that are wrong as archives."""
    places = [len(_WHOLE) * k // 8 for k in range(1, 8)]
    cut = {
        f"cut after {place} bytes": (_WHOLE[:place], "archive is (damaged or )?cut off")
        for place in places
    }
    names = {
        f"the name {name[:20]!r}": (_named(name), pattern)
        for name, pattern in _WRONG_NAMES.items()
    }
    return cut | names | _WRONG_ARCHIVES
