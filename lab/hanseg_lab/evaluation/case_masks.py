"""A case's organ masks, read from a label map, a file an organ, or a DICOM object.

Every mask is kept as the small part of the image that holds it, so that many cases
fit into memory, and cost what their organs are large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from scipy import ndimage

from hanseg_lab.evaluation.dicom_masks import DicomMasks, read_dicom_masks
from hanseg_lab.evaluation.label_table import OUR_NUMBERS, LabelTable
from hanseg_shared.errors import GridMismatchError, ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.io.header import read_header
from hanseg_shared.io.parsed_header import naming
from hanseg_shared.io.read import read_labels
from hanseg_shared.metrics.surface import bounding_box
from hanseg_shared.volume import Volume

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class CaseSource:
    """Where a case's masks are: one label map, a file an organ, or a DICOM object.

    Attributes:
        name: What the case is called.
        label_map: The file with all organs, or None.
        organ_files: Each structure's own file; empty with a label map.
        labels: What the label map's numbers stand for.
        may_be_cropped: Whether a file may hold just a part of the image, as 3D Slicer
            saves segments; then they need only share one lattice.
        dicom: The RTSTRUCT or DICOM segmentation with all organs, or None.
    """

    name: str
    label_map: Path | None = None
    organ_files: Mapping[str, Path] = field(default_factory=dict)
    labels: LabelTable = OUR_NUMBERS
    may_be_cropped: bool = False
    dicom: DicomMasks | None = None

    @property
    def first_file(self) -> Path:
        """The label map, the DICOM object, or the first organ's file."""
        if self.dicom is not None:
            return self.dicom.path
        return self.label_map or next(iter(self.organ_files.values()))


@dataclass(frozen=True, slots=True, eq=False)
class CaseMasks:
    """A case's masks.

    Attributes:
        masks: By structure, which mostly is an organ; each cropped to its voxels. An
            empty mask is left out.
        grid: The whole image's; None where each organ's file has its own extent.
        may_be_cropped: Whether that may be just a part of the image.
        remarks: What a reader should know of how they were read.
    """

    masks: Mapping[str, Volume]
    grid: Grid | None
    may_be_cropped: bool = False
    remarks: tuple[str, ...] = ()


def read_pair(one: CaseSource, other: CaseSource) -> tuple[CaseMasks, CaseMasks]:
    """Read the masks of a case twice, as they are to be compared with each other.

    Those of DICOM objects are drawn on the grid of the others.

    Raises:
        ImageError: One cannot be read; see `read_case_masks`.
        InputError: Both are DICOM objects, and no CT was given.
    """
    if one.dicom is not None:
        theirs = read_case_masks(other)
        return read_case_masks(one, _whole_grid(theirs)), theirs
    ours = read_case_masks(one)
    return ours, read_case_masks(other, _whole_grid(ours))


def _whole_grid(masks: CaseMasks) -> Grid | None:
    """Return the grid of the whole image, as far as masks tell it."""
    return None if masks.may_be_cropped else masks.grid


def read_case_masks(source: CaseSource, grid: Grid | None = None) -> CaseMasks:
    """Read a case's masks.

    Args:
        source: Where they are.
        grid: On which those of a DICOM object are drawn if it comes without CT.

    Raises:
        ImageContentError: A file holds floats, or labels that are no organ's.
        GridMismatchError: The organs' files are not on one grid.
        ImageError: A file cannot be read.
    """
    if source.dicom is not None:
        masks, drawn_on, remarks = read_dicom_masks(source.dicom, grid)
        return CaseMasks(masks, drawn_on, remarks=remarks)
    if source.label_map is not None:
        return _read_label_map(source.label_map, source)
    return _read_organ_files(source)


def organs_of_labels(
    labels: Volume, table: LabelTable = OUR_NUMBERS
) -> dict[str, Volume]:
    """Return the masks of the structures in a label map, each cropped to its voxels.

    Args:
        labels: Whole numbers; 0 is background.
        table: What they stand for.

    Raises:
        ImageContentError: A number is none of the table's.
    """
    boxes = boxes_of_labels(labels)
    _require_known(boxes, table)
    values: dict[str, list[int]] = {}
    for value in boxes:
        stands_for = table.by_value[value]
        if stands_for is not None:
            values.setdefault(stands_for, []).append(value)
    return {name: _mask_of(labels, boxes, each) for name, each in values.items()}


def _mask_of(labels: Volume, boxes: dict[int, Box], values: list[int]) -> Volume:
    """Return where a label map has any of some values, cropped to their boxes."""
    if len(values) == 1:
        return crop_to_box(labels, boxes[values[0]], values[0])
    box = _around([boxes[value] for value in values])
    grid = _crop(labels.grid, box)
    return Volume(np.isin(labels.array[box], values), grid)


def _around(boxes: list[Box]) -> Box:
    """Return the smallest box (z, y, x) that holds all of some."""
    z, y, x = (
        slice(min(s.start for s in sides), max(s.stop for s in sides))
        for sides in zip(*boxes, strict=True)
    )
    return z, y, x


def _crop(grid: Grid, box: Box) -> Grid:
    z, y, x = box
    size = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
    return grid.crop((x.start, y.start, z.start), size)


def boxes_of_labels(labels: Volume) -> dict[int, Box]:
    """Return the smallest box (z, y, x) around each label but 0 that occurs."""
    outer = bounding_box(labels.array)
    if outer is None:
        return {}
    found = cast("list[Box | None]", ndimage.find_objects(labels.array[outer]))
    return {n + 1: _shift_into(outer, box) for n, box in enumerate(found) if box}


def crop_to_box(labels: Volume, box: Box, label: int) -> Volume:
    """Return where a label is inside a box (z, y, x), as booleans on that part."""
    return Volume(np.asarray(labels.array[box] == label), _crop(labels.grid, box))


def _read_label_map(path: Path, source: CaseSource) -> CaseMasks:
    labels = _read_whole_numbers(path)
    with naming(path):
        masks = organs_of_labels(labels, source.labels)
    return CaseMasks(masks, labels.grid, source.may_be_cropped)


def _require_known(boxes: dict[int, Box], table: LabelTable) -> None:
    unknown = [str(value) for value in boxes if value not in table.by_value]
    if unknown:
        raise ImageContentError(
            f"it holds the labels {', '.join(unknown[:8])}, which {table.source} does "
            "not have"
        )


def _read_organ_files(source: CaseSource) -> CaseMasks:
    masks: dict[str, Volume] = {}
    grids: list[Grid] = []
    for name, path in source.organ_files.items():
        mask, grid = _read_organ(path)
        grids.append(grid)
        if mask is not None:
            masks[name] = mask
        if not source.may_be_cropped and not grid.is_same(grids[0]):
            raise GridMismatchError(
                f"{path.name} is not on the grid of the case's first mask: "
                f"{grids[0].difference_of(grid)}"
            )
    alike = all(grid.is_same(grids[0]) for grid in grids)
    return CaseMasks(masks, grids[0] if alike else None, source.may_be_cropped)


def _read_organ(path: Path) -> tuple[Volume | None, Grid]:
    """Return a mask cropped to its voxels, or None if it is empty, and its grid."""
    labels = _read_whole_numbers(path)
    boxes = boxes_of_labels(labels)
    if len(boxes) > 1:
        raise ImageContentError(
            f"{path.name}: a mask holds one label, but this has {list(boxes)[:8]}"
        )
    for label, box in boxes.items():
        return crop_to_box(labels, box, label), labels.grid
    return None, labels.grid


def _shift_into(outer: Box, inner: Box) -> Box:
    """Return a box that was found in the part `outer`, as a box of the whole."""
    z, y, x = (
        slice(o.start + i.start, o.start + i.stop)
        for o, i in zip(outer, inner, strict=True)
    )
    return z, y, x


def _read_whole_numbers(path: Path) -> Volume:
    header = read_header(path)
    if header.dtype.kind == "f" or header.layout.is_scaled:
        raise ImageContentError(
            f"{path.name}: labels must be stored as whole numbers, but these are "
            f"{'scaled' if header.layout.is_scaled else header.dtype.name}; save them "
            "as unsigned 8-bit"
        )
    return read_labels(path)
