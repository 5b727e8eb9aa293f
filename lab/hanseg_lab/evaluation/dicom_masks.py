"""A case's masks in a DICOM object: contours of an RTSTRUCT, segments of a SEG.

They have no grid of their own that masks could be compared on: they are drawn on the
grid of the other side's masks, or of the CT.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hanseg_lab.evaluation.ct_grid import read_ct
from hanseg_lab.evaluation.label_table import LabelTable
from hanseg_shared.dicom.contour_masks import draw_on_grid
from hanseg_shared.dicom.rtstruct_reader import (
    RTSTRUCT_STORAGE,
    Roi,
    StructureSet,
    read_names,
    read_structure_set,
)
from hanseg_shared.dicom.scanline import Part
from hanseg_shared.dicom.segmentation_reader import (
    STORAGE,
    on_grid,
    read_labels,
    read_segmentation,
)
from hanseg_shared.dicom.untrusted import sop_class_of
from hanseg_shared.errors import ImageContentError, ImageError, InputError
from hanseg_shared.grid import Grid
from hanseg_shared.io.parsed_header import naming
from hanseg_shared.metrics.surface import bounding_box
from hanseg_shared.volume import Volume


@dataclass(frozen=True, slots=True)
class DicomMasks:
    """Where a case's masks are in a DICOM object.

    Attributes:
        path: The object.
        numbers: Of each structure that is scored, its number in the object.
        unknown: Names of structures that mean none of our organs.
        ct: A CT file or DICOM folder whose grid they are drawn on; None draws them on
            the grid of the masks that they are compared with.
    """

    path: Path
    numbers: Mapping[str, int]
    unknown: tuple[str, ...] = ()
    ct: Path | None = None


def holds_dicom_masks(path: Path) -> bool:
    """Whether a file is an RTSTRUCT or a DICOM segmentation, by its first bytes."""
    return path.is_file() and sop_class_of(path) in {RTSTRUCT_STORAGE, *STORAGE}


def find_dicom_masks(path: Path, names: LabelTable) -> DicomMasks:
    """Return which structures of a DICOM object are organs, by their names.

    Args:
        path: An RTSTRUCT or a DICOM segmentation.
        names: What names stand for, besides those of the organs.

    Raises:
        InputError: It cannot be read, no name is an organ's, or two are one organ's.
    """
    try:
        given = read_names(path) if _is_rtstruct(path) else read_labels(path)
    except ImageError as error:
        raise InputError(f"{path}: {error}") from error
    numbers: dict[str, int] = {}
    unknown = []
    for number, name in given.items():
        try:
            found = names.structure_of(name)
        except InputError:
            unknown.append(name)
            continue
        if found in numbers:
            raise InputError(
                f"{path}: {given[numbers[found]]!r} and {name!r} are both {found}; say "
                f"with --labels FILE which of them is not (a line {name},)"
            )
        if found is not None:
            numbers[found] = number
    if not numbers:
        first = next(iter(given.values()))
        raise InputError(
            f"{path}: no structure is an organ by its name: {', '.join(unknown[:8])}; "
            f"say what they are with --labels FILE (a line {first},<organ>)"
        )
    return DicomMasks(path, numbers, tuple(unknown))


def read_dicom_masks(
    source: DicomMasks, grid: Grid | None
) -> tuple[dict[str, Volume], Grid, tuple[str, ...]]:
    """Draw a case's masks.

    Args:
        source: Where they are.
        grid: Of the masks that they are compared with; None if that has none.

    Returns:
        The masks by structure, each cropped to its voxels, without empty ones; the
        grid that they are drawn on; and what a reader should know of the drawing.

    Raises:
        ImageContentError: The object is damaged, or belongs to another image.
        GridMismatchError: A segmentation's voxels are not the image's.
        InputError: There is no grid to draw on.
    """
    frame = None
    if source.ct is not None:
        grid, frame = read_ct(source.ct)
    if grid is None:
        raise InputError(
            f"{source.path.name}: contours need an image to be drawn on; give the CT "
            "with --ct (a file, or a folder with its DICOM slices)"
        )
    with naming(source.path):
        if _is_rtstruct(source.path):
            masks, remarks = _draw_contours(source, grid, frame)
        else:
            masks, remarks = _place_segments(source, grid)
    return masks, grid, (*_unknown_remark(source), *remarks)


def _is_rtstruct(path: Path) -> bool:
    return sop_class_of(path) == RTSTRUCT_STORAGE


def _unknown_remark(source: DicomMasks) -> Iterable[str]:
    if source.unknown:
        yield (
            f"{source.path.name}: left out, as their names are no organ's: "
            f"{', '.join(source.unknown)}"
        )


def _draw_contours(
    source: DicomMasks, grid: Grid, frame: str | None
) -> tuple[dict[str, Volume], list[str]]:
    found = read_structure_set(source.path)
    by_number = {roi.number: roi for roi in found.rois}
    masks, remarks = {}, []
    for structure, number in source.numbers.items():
        roi = by_number[number]
        _require_frame(roi, found, frame)
        mask, drawn = draw_on_grid(roi, grid)
        if len(roi.counts) and not drawn.slices:
            raise ImageContentError(
                f"all contours of {roi.name[:64]!r} lie outside the image that they "
                "are compared on; is it another patient's or another series?"
            )
        clauses = [f"{n} of {kind}" for kind, n in roi.left_out.items()]
        if clauses:
            clauses = [f"contours that enclose nothing are left out: {clauses[0]}"]
        remarks += [
            f"{source.path.name}: {structure}: {line}"
            for line in (*drawn.remarks(), *clauses)
        ]
        if mask is not None:
            masks[structure] = mask
    return _crop_all(masks), remarks


def _require_frame(roi: Roi, found: StructureSet, frame: str | None) -> None:
    """Refuse contours in another frame of reference than the CT that was given."""
    own = roi.frame_of_reference_uid or (*found.frames_of_reference, "")[0]
    if frame and own and own != frame:
        raise ImageContentError(
            f"{roi.name[:64]!r} is contoured in another frame of reference than the CT "
            "has: ReferencedFrameOfReferenceUID (3006,0024) differs"
        )


def _place_segments(
    source: DicomMasks, grid: Grid
) -> tuple[dict[str, Volume], list[str]]:
    found = read_segmentation(source.path)
    parts = found.masks(on_grid(grid), wanted=source.numbers.values())
    masks = {
        structure: _volume(parts[number], grid)
        for structure, number in source.numbers.items()
        if number in parts
    }
    return _crop_all(masks), []


def _volume(part: Part, grid: Grid) -> Volume:
    z, y, x = part.start
    depth, height, width = part.array.shape
    return Volume(part.array, grid.crop((x, y, z), (width, height, depth)))


def _crop_all(masks: Mapping[str, Volume]) -> dict[str, Volume]:
    """Return masks cropped to their voxels; those without any are left out."""
    cropped = {}
    for name, mask in masks.items():
        box = bounding_box(mask.array)
        if box is not None:
            z, y, x = (each.start for each in box)
            part = Part(mask.array[box], (z, y, x))
            cropped[name] = _volume(part, mask.grid)
    return cropped
