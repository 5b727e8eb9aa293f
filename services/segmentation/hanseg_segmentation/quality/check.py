"""Every check of a label map, and the verdict on each of the 30 organs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hanseg_segmentation.model_package import ModelPackage
from hanseg_shared.documents import OrganResult
from hanseg_shared.organs import ORGANS, OrganStatus
from hanseg_shared.volume import Volume


@dataclass(frozen=True, slots=True)
class Checked:
    """A label map after the checks.

    Attributes:
        labels: What is left of it, uint8.
        organs: The verdict on each of the 30 organs, in label order.
    """

    labels: Volume
    organs: tuple[OrganResult, ...]


def check_organs(
    labels: Volume,
    ct: Volume,  # noqa: ARG001 - needed by the checks to come
    *,
    package: ModelPackage,
    confidences: Mapping[str, float | None],
) -> Checked:
    """Return the label map and what became of each organ."""
    counts = np.bincount(labels.array.ravel(), minlength=len(ORGANS) + 1)
    organs = []
    for organ in ORGANS:
        count = int(counts[organ.label])
        status = OrganStatus.CONTOURED if count else OrganStatus.EMPTY
        if organ.name not in package.labels:
            status = OrganStatus.NOT_IN_MODEL
        organs.append(
            OrganResult(
                name=organ.name,
                label=organ.label,
                status=status,
                volume_ml=round(count * labels.grid.voxel_ml, 3),
                confidence=confidences.get(organ.name),
                evidence=package.evidence.get(organ.name),
            )
        )
    return Checked(labels, tuple(organs))
