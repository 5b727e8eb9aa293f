"""Which instance of which study a DICOM file is, read without a DICOM library."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hanseg_shared.errors import ImageError
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.elements import Budget, show, walk_file
from hanseg_shared.io.dicom.file_meta import read_file_meta, require_syntax
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_WANTED = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


INSTANCE_LIMITS = replace(DEFAULT_LIMITS, max_elements=200_000, max_items=25_000)
"""Caps on one instance: this is not done in a process of its own, and an element takes
a microsecond. An enhanced MR of 1000 frames has half as many."""


class UnreadSyntaxError(ImageError):
    """A file has a transfer syntax that is not read here."""


@dataclass(frozen=True, slots=True)
class InstanceUids:
    """Unique identifiers of one instance."""

    sop_class: str
    sop_instance: str
    study: str
    series: str


def read_instance_uids(
    file: DicomFile, limits: Limits = INSTANCE_LIMITS
) -> InstanceUids:
    """Return the identifiers of a DICOM file; nothing of the patient is read.

    Raises:
        UnreadSyntaxError: Its transfer syntax is not read here.
        ImageError: It is no DICOM file, is damaged, or lacks one of them.
    """
    meta = read_file_meta(file)
    try:
        syntax = require_syntax(meta, file)
    except ImageError as error:
        raise UnreadSyntaxError(error.message) from None
    with walk_file(
        file,
        meta.end,
        explicit=syntax.explicit,
        wanted=_WANTED,
        limits=limits,
        budget=Budget.of(limits),
    ) as (_, outline):
        values = {tag: each.data for tag, each in outline.values.items()}
    found = [_uid(tag, values.get(tag, b""), file.name) for tag in _WANTED]
    return InstanceUids(*found)


def _uid(tag: int, value: bytes, name: str) -> str:
    text = value.rstrip(b"\0 ").decode("latin-1")
    if len(text) > _LONGEST_UID or not _UID.fullmatch(text):
        raise ImageError(
            f"{name}: {show(tag)} is missing or no UID; export the file again"
        )
    return text
