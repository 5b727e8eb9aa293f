"""The masks of a case's organs: a label map's, and what people have made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from scipy import ndimage

from hanseg_shared.dicom.scanline import Part
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class Review:
    """What was changed of a label map's organs before they are handed on.

    Attributes:
        reviewer: Reviewer Name (300E,0008), in the CT's character set.
        at: When it was signed, in UTC.
        edited: The masks of organs that were corrected, on the label map's grid; they
            may overlap others.
        rejected: Organs that are left out.
    """

    reviewer: str
    at: datetime
    edited: Mapping[str, Part] = field(default_factory=dict)
    rejected: frozenset[str] = frozenset()


class OrganMasks:
    """Masks by organ, each where its voxels are.

    Args:
        labels: Labels 0 to 30.
        review: What was changed of them.
    """

    def __init__(self, labels: Volume, review: Review | None = None) -> None:
        self._array = labels.array
        self._boxes = ndimage.find_objects(labels.array, max_label=len(ORGANS))
        self._edited = {} if review is None else dict(review.edited)
        self._rejected = frozenset() if review is None else review.rejected

    def has(self, name: str) -> bool:
        """Whether an organ has a voxel."""
        if name in self._rejected:
            return False
        return name in self._edited or self._boxes[organ(name).label - 1] is not None

    def unite(self, names: Sequence[str]) -> Part | None:
        """Return some organs as one mask; None if one of them has no voxel."""
        if not all(self.has(name) for name in names):
            return None
        parts = [self._part(name) for name in names]
        if len(parts) == 1:
            return parts[0]
        low = np.min([each.start for each in parts], axis=0)
        high = np.max([np.add(each.start, each.array.shape) for each in parts], axis=0)
        whole = np.zeros(tuple(high - low), dtype=np.bool_)
        for each in parts:
            z, y, x = (int(n) for n in np.array(each.start) - low)
            Part(each.array, (z, y, x)).put_into(whole)
        z, y, x = (int(n) for n in low)
        return Part(whole, (z, y, x))

    def _part(self, name: str) -> Part:
        if name in self._edited:
            return self._edited[name]
        label = organ(name).label
        box = self._boxes[label - 1]
        z, y, x = (each.start for each in box)
        return Part(self._array[box] == label, (z, y, x))
