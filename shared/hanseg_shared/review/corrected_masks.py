"""Corrected contours read from whatever they came in, as masks on the CT's grid.

Structure sets and DICOM segmentations are drawn on the grid, by their structures'
names; label maps must lie on it, or on a part of it as 3D Slicer saves segments.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from hanseg_shared.dicom.contour_masks import draw_on_grid
from hanseg_shared.dicom.rtstruct_reader import (
    RTSTRUCT_STORAGE,
    StructureSet,
    read_structure_set,
)
from hanseg_shared.dicom.scanline import Part
from hanseg_shared.dicom.segmentation_reader import (
    STORAGE,
    on_grid,
    read_segmentation,
)
from hanseg_shared.dicom.untrusted import sop_class_of, text
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.io.dicom.source import DicomIdentity, SeriesSource
from hanseg_shared.io.read import read_labels
from hanseg_shared.io.segments import read_segments
from hanseg_shared.metrics.surface import bounding_box, lattice_offset
from hanseg_shared.organ_names import organ_of
from hanseg_shared.organs import ORGANS
from hanseg_shared.volume import Mask, Volume

SourceKind = Literal["viewer", "rtstruct", "seg", "label_map"]

PATIENT_ID = "00100020"
"""Tag of Patient ID (0010,0020)."""

CHUNK_BYTES = 1 << 20

_NAMES = {organ.label: organ.name for organ in ORGANS}


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedMasks:
    """Corrected masks, each cropped to its voxels.

    Attributes:
        kind: What they came in.
        parts: By organ; one that is empty is left out.
        remarks: What a person should know of how they were read.
    """

    kind: SourceKind
    parts: Mapping[str, Part]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a case's own images say of themselves, to tell others' apart.

    Attributes:
        ct: The planning CT's series; None if it was no DICOM.
        identity: Whose it is.
    """

    ct: SeriesSource | None = None
    identity: DicomIdentity = field(default_factory=DicomIdentity)

    def require_own(self, dataset: Dataset, frames: Iterable[str]) -> None:
        """Return if an object can be this patient's, in this CT's frame of reference.

        Raises:
            ImageContentError: It is another's.
        """
        if self.ct is None:
            return
        if self._patient_id not in {"", text(dataset, "PatientID").strip()}:
            raise ImageContentError(
                "its PatientID (0010,0020) is not that of the planning CT: it is "
                "another patient's"
            )
        if {*frames} - {""} != {self.ct.frame_of_reference_uid}:
            raise ImageContentError(
                "its FrameOfReferenceUID (0020,0052) is not that of the planning CT: "
                "it was contoured on other images"
            )

    @property
    def _patient_id(self) -> str:
        values = self.identity.attributes.get(PATIENT_ID, {}).get("Value") or [""]
        return str(values[0]).strip()


def read_corrected(
    path: Path, grid: Grid, belongings: Belongings, *, organ: str | None = None
) -> CorrectedMasks:
    """Read corrected contours from a file, whose content says what it is.

    Args:
        path: An RTSTRUCT, a DICOM segmentation, or a NIfTI, NRRD or MHA file.
        grid: The CT's.
        belongings: What tells whether a DICOM object is the case's.
        organ: Whose the one mask of an image file is; None takes the names of its
            segments, or the HaN-Seg numbers 1 to 30.

    Raises:
        ImageError: It cannot be used.
        GridMismatchError: It does not lie on the CT's grid.
    """
    kind = sop_class_of(path)
    if kind == RTSTRUCT_STORAGE:
        return _read_structures(path, grid, belongings)
    if kind in STORAGE:
        return _read_segments(path, grid, belongings)
    return _read_label_map(path, grid, organ)


def read_painted(path: Path, grid: Grid, organ: str) -> CorrectedMasks:
    """Read a mask as the viewer sends it; see `CorrectedMask.sha256` for its form.

    Raises:
        ImageContentError: It is anything else, or has another size than the CT.
    """
    voxels = int(np.prod(grid.shape))
    found = np.frombuffer(_inflate(path, voxels), dtype=np.uint8)
    if found.max() > 1:
        raise ImageContentError(
            f"a mask has the values 0 and 1, and this one has {int(found.max())}"
        )
    part = _crop(found.reshape(grid.shape).view(np.bool_))
    return CorrectedMasks("viewer", {} if part is None else {organ: part})


def _inflate(path: Path, size: int) -> bytes:
    """Return gzip's content, of just so many bytes."""
    inflater = zlib.decompressobj(wbits=31)
    content = bytearray()
    try:
        with path.open("rb") as file:
            while (packed := file.read(CHUNK_BYTES)) and len(content) <= size:
                content += inflater.decompress(packed, size + 1 - len(content))
    except zlib.error:
        raise ImageContentError("the mask is no gzip, or is damaged") from None
    if len(content) != size or not inflater.eof:
        raise ImageContentError(
            f"the mask must have one byte a voxel of the CT, {size} in all, in one "
            "gzip member"
        )
    return bytes(content)


def _crop(mask: Mask) -> Part | None:
    box = bounding_box(mask)
    if box is None:
        return None
    z, y, x = (each.start for each in box)
    return Part(mask[box].copy(), (z, y, x))


def _read_structures(path: Path, grid: Grid, own: Belongings) -> CorrectedMasks:
    found = read_structure_set(path)
    own.require_own(found.dataset, _frames_of(found))
    numbers, remarks = _organs_by_number(
        {each.number: each.name for each in found.rois}
    )
    parts: dict[str, Part] = {}
    for roi in found.rois:
        if roi.number not in numbers:
            continue
        organ = numbers[roi.number]
        mask, drawn = draw_on_grid(roi, grid)
        if len(roi.counts) and not drawn.slices:
            raise ImageContentError(
                f"all contours of {organ} lie outside the planning CT: they belong to "
                "another patient or other images"
            )
        remarks += [f"{organ}: {line}" for line in drawn.remarks()]
        if mask is not None:
            parts[organ] = _part_of(mask, grid)
    return CorrectedMasks("rtstruct", parts, tuple(remarks))


def _frames_of(found: StructureSet) -> set[str]:
    stated = {*found.frames_of_reference}
    return stated | {each.frame_of_reference_uid for each in found.rois}


def _read_segments(path: Path, grid: Grid, own: Belongings) -> CorrectedMasks:
    found = read_segmentation(path)
    own.require_own(found.dataset, [text(found.dataset, "FrameOfReferenceUID")])
    numbers, remarks = _organs_by_number({s.number: s.label for s in found.segments})
    masks = found.masks(on_grid(grid), wanted=numbers)
    parts = {numbers[number]: part for number, part in masks.items()}
    return CorrectedMasks("seg", parts, tuple(remarks))


def _organs_by_number(names: Mapping[int, str]) -> tuple[dict[int, str], list[str]]:
    """Return which numbers are organs, by their names, and what is to be said of it.

    Raises:
        ImageContentError: None is, or two are one organ.
    """
    found = {n: organ for n, name in names.items() if (organ := organ_of(name))}
    twice = {each for each in found.values() if list(found.values()).count(each) > 1}
    if twice:
        raise ImageContentError(f"two structures are {min(twice)} by their names")
    if not found:
        raise ImageContentError(
            "no structure is one of the 30 organs by its name; GET /v1/organs lists "
            "their names"
        )
    left = len(names) - len(found)
    remarks = [f"{left} structures are none of the 30 organs by their names"]
    return found, remarks if left else []


def _read_label_map(path: Path, grid: Grid, organ: str | None) -> CorrectedMasks:
    segments = read_segments(path)
    labels = read_labels(path)
    start = lattice_offset(grid, labels.grid)
    values = [int(n) for n in np.flatnonzero(np.bincount(labels.array.reshape(-1)))]
    values = [n for n in values if n]
    meaning: Mapping[int, str]
    remarks: list[str] = []
    if organ is not None:
        if len(values) > 1:
            raise ImageContentError(
                f"the mask of one organ has one label, and this file has {len(values)}"
            )
        meaning = dict.fromkeys(values, organ)
    elif segments:
        named = {each.value: each.name for each in segments if each.value is not None}
        meaning, remarks = _organs_by_number(named)
    else:
        meaning = _NAMES
        _require_known(values)
    parts = {}
    for value in values:
        if value in meaning:
            parts[meaning[value]] = _place(labels, value, start, grid)
    return CorrectedMasks("label_map", parts, tuple(remarks))


def _require_known(values: Iterable[int]) -> None:
    unknown = [str(value) for value in values if value not in _NAMES]
    if unknown:
        raise ImageContentError(
            f"it holds the labels {', '.join(unknown[:8])}, which are none of the "
            "HaN-Seg numbers 1 to 30; name its segments, or send one organ's mask with "
            "its name"
        )


def _place(labels: Volume, value: int, start: tuple[int, int, int], grid: Grid) -> Part:
    """Return where a label is, on the CT's grid.

    Raises:
        ImageContentError: It has voxels outside of it.
    """
    part = _crop(labels.array == value)
    assert part is not None
    z, y, x = (own + more for own, more in zip(part.start, start, strict=True))
    moved = Part(part.array, (z, y, x))
    if any(
        each.start < 0 or each.stop > size
        for each, size in zip(moved.box, grid.shape, strict=True)
    ):
        raise ImageContentError("it has voxels outside of the planning CT")
    return moved


def _part_of(mask: Volume, grid: Grid) -> Part:
    part = _crop(mask.array)
    assert part is not None
    return _shift(part, lattice_offset(grid, mask.grid))


def _shift(part: Part, start: tuple[int, int, int]) -> Part:
    z, y, x = (own + more for own, more in zip(part.start, start, strict=True))
    return Part(part.array, (z, y, x))
