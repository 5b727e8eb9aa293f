"""A look at each DICOM file before any parser sees it.

What a header claims must be within the caps, and be in the file; only then is it
worth the memory and time that reading it takes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from mmap import mmap

from hanseg_shared.errors import ImageError, ImageTooLargeError
from hanseg_shared.io.dicom.archive import Unpacked
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.elements import Budget, Outline, walk_file
from hanseg_shared.io.dicom.file_meta import FileMeta, read_file_meta, require_syntax
from hanseg_shared.io.dicom.pixel_claims import CLAIMED, read_claims, require_claimed
from hanseg_shared.io.dicom.syntaxes import Syntax
from hanseg_shared.io.limits import Limits

_SERIES = 0x0020000E
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
IMAGES = frozenset(_STORAGE + end for end in ("2", "2.1", "2.2", "4", "4.1", "4.4"))
"""CT and MR, classic, enhanced and converted to enhanced (PS3.4 B.5)."""

USED = IMAGES | {_STORAGE + "66.1"}
"""Those and spatial registrations: the only files that are read beyond their head."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What one file would take once it is read; nothing if it is no image of a case.

    Attributes:
        series: Series Instance UID (0020,000E).
        voxels: Pixels of all its frames.
        decoded_bytes: Of its pixels, where they are compressed.
    """

    series: str = ""
    voxels: int = 0
    decoded_bytes: int = 0


def check_files(received: Unpacked, source: str, limits: Limits) -> Unpacked:
    """Return the files of an archive, of which those that will be read may be.

    Of objects of other kinds only the head is looked at, here and later.

    Args:
        received: What was unpacked.
        source: What the sender calls it.
        limits: Caps on files and images.

    Raises:
        ImageTooLargeError: A file, or a series, claims more than the caps allow.
        ImageError: A file is damaged, or its transfer syntax is not read; the message
            names file, tag and remedy.
    """
    found: dict[DicomFile, _Found] = {}
    budget = Budget.of(limits)
    for file in received.files:
        meta = read_file_meta(file)
        if meta.sop_class_uid in USED:
            found[file] = _check(file, meta, limits, budget)
        elif meta.sop_class_uid != _MEDIA_DIRECTORY:
            found[file] = _Found()
    _require_small_series(found, limits)
    claimed = sum(each.decoded_bytes for each in found.values())
    _require_ratio(source, claimed, received.packed_bytes, limits)
    return replace(received, files=tuple(found))


def _check(file: DicomFile, meta: FileMeta, limits: Limits, budget: Budget) -> _Found:
    syntax = require_syntax(meta, file)
    with walk_file(
        file,
        meta.end,
        explicit=syntax.explicit,
        wanted=(*CLAIMED, _SERIES),
        limits=limits,
        budget=budget,
    ) as (data, outline):
        if meta.sop_class_uid not in IMAGES:
            return _Found()
        return _measure(file, data, outline, syntax, limits)


def _uid(outline: Outline, tag: int) -> str:
    value = outline.values.get(tag)
    return "" if value is None else value.data.rstrip(b"\0 ").decode("latin-1")


def _measure(
    file: DicomFile, data: mmap, outline: Outline, syntax: Syntax, limits: Limits
) -> _Found:
    series = _uid(outline, _SERIES)
    if outline.pixels is None:
        return _Found(series)
    try:
        claims = read_claims(outline, limits)
        require_claimed(data, outline.pixels, claims, syntax)
    except ImageError as error:
        raise type(error)(
            f"{file.name}: {error.message}: the file is damaged or cut off; export "
            "the series again"
        ) from None
    return _Found(series, claims.voxels, claims.bytes if syntax.encapsulated else 0)


def _require_small_series(found: dict[DicomFile, _Found], limits: Limits) -> None:
    voxels: Counter[str] = Counter()
    for file, each in found.items():
        voxels[each.series] += each.voxels
        if voxels[each.series] > limits.max_voxels:
            raise ImageTooLargeError(
                f"{file.name}: the slices of its series have more than "
                f"{limits.max_voxels} voxels together; send the head and neck alone"
            )


def _require_ratio(
    source: str, claimed: int, packed_bytes: int, limits: Limits
) -> None:
    """Refuse images that are far longer decoded than they were sent."""
    if claimed > max(limits.free_ratio_bytes, limits.max_pixel_ratio * packed_bytes):
        raise ImageTooLargeError(
            f"{source}: its compressed images claim {claimed} bytes of pixels, more "
            f"than {limits.max_pixel_ratio} times the {packed_bytes} that were sent; "
            "export the series uncompressed"
        )
