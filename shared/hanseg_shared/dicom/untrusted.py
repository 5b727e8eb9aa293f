"""DICOM objects opened without trust, to be read back or evaluated."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from hanseg_shared.errors import (
    ImageContentError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
)
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.elements import Budget, walk_file
from hanseg_shared.io.dicom.file_meta import FileMeta, read_file_meta
from hanseg_shared.io.limits import DEFAULT_LIMITS

T = TypeVar("T")

MAX_BYTES = 1 << 30
"""Largest file that is opened: 30 organs of a 512 x 512 x 200 CT take 6 MB as contours,
and 110 MB as a binary segmentation."""

PLAIN_SYNTAXES = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian})
"""Transfer syntaxes of objects that hold no pixels. Deflated ones are refused before
anything is inflated; big-endian ones were retired in 2006 (PS3.5 A.3)."""

PIXEL_SYNTAXES = PLAIN_SYNTAXES | {RLELossless}
"""Transfer syntaxes of segmentations: RLE is what label maps are written in."""

MOST_ELEMENTS, MOST_ITEMS = 4_000_000, 1_000_000
"""What a file may have of elements, those in sequences included, and of items. Thirty
organs of 512 x 512 x 200 have 70,000 and 20,000 as contours, 90,000 and 20,000 as
binary segments."""

MALFORMED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises on files that are not what they say; a sequence nested too deep
is a `RecursionError`, pixels that cannot be decoded a `RuntimeError`."""


def open_object(
    path: Path,
    *,
    sop_class_uids: tuple[str, ...],
    what: str,
    syntaxes: frozenset[str] = PLAIN_SYNTAXES,
    only: tuple[str, ...] | None = None,
) -> FileDataset:
    """Open a DICOM object of a known kind.

    The kind and the transfer syntax are read from the file meta information (PS3.10
    7.1), and every element's length is measured, before anything is parsed.

    Args:
        path: The file.
        sop_class_uids: SOP classes that are taken.
        what: What they are called in messages, such as ``an RTSTRUCT``.
        syntaxes: Transfer syntaxes that are taken.
        only: Attributes that are read; None reads all.

    Raises:
        NotAnImageError: It is no DICOM file or cannot be opened.
        ImageTooLargeError: It is larger, or has more elements, than is read.
        ImageContentError: It is another kind of object.
        ImageError: It is damaged.
    """
    file = DicomFile(path, "the file")
    meta = _read_head(file)
    if meta.sop_class_uid not in sop_class_uids:
        raise ImageContentError(
            f"it is not {what}: MediaStorageSOPClassUID (0002,0002) is "
            f"{_name_of(meta.sop_class_uid)}"
        )
    if meta.transfer_syntax_uid not in syntaxes:
        raise ImageContentError(
            f"its TransferSyntaxUID (0002,0010) is {_name_of(meta.transfer_syntax_uid)}"
            "; export it as Explicit VR Little Endian"
        )
    _measure(file, meta)
    with reading(what):
        return dcmread(path, specific_tags=None if only is None else list(only))


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Read parts of an object; whatever is malformed becomes one sentence.

    Raises:
        ImageContentError: The object is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is unusual is judged by the readers
        try:
            yield
        except MALFORMED as error:
            raise ImageContentError(
                f"{what} could not be read, the file is damaged or incomplete "
                f"({type(error).__name__}); export it again"
            ) from error


def sop_class_of(path: Path) -> str | None:
    """Return the SOP class that a file states; None if it is no whole DICOM file."""
    try:
        return _read_head(DicomFile(path, path.name)).sop_class_uid
    except ImageError:
        return None


def _read_head(file: DicomFile) -> FileMeta:
    try:
        size = file.path.stat().st_size
        if size > MAX_BYTES:
            raise ImageTooLargeError(
                f"it has {size >> 20} MiB, and at most {MAX_BYTES >> 20} are read"
            )
        return read_file_meta(file)
    except OSError as error:
        raise NotAnImageError(
            f"the file cannot be opened: {error.strerror or type(error).__name__}"
        ) from None


def _measure(file: DicomFile, meta: FileMeta) -> None:
    """Refuse a file whose elements do not lie in it, or that has too many."""
    with walk_file(
        file,
        meta.end,
        explicit=meta.transfer_syntax_uid != ImplicitVRLittleEndian,
        wanted=(),
        limits=DEFAULT_LIMITS,
        budget=Budget(MOST_ELEMENTS, MOST_ITEMS),
    ):
        return


def _name_of(uid: str) -> str:
    if not uid:
        return "missing"
    return UID(uid).name[:64]


def text(dataset: Dataset, keyword: str) -> str:
    """Return an attribute as text; empty if it is missing."""
    found = dataset.get(keyword)
    return "" if found is None else str(found)


def raw_text(dataset: Dataset, keyword: str) -> str:
    """Return a short attribute as text without its conversion; empty if missing."""
    tag = Tag(keyword)
    if tag not in dataset:
        return ""
    value: object = dataset.get_item(tag).value
    if isinstance(value, bytes):
        return value.decode("ascii").strip(" \0")
    return "" if value is None else str(value).strip()


class Remembered(Generic[T]):
    """Parses an attribute of many items, equal ones once.

    Contours and frames of one slice refer to one image in the same bytes, and pydicom
    takes most of its time for what these hold.
    """

    def __init__(self, keyword: str, parse: Callable[[Dataset], T]) -> None:
        self._tag = Tag(keyword)
        self._parse = parse
        self._known: dict[bytes, T] = {}

    def of(self, item: Dataset) -> T:
        """Return what the attribute of an item says."""
        value: object = None
        if self._tag in item:
            value = item.get_item(self._tag).value
        if not isinstance(value, bytes):
            return self._parse(item)
        if value not in self._known:
            self._known[value] = self._parse(item)
        return self._known[value]


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return a sequence's items; none if it is missing or empty.

    Raises:
        ImageContentError: The attribute is no sequence.
    """
    found = dataset.get(keyword)
    if found is None:
        return []
    if not isinstance(found, Sequence):
        raise ImageContentError(f"{keyword} is no sequence")
    return list(found)
