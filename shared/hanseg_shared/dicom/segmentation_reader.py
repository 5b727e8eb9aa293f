"""DICOM segmentations of any vendor read: segments as voxels in mm LPS.

It shares nothing with the writer, and uses pydicom only. BINARY and LABELMAP are read
(PS3.3 C.8.20.2); FRACTIONAL is refused, as it has no outline.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import RLELossless, SegmentationStorage

from hanseg_shared.dicom.scanline import Part
from hanseg_shared.dicom.slice_planes import SlicePlanes
from hanseg_shared.dicom.untrusted import (
    PIXEL_SYNTAXES,
    Remembered,
    items_of,
    open_object,
    reading,
)
from hanseg_shared.errors import GridMismatchError, ImageContentError
from hanseg_shared.grid import SAME_GRID_VOXELS, Grid, Points

WHAT = "a DICOM segmentation"

STORAGE = (str(SegmentationStorage), "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes: segmentation, and label map segmentation."""

MAX_SEGMENTS = 1_000
MAX_FRAMES = 100_000
MAX_SIDE = 4096
MAX_PIXELS = 8_000_000_000
MAX_VOXELS = 20_000_000
"""More of these than any segmentation has were made to stall its reader. Thirty organs
have some three million voxels, and their binary frames 1.6 thousand million pixels."""

_VOXELS_AT_ONCE = 500_000

Place = Callable[[Points], np.ndarray]
"""Returns the voxels, z y x, whose centres lie at points in mm LPS, ``(n, 3)``."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment: its number, and its Segment Label (0062,0005)."""

    number: int
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Where a frame is.

    Attributes:
        segment: Its Referenced Segment Number; 0 in a label map.
        position: The centre of its first pixel, in mm LPS, shape ``(3,)``.
        step: Columns are the ways to the next pixel of a row, and to the next row.
        images: SOP Instance UIDs of its source images.
    """

    segment: int
    position: Points
    step: Points
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """What a DICOM segmentation says.

    Attributes:
        dataset: The whole object.
        segments: In the order of the Segment Sequence (0062,0002).
        frames: In the order of the pixels.
        label_map: Whether its pixels are numbers of segments.
    """

    dataset: FileDataset
    segments: tuple[Segment, ...]
    frames: tuple[Frame, ...]
    label_map: bool

    @property
    def positions(self) -> Points:
        """Of all frames, shape ``(n, 3)``."""
        return np.array([each.position for each in self.frames]).reshape(-1, 3)

    def masks(
        self, place: Place, *, wanted: Collection[int] | None = None
    ) -> dict[int, Part]:
        """Return each segment's mask where its voxels are, by number; empty ones not.

        Args:
            place: Finds the voxels of an image by their centres.
            wanted: Numbers of the segments that are read; None reads all.

        Raises:
            ImageContentError: The pixels are not what the header says.
            GridMismatchError: The voxels are not the image's.
        """
        parts: dict[int, list[np.ndarray]] = {each.number: [] for each in self.segments}
        kept = frozenset(parts if wanted is None else wanted)
        left = MAX_VOXELS
        with reading(WHAT):
            for number, points in self._voxels():
                if number not in parts:
                    raise ImageContentError(
                        f"a frame holds segment {number}, which SegmentSequence "
                        "(0062,0002) does not have"
                    )
                if number in kept:
                    left -= len(points)
                    _require_room(left)
                    parts[number].append(place(points))
        return {n: _mask(np.concatenate(each)) for n, each in parts.items() if each}

    def _voxels(self) -> Iterator[tuple[int, Points]]:
        """Yield numbers of segments, and centres of some of their voxels."""
        for frame, pixels in zip(self.frames, self._pixels(), strict=True):
            inside = np.flatnonzero(pixels != 0)
            for start in range(0, len(inside), _VOXELS_AT_ONCE):
                some = inside[start : start + _VOXELS_AT_ONCE]
                row, column = divmod(some, pixels.shape[1])
                values = pixels[row, column]
                index = np.stack([column, row], axis=1)
                points = frame.position + index @ frame.step.T
                for value in np.flatnonzero(np.bincount(values)).tolist():
                    number = value if self.label_map else frame.segment
                    yield number, points[values == value]

    def _pixels(self) -> Iterator[np.ndarray]:
        if self.label_map:
            yield from iter_pixels(self.dataset)
            return
        rows, columns = int(self.dataset.Rows), int(self.dataset.Columns)
        size = rows * columns
        stored = np.frombuffer(self.dataset.PixelData, dtype=np.uint8)
        for first in range(0, size * len(self.frames), size):
            part = stored[first // 8 : (first + size + 7) // 8]
            bits = np.unpackbits(part, bitorder="little")
            yield bits[first % 8 : first % 8 + size].reshape(rows, columns)


def _require_room(left: int) -> None:
    if left < 0:
        raise ImageContentError(
            f"the segments have more than {MAX_VOXELS} voxels, and no more are read"
        )


def read_segmentation(path: Path) -> Segmentation:
    """Read a DICOM segmentation.

    Raises:
        ImageContentError: It is none, is damaged, or states what cannot be.
        ImageTooLargeError: It is larger than is read.
        NotAnImageError: It is no DICOM file.
    """
    dataset = open_object(
        path, sop_class_uids=STORAGE, what=WHAT, syntaxes=PIXEL_SYNTAXES
    )
    with reading(WHAT):
        kind = str(dataset.SegmentationType)
        if kind not in {"BINARY", "LABELMAP"}:
            raise ImageContentError(
                f"SegmentationType (0062,0001) is {kind[:16]}; BINARY or LABELMAP is "
                "needed"
            )
        label_map = kind == "LABELMAP"
        segments = tuple(_segments(dataset))
        frames = tuple(_frames(dataset, label_map=label_map))
        _require_pixels(dataset, len(frames), label_map=label_map)
        return Segmentation(dataset, segments, frames, label_map)


def read_labels(path: Path) -> dict[int, str]:
    """Return the labels of a segmentation's segments by number, without the pixels.

    Raises:
        ImageContentError: It is none, is damaged, or has none or one twice.
        ImageTooLargeError: It is larger than is read.
        NotAnImageError: It is no DICOM file.
    """
    dataset = open_object(
        path,
        sop_class_uids=STORAGE,
        what=WHAT,
        syntaxes=PIXEL_SYNTAXES,
        only=("SegmentSequence",),
    )
    with reading(WHAT):
        return {each.number: each.label for each in _segments(dataset)}


def _segments(dataset: Dataset) -> Iterator[Segment]:
    given = items_of(dataset, "SegmentSequence")
    if not 1 <= len(given) <= MAX_SEGMENTS:
        raise ImageContentError(
            f"SegmentSequence (0062,0002) has {len(given)} segments, and 1 to "
            f"{MAX_SEGMENTS} are read"
        )
    numbers = [int(each.SegmentNumber) for each in given]
    if len(set(numbers)) != len(numbers):
        raise ImageContentError("two segments have one SegmentNumber (0062,0004)")
    for number, each in zip(numbers, given, strict=True):
        yield Segment(number, str(each.SegmentLabel).strip())


def _frames(dataset: Dataset, *, label_map: bool) -> Iterator[Frame]:
    shared = (*items_of(dataset, "SharedFunctionalGroupsSequence"), Dataset())[0]
    per_frame = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    if not 1 <= len(per_frame) <= MAX_FRAMES:
        raise ImageContentError(
            f"PerFrameFunctionalGroupsSequence (5200,9230) has {len(per_frame)} items, "
            f"and 1 to {MAX_FRAMES} are read"
        )
    axes = Remembered("PlaneOrientationSequence", lambda g: _axes(g, shared))
    spacing = Remembered("PixelMeasuresSequence", lambda g: _spacing(g, shared))
    position = Remembered("PlanePositionSequence", lambda g: _position(g, shared))
    segment = Remembered("SegmentIdentificationSequence", lambda g: _number(g, shared))
    images = Remembered("DerivationImageSequence", _source_images)
    for groups in per_frame:
        yield Frame(
            0 if label_map else segment.of(groups),
            position.of(groups),
            axes.of(groups) * spacing.of(groups),
            images.of(groups),
        )


def _position(groups: Dataset, shared: Dataset) -> Points:
    item = _group(groups, shared, "PlanePositionSequence")
    return np.array(item.ImagePositionPatient, dtype=np.float64).reshape(3)


def _number(groups: Dataset, shared: Dataset) -> int:
    item = _group(groups, shared, "SegmentIdentificationSequence")
    return int(item.ReferencedSegmentNumber)


def _group(groups: Dataset, shared: Dataset, keyword: str) -> Dataset:
    """Return a functional group's item, of the frame or of all frames."""
    found = items_of(groups, keyword) or items_of(shared, keyword)
    if not found:
        raise ImageContentError(f"a frame has no {keyword}")
    return found[0]


def _axes(groups: Dataset, shared: Dataset) -> Points:
    """Return the unit vectors along a row and down a column, as columns."""
    item = _group(groups, shared, "PlaneOrientationSequence")
    cosines = np.array(item.ImageOrientationPatient, dtype=np.float64)
    if not np.isfinite(cosines).all():
        raise ImageContentError("ImageOrientationPatient (0020,0037) is not finite")
    return np.asarray(cosines.reshape(2, 3).T)


def _spacing(groups: Dataset, shared: Dataset) -> Points:
    """Return the distance of pixels along a row and down a column, in mm."""
    item = _group(groups, shared, "PixelMeasuresSequence")
    spacing = np.array(item.PixelSpacing, dtype=np.float64).reshape(2)
    if not (np.isfinite(spacing).all() and spacing.min() > 0):
        raise ImageContentError("PixelSpacing (0028,0030) is not positive")
    return np.asarray(spacing[::-1])


def _source_images(groups: Dataset) -> tuple[str, ...]:
    return tuple(
        str(source.ReferencedSOPInstanceUID)
        for derivation in items_of(groups, "DerivationImageSequence")
        for source in items_of(derivation, "SourceImageSequence")
    )


def _require_pixels(dataset: Dataset, frames: int, *, label_map: bool) -> None:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    within = 1 <= min(rows, columns) <= max(rows, columns) <= MAX_SIDE
    if not (within and rows * columns * frames <= MAX_PIXELS):
        raise ImageContentError(
            f"{frames} frames of {rows} x {columns} pixels are not read: "
            f"{MAX_SIDE} x {MAX_SIDE} and {MAX_PIXELS} in all are the most"
        )
    if int(dataset.NumberOfFrames) != frames:
        raise ImageContentError(
            f"NumberOfFrames (0028,0008) is {dataset.NumberOfFrames}, but "
            f"PerFrameFunctionalGroupsSequence (5200,9230) has {frames} items"
        )
    if label_map and dataset.file_meta.TransferSyntaxUID == RLELossless:
        return  # the decoder compares
    bits = int(dataset.BitsAllocated)
    needed = (rows * columns * frames * bits + 7) // 8
    if len(dataset.PixelData) < needed or (bits != 1 and not label_map):
        raise ImageContentError(
            f"PixelData (7FE0,0010) has {len(dataset.PixelData)} bytes, not {needed}"
        )


def on_slices(planes: SlicePlanes) -> Place:
    """Return what finds the voxels of a stack of slices."""

    def place(points: Points) -> np.ndarray:
        slices, apart = planes.nearest(points @ planes.axes[:, 2])
        pixels = planes.pixels(points, slices)
        index = np.rint(pixels)
        off = max(np.abs(pixels - index).max(), apart.max() / min(planes.spacing))
        whole = np.column_stack([slices, index[:, ::-1]])
        return _require_inside(whole, planes.shape, float(off))

    return place


def on_grid(grid: Grid) -> Place:
    """Return what finds the voxels of a grid, whatever way its axes run."""

    def place(points: Points) -> np.ndarray:
        continuous = grid.world_to_index(points)[:, ::-1]
        index = np.rint(continuous)
        off = float(np.abs(continuous - index).max())
        return _require_inside(index, grid.shape, off)

    return place


def _require_inside(
    index: np.ndarray, shape: tuple[int, int, int], off: float
) -> np.ndarray:
    """Return indices z, y, x as small integers, or refuse those of no voxel."""
    if not off <= SAME_GRID_VOXELS:
        raise GridMismatchError(
            f"the segmentation's voxels lie between the image's, by up to {off:.2g} "
            "voxels"
        )
    if (index < 0).any() or (index >= shape).any():
        raise GridMismatchError("the segmentation has voxels outside the image")
    return index.astype(np.int32)


def _mask(index: np.ndarray) -> Part:
    low, high = index.min(axis=0), index.max(axis=0)
    array = np.zeros(high - low + 1, dtype=np.bool_)
    array[tuple((index - low).T)] = True
    z, y, x = (int(each) for each in low)
    return Part(array, (z, y, x))
