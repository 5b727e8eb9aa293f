"""A case's organ masks, read from a label map or from one file an organ.

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

from hanseg_shared.errors import GridMismatchError, ImageContentError
from hanseg_shared.evaluation.surface import bounding_box
from hanseg_shared.grid import Grid
from hanseg_shared.io.header import naming, read_header
from hanseg_shared.io.read import read_labels
from hanseg_shared.organs import ORGANS
from hanseg_shared.volume import Volume

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class CaseSource:
    """Where a case's masks are: one label map, or a file an organ.

    Attributes:
        name: What the case is called.
        label_map: The file with all organs, or None.
        organ_files: Each organ's own file; empty with a label map.
        may_be_cropped: Whether each organ's file may hold just a part of the image,
            as 3D Slicer saves segments; then they need only share one lattice.
    """

    name: str
    label_map: Path | None = None
    organ_files: Mapping[str, Path] = field(default_factory=dict)
    may_be_cropped: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CaseMasks:
    """A case's masks.

    Attributes:
        masks: By organ, each cropped to its voxels; an empty mask is left out.
        grid: The whole image's; None where each organ's file has its own extent.
    """

    masks: Mapping[str, Volume]
    grid: Grid | None


def read_case_masks(source: CaseSource) -> CaseMasks:
    """Read a case's masks.

    Raises:
        ImageContentError: A file holds floats, or labels that are no organ's.
        GridMismatchError: The organs' files are not on one grid.
        ImageError: A file cannot be read.
    """
    if source.label_map is not None:
        return _read_label_map(source.label_map)
    return _read_organ_files(source)


def organs_of_labels(labels: Volume) -> dict[str, Volume]:
    """Return the masks of the organs in a label map, each cropped to its voxels.

    Raises:
        ImageContentError: A label is no organ's.
    """
    boxes = boxes_of_labels(labels)
    _require_known(boxes)
    return {
        each.name: cropped(labels, boxes[each.label], each.label)
        for each in ORGANS
        if each.label in boxes
    }


def boxes_of_labels(labels: Volume) -> dict[int, Box]:
    """Return the smallest box (z, y, x) around each label but 0 that occurs."""
    outer = bounding_box(labels.array)
    if outer is None:
        return {}
    found = cast("list[Box | None]", ndimage.find_objects(labels.array[outer]))
    return {n + 1: _within(outer, box) for n, box in enumerate(found) if box}


def cropped(labels: Volume, box: Box, label: int) -> Volume:
    """Return where a label is inside a box (z, y, x), as booleans on that part."""
    z, y, x = box
    size = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
    grid = labels.grid.crop((x.start, y.start, z.start), size)
    return Volume(np.asarray(labels.array[box] == label), grid)


def _read_label_map(path: Path) -> CaseMasks:
    labels = _read_whole_numbers(path)
    with naming(path):
        return CaseMasks(organs_of_labels(labels), labels.grid)


def _require_known(boxes: dict[int, Box]) -> None:
    unknown = [label for label in boxes if label > len(ORGANS)]
    if unknown:
        raise ImageContentError(
            f"labels must be 0 to {len(ORGANS)}, but it also holds "
            f"{', '.join(map(str, unknown[:8]))}"
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
    return CaseMasks(masks, grids[0] if alike else None)


def _read_organ(path: Path) -> tuple[Volume | None, Grid]:
    """Return a mask cropped to its voxels, or None if it is empty, and its grid."""
    labels = _read_whole_numbers(path)
    boxes = boxes_of_labels(labels)
    if len(boxes) > 1:
        raise ImageContentError(
            f"{path.name}: a mask holds one label, but this has {list(boxes)[:8]}"
        )
    for label, box in boxes.items():
        return cropped(labels, box, label), labels.grid
    return None, labels.grid


def _within(outer: Box, inner: Box) -> Box:
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
