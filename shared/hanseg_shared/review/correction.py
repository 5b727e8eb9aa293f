"""A correction compared with the model's own contours, organ by organ."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from hanseg_shared.dicom.scanline import Part
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.metrics import measures
from hanseg_shared.metrics.comparison import compare
from hanseg_shared.metrics.tolerances import default_tolerances
from hanseg_shared.organs import ORGANS, Side, organ
from hanseg_shared.review.corrected_masks import CorrectedMasks
from hanseg_shared.review.documents import MaskComparison
from hanseg_shared.volume import Volume

SAME_DICE = 0.999
"""Contours that are drawn again from a structure set agree so well with their mask at
least (`hanseg_shared.dicom.mask_check`): such a one was not corrected."""

_COMPRESSION = 3
"""A mask of 512 x 512 x 150 voxels takes 0.2 s and 60 to 150 kB."""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What a correction changes.

    Attributes:
        comparisons: Of each organ that was corrected, in label order.
        unchanged: Organs that came as the model had made them.
    """

    comparisons: dict[str, MaskComparison]
    unchanged: tuple[str, ...]


def compare_correction(own: Volume, corrected: CorrectedMasks) -> Correction:
    """Compare corrected masks with those of a label map.

    Args:
        own: The model's labels 1 to 30, on the CT's grid.
        corrected: Masks on the same grid.

    Raises:
        ImageContentError: It has no mask, or two sides are swapped.
    """
    if not corrected.parts:
        raise ImageContentError(
            "there is no voxel in it; reject an organ that should have no contour"
        )
    boxes: list[tuple[slice, ...] | None] = list(
        ndimage.find_objects(own.array, max_label=len(ORGANS))
    )
    ours = {
        each.name: _part(own, each.label, box)
        for each, box in zip(ORGANS, boxes, strict=True)
        if box is not None
    }
    comparisons, unchanged = {}, []
    for each in ORGANS:
        part = corrected.parts.get(each.name)
        if part is None:
            continue
        _require_side(each.name, part, ours)
        found = _compare(each.name, ours.get(each.name), part, own.grid)
        same = found.dice >= SAME_DICE and corrected.kind == "rtstruct"
        if same or _is_same(part, ours.get(each.name)):
            unchanged.append(each.name)
        else:
            comparisons[each.name] = found
    return Correction(comparisons, tuple(unchanged))


def write_mask(path: Path, part: Part, shape: tuple[int, int, int]) -> None:
    """Write a mask of the whole grid as it is kept, the same bytes every time."""
    whole = np.zeros(shape, dtype=np.bool_)
    part.put_into(whole)
    with (
        path.open("xb") as file,
        gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as packed,
    ):
        packed.write(whole.view(np.uint8).data)


def _part(own: Volume, label: int, box: tuple[slice, ...]) -> Part:
    z, y, x = (each.start for each in box)
    return Part(own.array[box] == label, (z, y, x))


def _compare(name: str, ours: Part | None, part: Part, grid: Grid) -> MaskComparison:
    theirs = _volume(part, grid)
    mine = (
        theirs.with_array(theirs.array & False) if ours is None else _volume(ours, grid)
    )
    found = compare(theirs, mine)
    tolerance_mm = default_tolerances()[name]
    hd95_mm = measures.hausdorff(found.distances, 95)
    return MaskComparison(
        dice=measures.dice(found),
        hd95_mm=hd95_mm if math.isfinite(hd95_mm) else None,
        surface_dice=measures.surface_dice(found.distances, tolerance_mm),
        tolerance_mm=tolerance_mm,
        added_path_mm=found.added_path_mm,
        volume_ml=measures.volume_ml(found),
        corrected_ml=measures.reference_volume_ml(found),
    )


def _volume(part: Part, grid: Grid) -> Volume:
    z, y, x = part.start
    depth, height, width = part.array.shape
    return Volume(part.array, grid.crop((x, y, z), (width, height, depth)))


def _is_same(one: Part, other: Part | None) -> bool:
    return (
        other is not None
        and one.start == other.start
        and np.array_equal(one.array, other.array)
    )


def _require_side(name: str, part: Part, ours: dict[str, Part]) -> None:
    """Refuse a left organ where the model has the right one, and the reverse.

    Raises:
        ImageContentError: It shares more voxels with its counterpart than with its own.
    """
    for other in _counterparts(name):
        if other not in ours:
            continue
        wrong = _count_shared(part, ours[other])
        right = _count_shared(part, ours[name]) if name in ours else 0
        if wrong > right:
            raise ImageContentError(
                f"{name} lies where {other} is: the sides are swapped"
            )


def _counterparts(name: str) -> Iterator[str]:
    side = organ(name).side
    opposite = {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT}.get(side)
    for each in ORGANS:
        if each.side is opposite and each.name[:-1] == name[:-1]:
            yield each.name


def _count_shared(one: Part, other: Part) -> int:
    low = np.maximum(one.start, other.start)
    high = np.minimum(
        np.array(one.start) + one.array.shape, np.array(other.start) + other.array.shape
    )
    if (high <= low).any():
        return 0
    cut = [
        each.array[tuple(slice(a, b) for a, b in zip(low - s, high - s, strict=True))]
        for each in (one, other)
        for s in [np.array(each.start)]
    ]
    return int(np.count_nonzero(cut[0] & cut[1]))
