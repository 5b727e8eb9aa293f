"""A label map after a review: corrected organs laid over the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from hanseg_shared.dicom.organ_masks import Review
    from hanseg_shared.dicom.scanline import Part


def correct_labels(labels: Volume, review: Review) -> Volume:
    """Return a label map as a review leaves it; the given one stays as it is.

    A voxel has one label: where a corrected mask reaches into another organ, it wins
    over the model's own, and of two corrected ones the smaller.

    Args:
        labels: Labels 0 to 30, the model's own.
        review: Corrected masks on the same grid, and organs that are left out.
    """
    kept = np.arange(256, dtype=np.uint8)
    for name in (*review.rejected, *review.edited):
        kept[organ(name).label] = 0
    values = kept[labels.array]
    for name, mask in _largest_first(review.edited):
        if name not in review.rejected:
            values[mask.box][mask.array] = organ(name).label
    return labels.with_array(values)


def _largest_first(edited: Mapping[str, Part]) -> list[tuple[str, Part]]:
    return sorted(edited.items(), key=lambda each: (-int(each[1].array.sum()), each[0]))
