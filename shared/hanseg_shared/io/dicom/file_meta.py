"""The head of a DICOM file, read before any parser sees the rest (PS3.10 7.1).

Preamble, magic and the elements of group 0002, which are always Explicit VR Little
Endian, say how the rest is written. That decides whether it is read at all.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from hanseg_shared.errors import ImageError, NotAnImageError
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.syntaxes import SYNTAXES, Syntax, why_refused
from hanseg_shared.io.formats import is_dicom
from hanseg_shared.io.header_text import quote

_START = 132
_META_GROUP = 0x0002
_SOP_CLASS = 0x0002
_TRANSFER_SYNTAX = 0x0010
_MOST_BYTES = 1 << 16
"""Most bytes of preamble and group 0002; some hundred are usual. Private information
(0002,0102) may be longer in theory."""

_LONG_VRS = {b"OB", b"OW", b"UN", b"UT", b"UC", b"UR"}
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What a file's head says.

    Attributes:
        transfer_syntax_uid: (0002,0010).
        sop_class_uid: Media Storage SOP Class UID (0002,0002); empty if missing.
        end: Where the data set begins, in bytes from the file's start.
    """

    transfer_syntax_uid: str
    sop_class_uid: str
    end: int

    @property
    def syntax(self) -> Syntax | None:
        """The transfer syntax, or None if it is not read."""
        return SYNTAXES.get(self.transfer_syntax_uid)


def read_file_meta(file: DicomFile) -> FileMeta:
    """Return what a file's head says; of the file's bytes, no others are looked at.

    Raises:
        NotAnImageError: It does not begin as a DICOM file.
        ImageError: The head is damaged, or names no transfer syntax.
    """
    with file.path.open("rb") as opened:
        head = opened.read(_MOST_BYTES)
    if not is_dicom(head):
        raise NotAnImageError(
            f"{file.name}: it is no DICOM file: DICM is missing at byte 128; export it "
            "again"
        )
    uids, end = _uids(head, file.name)
    syntax = uids.get(_TRANSFER_SYNTAX, "")
    if not syntax:
        raise ImageError(
            f"{file.name}: the Transfer Syntax UID (0002,0010) is missing, so that "
            "nobody can tell how the file is written; export it again"
        )
    return FileMeta(syntax, uids.get(_SOP_CLASS, ""), end)


def require_syntax(meta: FileMeta, file: DicomFile) -> Syntax:
    """Return a file's transfer syntax if it is one of those that are read.

    Raises:
        ImageError: It is not; the message says why and what to do.
    """
    uid = meta.transfer_syntax_uid
    if meta.syntax is None:
        raise ImageError(
            f"{file.name}: the Transfer Syntax UID (0002,0010) is {quote(uid)}: "
            f"{why_refused(uid)}; export the series as Explicit VR Little Endian"
        )
    return meta.syntax


def _uids(head: bytes, name: str) -> tuple[dict[int, str], int]:
    """Return the UIDs of group 0002 that matter, by element, and where it ends."""
    uids: dict[int, str] = {}
    at = _START
    while at + 8 <= len(head):
        group, element, vr, length = struct.unpack_from("<HH2sH", head, at)
        if group != _META_GROUP:
            return uids, at
        at += 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<L", head.ljust(at + 4, b"\xff"), at)
            at += 4
        if at + length > len(head):
            break
        if element in {_SOP_CLASS, _TRANSFER_SYNTAX}:
            if element in uids:
                raise ImageError(
                    f"{name}: the tag (0002,{element:04X}) is given twice; export the "
                    "file again"
                )
            uids[element] = _uid(head[at : at + length], element, name)
        at += length
    if at == len(head) < _MOST_BYTES:
        return uids, at
    raise ImageError(
        f"{name}: the file meta information (group 0002) is damaged or cut off; export "
        "the file again"
    )


def _uid(value: bytes, element: int, name: str) -> str:
    text = value.rstrip(b"\0 ").decode("latin-1")
    if len(text) > 64 or not _UID.fullmatch(text):
        raise ImageError(
            f"{name}: the tag (0002,{element:04X}) is no UID: {quote(text)}; export "
            "the file again"
        )
    return text
