"""What the files of a result show of one case."""

from __future__ import annotations

from dataclasses import dataclass

from hanseg_segmentation.images import CaseImages
from hanseg_shared.documents import ModelSummary, OrganResult, RegistrationReport
from hanseg_shared.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class CaseResult:
    """A contoured case.

    Attributes:
        images: The CT, and the registered MR if the network saw it.
        labels: The organs' label numbers, uint8 on the CT's grid.
        organs: What became of each of the 30, in label order.
        model: Which model segmented them.
        registration: What became of the MR.
    """

    images: CaseImages
    labels: Volume
    organs: tuple[OrganResult, ...]
    model: ModelSummary
    registration: RegistrationReport
