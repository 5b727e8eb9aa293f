"""The sheet of a commissioning: what was measured, against which limits, of what.

It names no case, so that everyone who uses the service may read it; it is signed as the
manifest of a result is.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from hanseg_shared.document import Document
from hanseg_shared.documents import ModelSummary, MrVerdict
from hanseg_shared.errors import InputError
from hanseg_shared.faults import first_fault
from hanseg_shared.signing.manifest import ManifestFile, Sha256, Signature

SHEET = "commissioning.json"
"""The sheet's file; the PDF, the page and the scores beside it are named in it."""

SHEET_SIGNATURE = "commissioning.sig"

MOST_FAILURES = 200
"""Of the sentences that a sheet has; 30 organs of four metrics stay below it."""

Words = Annotated[str, Field(max_length=700)]


class LimitCheck(Document):
    """A figure beside the limit that the site sets.

    Attributes:
        metric: ``DSC``, ``HD95_mm``, ``surface_DSC`` or ``volume_bias_percent``.
        mean: Over the cases; None where an organ that was missed leaves none.
        limit: None where the site sets none.
    """

    metric: Annotated[str, Field(max_length=32)]
    mean: float | None
    limit: float | None = None
    passed: bool


class OrganSheet(Document):
    """What was measured of one organ.

    Attributes:
        cases: How many have a reference of it.
        missed: In how many of these there was no contour.
        tolerance_mm: Of the surface Dice.
    """

    organ: Annotated[str, Field(max_length=64)]
    cases: int
    missed: int = 0
    tolerance_mm: float
    checks: Annotated[tuple[LimitCheck, ...], Field(max_length=8)]
    passed: bool


class PhantomSheet(Document):
    """The registration of a phantom whose MR lies at a known place.

    Attributes:
        position: How the CT is stored, such as ``HFS`` or ``oblique``.
        mean_mm: Target registration error over the brain; None without a transform.
        max_mm: Its largest value.
    """

    position: Annotated[str, Field(max_length=32)]
    verdict: MrVerdict | None
    mean_mm: float | None = None
    max_mm: float | None = None
    passed: bool


class SheetOrigin(Document):
    """What computed, and what it was given.

    Attributes:
        model: Which model contoured the cases.
        registration_parameters_sha256: Of the parameter files; None without an MR.
        limits_sha256: Of the limits that were applied.
        images_sha256: Of all images that were sent.
        versions: Of the distributions and libraries that computed.
    """

    model: ModelSummary
    registration_parameters_sha256: Sha256 | None = None
    limits_sha256: Sha256
    images_sha256: Sha256
    versions: Annotated[
        dict[
            Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=64)]
        ],
        Field(max_length=16),
    ]


class CommissioningSheet(Document):
    """What a commissioning found.

    Attributes:
        format: Version of this layout.
        made_at: When, UTC.
        signed_by: Who answers for it; None while nobody has signed.
        passed: Whether every limit is met.
        failures: Each that is not, in a sentence.
        remarks: What a reader should know, such as what was not tested.
        cases: How many reference cases were contoured.
        cases_with_mr: How many of them used their MR.
        organs: In the order of the labels.
        phantoms: Empty where the registration was not tested.
        registration_limit_mm: Of `PhantomSheet.mean_mm`.
        made_of: Model, versions and hashes.
        files: What lies beside the sheet.
    """

    format: Literal[1] = 1
    made_at: datetime
    signed_by: Annotated[str | None, Field(min_length=1, max_length=120)] = None
    passed: bool
    failures: Annotated[tuple[Words, ...], Field(max_length=MOST_FAILURES)] = ()
    remarks: Annotated[tuple[Words, ...], Field(max_length=50)] = ()
    cases: Annotated[int, Field(ge=0)]
    cases_with_mr: Annotated[int, Field(ge=0)] = 0
    organs: Annotated[tuple[OrganSheet, ...], Field(max_length=64)]
    phantoms: Annotated[tuple[PhantomSheet, ...], Field(max_length=64)] = ()
    registration_limit_mm: float
    made_of: SheetOrigin
    files: Annotated[tuple[ManifestFile, ...], Field(max_length=16)] = ()

    def canonical(self) -> bytes:
        """Return the bytes that are written and signed."""
        members = self.model_dump(mode="json")
        text = json.dumps(
            members, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return text.encode()


class SignedSheet(Document):
    """A sheet and the signature of its canonical bytes."""

    sheet: CommissioningSheet
    signature: Signature


def parse_sheet(content: bytes) -> CommissioningSheet:
    """Return the sheet that a file holds.

    Raises:
        InputError: It is none.
    """
    try:
        return CommissioningSheet.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{SHEET} is no sheet: {first_fault(error)}") from None
