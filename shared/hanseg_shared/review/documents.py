"""The documents of a review: what people said of each organ and of the registration.

A review has versions, counted from 1; 0 is the one in which nobody has said anything.
No version is ever changed. Millimetres and millilitres throughout; times are UTC.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from hanseg_shared.document import Document
from hanseg_shared.documents import ResultFile, ReviewState
from hanseg_shared.organs import ORGANS

Reason = Annotated[
    str,
    StringConstraints(
        max_length=500, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$", strip_whitespace=True
    ),
]
"""What somebody writes: shown again, never logged, and deleted with the results."""


class OrganVerdict(StrEnum):
    """What was said of an organ's contour."""

    ACCEPTED = "accepted"
    """It may be used as it is."""

    REJECTED = "rejected"
    """It must not be used: it is left out of what is handed on."""

    EDITED = "edited"
    """It was corrected: the corrected contour is handed on."""


class RegistrationVerdict(StrEnum):
    """What was said of the registration of the MR."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class ChangeKind(StrEnum):
    """What made a version of a review."""

    ORGANS = "organs"
    """Organs were accepted or rejected, or a verdict was taken back."""

    CORRECTION = "correction"
    """Corrected contours were sent."""

    REGISTRATION = "registration"
    SIGNATURE = "signature"
    REOPENED = "reopened"
    """What was signed is looked at again."""


class MaskComparison(Document):
    """A corrected mask compared with the model's own.

    Attributes:
        dice: 2 |A and B| / (|A| + |B|); 0 where one of them is empty.
        hd95_mm: 95 % Hausdorff distance; None where one of them is empty.
        surface_dice: Share of both surfaces within `tolerance_mm` of the other.
        added_path_mm: Contour that had to be drawn; see the reference of scores.
        volume_ml: Of the model's mask.
        corrected_ml: Of the corrected one.
    """

    dice: float
    hd95_mm: float | None
    surface_dice: float
    tolerance_mm: float
    added_path_mm: float
    volume_ml: float
    corrected_ml: float


class Correction(Document):
    """An organ that was corrected, in numbers alone; see `MaskComparison`.

    Attributes:
        job: Whose contour it was.
        organ: Its name.
        model: Name and version of what had contoured it.
        day: On which the job ended.
        judged_at: When the correction came.
    """

    job: str
    organ: str
    model: str
    day: date
    judged_at: datetime
    volume_ml: float
    corrected_ml: float
    dice: float
    hd95_mm: float | None
    surface_dice: float
    added_path_mm: float

    @property
    def volume_change_ml(self) -> float:
        """By how much the correction made the organ larger."""
        return self.corrected_ml - self.volume_ml


class CorrectionList(Document):
    """Corrections, the newest first."""

    corrections: tuple[Correction, ...] = ()


class CorrectedMask(Document):
    """A corrected mask as it is kept.

    Attributes:
        source: How it came: painted in the viewer, or in a file of which kind.
        sha256: Of its bytes as they are kept: gzip of one byte a voxel of the CT's
            grid, 0 or 1, x fastest, then y, then z.
        bytes: How many these are.
        href: Where it is.
    """

    source: Literal["viewer", "rtstruct", "seg", "label_map"]
    sha256: str
    bytes: int
    href: str | None = None


class OrganReview(Document):
    """What was said of one organ, by whom and when."""

    organ: str
    verdict: OrganVerdict
    reason: str = ""
    by: str
    at: datetime
    mask: CorrectedMask | None = None
    comparison: MaskComparison | None = None


class RegistrationReview(Document):
    """What was said of the registration, by whom and when.

    Attributes:
        ct_only_job: The job that contours the same CT without the MR.
        remark: Why there is no such job, if it was rejected all the same.
    """

    verdict: RegistrationVerdict
    reason: str = ""
    by: str
    at: datetime
    ct_only_job: str | None = None
    remark: str = ""


class ReviewSignature(Document):
    """Who answers for a version of a review.

    Attributes:
        name: The name that is handed on, as the reviewer's.
        by: In whose name the request was.
    """

    name: str
    by: str
    at: datetime


class ReviewChange(Document):
    """What made a version: of what kind, of which organs, by whom, when."""

    version: int
    what: ChangeKind
    organs: tuple[str, ...] = ()
    by: str
    at: datetime
    href: str | None = None


class ReviewDocument(Document):
    """A version of a job's review.

    Attributes:
        version: Counted from 1; also its entity tag.
        organs: Those that something was said of, in label order.
        unjudged: Organs that have a contour and of which nothing was said yet.
        signature: Who signed; None while it is open.
        files: What is handed on as DICOM, once it is signed.
        left_out: What of DICOM is not handed on, or left out of it, and why.
        change: What made this version; None of version 0.
    """

    job: str
    version: int = 0
    state: ReviewState = ReviewState.OPEN
    organs: tuple[OrganReview, ...] = ()
    unjudged: tuple[str, ...] = ()
    registration: RegistrationReview | None = None
    signature: ReviewSignature | None = None
    files: tuple[ResultFile, ...] = ()
    left_out: dict[str, str] = Field(default_factory=dict)
    change: ReviewChange | None = None
    links: dict[str, str] = Field(default_factory=dict)

    def organ(self, name: str) -> OrganReview | None:
        """Return what was said of an organ; None if nothing was."""
        return next((each for each in self.organs if each.organ == name), None)

    def with_organs(
        self, said: dict[str, OrganReview | None], change: ReviewChange
    ) -> ReviewDocument:
        """Return the next version, in which organs have other verdicts, or none."""
        known: dict[str, OrganReview | None] = {o.organ: o for o in self.organs}
        known |= said
        found = (known.get(organ.name) for organ in ORGANS)
        return self._next(
            change, organs=tuple(each for each in found if each is not None)
        )

    def with_registration(
        self, said: RegistrationReview, change: ReviewChange
    ) -> ReviewDocument:
        """Return the next version, in which something else is said of the MR."""
        return self._next(change, registration=said)

    def signed(
        self,
        signature: ReviewSignature,
        change: ReviewChange,
        *,
        files: tuple[ResultFile, ...],
        left_out: dict[str, str],
    ) -> ReviewDocument:
        """Return the next version, which is signed."""
        return self._next(
            change,
            state=ReviewState.SIGNED,
            signature=signature,
            files=files,
            left_out=left_out,
        )

    def reopened(self, change: ReviewChange) -> ReviewDocument:
        """Return the next version, in which nothing is signed any more."""
        return self._next(change)

    def _next(self, change: ReviewChange, **update: object) -> ReviewDocument:
        blank = {
            "version": self.version + 1,
            "state": ReviewState.IN_PROGRESS,
            "signature": None,
            "files": (),
            "left_out": {},
            "change": change,
        }
        return self.model_copy(update=blank | update)


class ReviewVersions(Document):
    """All versions of a job's review, the newest first."""

    job: str
    versions: tuple[ReviewChange, ...]


OrganName = Annotated[str, Field(max_length=32)]


class OrganJudgement(Document):
    """What is said of an organ; without a verdict, what was said is taken back."""

    verdict: Literal["accepted", "rejected"] | None
    reason: Reason = ""


class OrgansJudged(Document):
    """What is said of several organs at once."""

    organs: Annotated[tuple[NamedJudgement, ...], Field(min_length=1, max_length=30)]


class NamedJudgement(OrganJudgement):
    """What is said of an organ, with its name."""

    organ: OrganName


class RegistrationJudgement(Document):
    """What is said of the registration."""

    verdict: RegistrationVerdict
    reason: Reason = ""


class SignatureRequest(Document):
    """A signature of the version that the signer has seen.

    Attributes:
        version: Nothing else is signed: if there is a newer one, none is.
        name: Who signs; needed, and taken, only where no key says who asks.
    """

    version: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]
    name: (
        Annotated[
            str,
            StringConstraints(
                min_length=1,
                max_length=64,
                pattern=r"^[^\x00-\x1f\x7f\\=]*$",
                strip_whitespace=True,
            ),
        ]
        | None
    ) = None


OrgansJudged.model_rebuild()
