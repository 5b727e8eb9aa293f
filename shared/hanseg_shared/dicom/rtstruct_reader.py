"""RTSTRUCTs of any vendor read: regions of interest as contours in mm LPS.

It shares nothing with the writer. What PS3.3 C.8.8.6 leaves open is decided so:

- Several CLOSED_PLANAR contours of a region in one plane are combined by exclusive
  disjunction, as CLOSEDPLANAR_XOR ones are: an inner contour is a hole. The standard
  has no meaning for nested CLOSED_PLANAR contours (holes need a keyhole or the XOR
  type), and vendors mean holes by them. A contour stored twice counts once.
- Points and open contours enclose nothing; they are counted and left out.
- A region without contours is kept, empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import RTStructureSetStorage

from hanseg_shared.dicom.untrusted import (
    Remembered,
    items_of,
    open_object,
    raw_text,
    reading,
    text,
)
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Points

WHAT = "an RTSTRUCT"

RTSTRUCT_STORAGE = str(RTStructureSetStorage)
"""Its SOP class."""

MAX_ROIS = 1_000
"""Regions of interest in a file; clinical ones have up to about a hundred."""

MAX_CONTOURS = 200_000
"""Contours in a file; 30 organs on 200 slices have about 4,000."""

MAX_POINTS = 5_000_000
"""Points in a file; the same have about 220,000."""

MAX_POINTS_OF_CONTOUR = 100_000
"""Points of one contour; an outline in 512 x 512 pixels has some thousand."""

MAX_MM = 1e5
"""A coordinate beyond this, 100 m, is no patient's."""

MAX_CHARACTERS = 32
"""Of a number as text; DICOM allows 16 (PS3.5 6.2), and some writers do not obey."""

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
"""Types that enclose something; the last is how some write the second."""

FEWEST_POINTS = 3
"""Of a contour that encloses something."""

ImageReference = tuple[str, int | None]
"""A SOP Instance UID, and the number of a frame of a multi-frame image."""

_CONTOUR_DATA = 0x30060050


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """A region of interest.

    Attributes:
        number: ROI Number (3006,0022).
        name: ROI Name (3006,0026).
        frame_of_reference_uid: Referenced Frame of Reference UID (3006,0024).
        points: Of all closed contours, one after another, in mm LPS, ``(n, 3)``.
        counts: Points of each contour, shape ``(m,)``.
        images: What each contour refers to.
        left_out: How many contours of which type enclose nothing.
        has_item: Whether the ROI Contour Sequence has an item for it.
    """

    number: int
    name: str
    frame_of_reference_uid: str
    points: Points
    counts: np.ndarray
    images: tuple[tuple[ImageReference, ...], ...]
    left_out: dict[str, int] = field(default_factory=dict)
    has_item: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class StructureSet:
    """What an RTSTRUCT says.

    Attributes:
        dataset: The whole object.
        rois: In the order of the Structure Set ROI Sequence (3006,0020).
        frames_of_reference: UIDs of the Referenced Frame of Reference Sequence
            (3006,0010).
        images: SOP Instance UIDs of its Contour Image Sequences, by the UID of the
            referenced series.
    """

    dataset: FileDataset
    rois: tuple[Roi, ...]
    frames_of_reference: tuple[str, ...]
    images: dict[str, tuple[str, ...]]


def read_structure_set(path: Path) -> StructureSet:
    """Read an RTSTRUCT.

    Raises:
        ImageContentError: It is none, is damaged, or states what cannot be.
        ImageTooLargeError: It is larger than is read.
        NotAnImageError: It is no DICOM file.
    """
    dataset = open_object(path, sop_class_uids=(RTSTRUCT_STORAGE,), what=WHAT)
    with reading(WHAT):
        frames, images = _references(dataset)
        return StructureSet(dataset, tuple(_rois(dataset)), frames, images)


def read_names(path: Path) -> dict[int, str]:
    """Return the names of an RTSTRUCT's structures by number, without the contours.

    Raises:
        ImageContentError: It is none, is damaged, or has none or one twice.
        ImageTooLargeError: It is larger than is read.
        NotAnImageError: It is no DICOM file.
    """
    dataset = open_object(
        path,
        sop_class_uids=(RTSTRUCT_STORAGE,),
        what=WHAT,
        only=("StructureSetROISequence",),
    )
    with reading(WHAT):
        return {number: name for number, name, _ in _stated_rois(dataset)}


def _references(
    dataset: Dataset,
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    frames, images = [], {}
    for frame in items_of(dataset, "ReferencedFrameOfReferenceSequence"):
        frames.append(text(frame, "FrameOfReferenceUID"))
        for study in items_of(frame, "RTReferencedStudySequence"):
            for series in items_of(study, "RTReferencedSeriesSequence"):
                images[text(series, "SeriesInstanceUID")] = tuple(
                    text(each, "ReferencedSOPInstanceUID")
                    for each in items_of(series, "ContourImageSequence")
                )
    return tuple(frames), images


def _stated_rois(dataset: Dataset) -> Iterator[tuple[int, str, Dataset]]:
    """Yield number, name and item of each structure."""
    stated = items_of(dataset, "StructureSetROISequence")
    if not stated:
        raise ImageContentError(
            "the RTSTRUCT has no structure: StructureSetROISequence (3006,0020) is "
            "missing or empty"
        )
    if len(stated) > MAX_ROIS:
        raise ImageContentError(
            f"the RTSTRUCT has {len(stated)} structures, and at most {MAX_ROIS} are "
            "read"
        )
    seen: set[int] = set()
    for item in stated:
        number = int(item.ROINumber)
        if number in seen:
            raise ImageContentError(
                f"the RTSTRUCT has two structures of ROINumber (3006,0022) {number}"
            )
        seen.add(number)
        yield number, text(item, "ROIName").strip(), item


def _rois(dataset: Dataset) -> Iterator[Roi]:
    contours = _contours_by_number(dataset)
    images = Remembered("ContourImageSequence", _images)
    room = _Room(MAX_CONTOURS, MAX_POINTS, images)
    for number, name, item in _stated_rois(dataset):
        yield _roi(item, number, name, contours.pop(number, None), room)
    if contours:
        raise ImageContentError(
            f"the RTSTRUCT has contours of ROINumber {next(iter(contours))}, of which "
            "StructureSetROISequence (3006,0020) has no name"
        )


def _contours_by_number(dataset: Dataset) -> dict[int, Dataset]:
    found: dict[int, Dataset] = {}
    for item in items_of(dataset, "ROIContourSequence"):
        number = int(item.ReferencedROINumber)
        if number in found:
            raise ImageContentError(
                "the RTSTRUCT has two sets of contours of ReferencedROINumber "
                f"(3006,0084) {number}"
            )
        found[number] = item
    return found


@dataclass(slots=True)
class _Room:
    """How much a file may still hold, and the images that contours refer to."""

    contours: int
    points: int
    images: Remembered[tuple[ImageReference, ...]]

    def take(self, *, contours: int = 0, points: int = 0) -> None:
        self.contours -= contours
        self.points -= points
        if self.contours < 0 or self.points < 0:
            raise ImageContentError(
                f"the RTSTRUCT has more than {MAX_CONTOURS} contours or {MAX_POINTS} "
                "points, and no more are read"
            )


def _roi(
    item: Dataset, number: int, name: str, contours: Dataset | None, room: _Room
) -> Roi:
    given = [] if contours is None else items_of(contours, "ContourSequence")
    room.take(contours=len(given))
    kinds = [raw_text(each, "ContourGeometricType") for each in given]
    closed = [e for e, kind in zip(given, kinds, strict=True) if kind in CLOSED]
    points = [_points(each, name, room) for each in closed]
    single = Counter("single points" for each in points if len(each) < FEWEST_POINTS)
    kept = _once(
        [
            (each, contour)
            for each, contour in zip(points, closed, strict=True)
            if len(each) >= FEWEST_POINTS
        ]
    )
    return Roi(
        number,
        name,
        text(item, "ReferencedFrameOfReferenceUID"),
        np.concatenate([np.zeros((0, 3)), *(each for each, _ in kept)]),
        np.array([len(each) for each, _ in kept], dtype=np.intp),
        tuple(room.images.of(contour) for _, contour in kept),
        dict(Counter(k or "no type" for k in kinds if k not in CLOSED) + single),
        contours is not None,
    )


def _once(contours: list[tuple[Points, Dataset]]) -> list[tuple[Points, Dataset]]:
    """Return contours without repetitions: the same twice would enclose nothing."""
    return list({each.tobytes(): (each, of) for each, of in contours}.values())


def _images(contour: Dataset) -> tuple[ImageReference, ...]:
    return tuple(
        (text(each, "ReferencedSOPInstanceUID"), _frame(each))
        for each in items_of(contour, "ContourImageSequence")
    )


def _frame(reference: Dataset) -> int | None:
    number = reference.get("ReferencedFrameNumber")
    return None if number is None else int(number)


def _points(contour: Dataset, name: str, room: _Room) -> Points:
    """Return a contour's points, shape ``(n, 3)``; a repeated last one is left out."""
    if _CONTOUR_DATA not in contour:
        return np.zeros((0, 3))
    value = _as_bytes(cast("object", contour.get_item(_CONTOUR_DATA).value))
    if not value.strip(b" \0"):
        return np.zeros((0, 3))
    count = value.count(b"\\") // 3 + 1
    if count > MAX_POINTS_OF_CONTOUR:
        raise ImageContentError(
            f"structure {name[:64]!r}: a contour has {count} points, and at most "
            f"{MAX_POINTS_OF_CONTOUR} are read"
        )
    room.take(points=count)
    texts = value.rstrip(b" \0").split(b"\\")
    if max(map(len, texts)) > MAX_CHARACTERS:
        raise ImageContentError(
            f"structure {name[:64]!r}: ContourData (3006,0050) has a number of more "
            f"than {MAX_CHARACTERS} characters"
        )
    numbers = np.array(texts).astype(np.float64)
    if len(numbers) % 3:
        raise ImageContentError(
            f"structure {name[:64]!r}: ContourData (3006,0050) has {len(numbers)} "
            "numbers, which are no triplets"
        )
    if not (np.abs(numbers) <= MAX_MM).all():
        raise ImageContentError(
            f"structure {name[:64]!r}: ContourData (3006,0050) has a coordinate beyond "
            f"{MAX_MM:.0f} mm, or none that is a number"
        )
    points = numbers.reshape(-1, 3)
    _require_count(contour, len(points), name)
    if len(points) > 1 and (points[0] == points[-1]).all():
        points = points[:-1]
    return points


def _as_bytes(value: object) -> bytes:
    """Return raw text; of undefined length, pydicom has parsed it already."""
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    raise ImageContentError("ContourData (3006,0050) is no text of numbers")


def _require_count(contour: Dataset, count: int, name: str) -> None:
    stated = raw_text(contour, "NumberOfContourPoints")
    if stated and int(stated) != count:
        raise ImageContentError(
            f"structure {name[:64]!r}: NumberOfContourPoints (3006,0046) is {stated}, "
            f"but ContourData (3006,0050) has {count} points"
        )
