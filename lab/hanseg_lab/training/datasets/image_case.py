"""A case whose CT and masks are image files: NIfTI, NRRD or MHA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hanseg_lab.declaration import Declaration, Label
from hanseg_lab.evaluation.case_masks import boxes_of_labels, crop_to_box
from hanseg_lab.training.datasets.dataset import Contour, list_names
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Vector
from hanseg_shared.io.names import is_segment_file
from hanseg_shared.io.read import read_ct, read_image, read_labels
from hanseg_shared.io.segments import read_segments
from hanseg_shared.organ_names import organ_of
from hanseg_shared.volume import Volume


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A file that holds contours.

    Attributes:
        path: Where it is.
        labels: The labels that it may hold; they differ in their values, unless it
            is `alone`.
        alone: Whether it holds one label, with any value.
    """

    path: Path
    labels: tuple[Label, ...]
    alone: bool = False


@dataclass(frozen=True, slots=True)
class ImageCase:
    """A patient, as image files; see `dataset.DatasetCase` for the attributes."""

    name: str
    declaration: Declaration
    ct: Path
    mr: Path | None
    masks: tuple[MaskFile, ...]
    uncontoured: frozenset[str] = frozenset()

    @property
    def mask_files(self) -> tuple[Path, ...]:
        """Every file that holds contours."""
        return tuple(mask.path for mask in self.masks)

    @property
    def sella(self) -> Vector | None:
        """By its name."""
        return self.declaration.sella.get(self.name)

    def read_ct(self) -> Volume:
        """Return the CT in HU, int16."""
        offset = self.declaration.ct_offset_hu
        if not offset:
            return read_ct(self.ct)
        stored = read_image(self.ct)
        return stored.with_array(np.rint(stored.array + offset).astype(np.int16))

    def read_contours(self, file: Path) -> tuple[Contour, ...]:
        """Return what a file holds, each label cropped to its voxels.

        Raises:
            ImageContentError: It holds a value that no label has, or several values
                where it should hold one.
            ImageError: It cannot be read.
        """
        mask = next(each for each in self.masks if each.path == file)
        volume = read_labels(file)
        boxes = boxes_of_labels(volume)
        by_value = _labels_by_value(mask, list(boxes), _labels_of_segments(mask))
        return tuple(
            Contour(by_value[value], crop_to_box(volume, box, value))
            for value, box in boxes.items()
        )


def _labels_of_segments(mask: MaskFile) -> dict[int, Label]:
    """Return what the segments of a `.seg.nrrd` are by their names; empty without.

    Raises:
        ImageContentError: A segment has no label's name.
    """
    if mask.alone or not is_segment_file(mask.path):
        return {}
    by_name = {each.name.casefold(): each for each in mask.labels}
    by_organ = {each.organ: each for each in mask.labels if each.organ}
    named: dict[int, Label] = {}
    for segment in read_segments(mask.path):
        organ = organ_of(segment.name)
        label = by_name.get(segment.name.casefold()) or by_organ.get(organ or "")
        if label is None:
            raise ImageContentError(
                f"{mask.path.name}: no label is called as its segment {segment.name!r};"
                " see dataset.json in docs/reference/data-sets.md"
            )
        named[segment.value or 1] = label
    return named


def _labels_by_value(
    mask: MaskFile, values: list[int], named: dict[int, Label]
) -> dict[int, Label]:
    if mask.alone:
        if len(values) > 1:
            raise ImageContentError(
                f"{mask.path.name}: a mask holds one label, but this has {values[:8]}"
            )
        return dict.fromkeys(values, mask.labels[0])
    known = named or {each.value: each for each in mask.labels if each.value}
    unknown = [str(value) for value in values if value not in known]
    if unknown:
        raise ImageContentError(
            f"{mask.path.name} holds the labels {list_names(unknown)}, which are not "
            "declared; see dataset.json in docs/reference/data-sets.md"
        )
    return {value: known[value] for value in values}
