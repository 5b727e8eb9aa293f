"""A case to contour as it was received: its files, and what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hanseg_segmentation.api.http.schemas import CaseRequest
from hanseg_segmentation.api.intake.idempotency import fingerprint
from hanseg_segmentation.api.intake.images import Image
from hanseg_shared.dicom.template import Template
from hanseg_shared.documents import InputSummary, JobOptions, Priority
from hanseg_shared.io.dicom.conversion import SeriesChoice


@dataclass(frozen=True, slots=True)
class EarlierJob:
    """What is known of images that were a job's before.

    Attributes:
        inputs: What that job says of them.
        remarks: What it says a person should know of them.
        attachments: Its other files, by name.
        follows: That job's id, if the new one is its case without the MR.
    """

    inputs: tuple[InputSummary, ...]
    remarks: tuple[str, ...]
    attachments: Mapping[str, Image]
    follows: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A case to contour, received but not yet looked at.

    Attributes:
        ct: The planning CT: an image file, or DICOM.
        mr: The T1 MR; None if there is none, or if it is in `ct`.
        options: What the caller chose.
        case: The caller's name for it.
        reg: A DICOM registration, if one was sent apart.
        choice: Which series to take.
        template: A template that was sent along.
        earlier: Where the files come from, if not from the caller.
        priority: How soon it is wanted.
    """

    ct: Image
    mr: Image | None
    options: JobOptions
    case: str | None = None
    reg: Image | None = None
    choice: SeriesChoice = field(default_factory=SeriesChoice)
    template: Template | None = None
    earlier: EarlierJob | None = None
    priority: Priority = Priority.ROUTINE

    @classmethod
    def of(
        cls,
        asked: CaseRequest,
        ct: Image,
        mr: Image | None = None,
        reg: Image | None = None,
    ) -> Submission:
        """Return the submission of a request with its files."""
        return cls(
            ct=ct,
            mr=mr,
            reg=reg,
            options=asked.options,
            case=asked.case,
            choice=SeriesChoice(ct=asked.ct_series, mr=asked.mr_series),
            template=asked.template_document,
            priority=asked.priority,
        )

    @property
    def request_hash(self) -> str:
        """A hash that two submissions share if they ask for the same.

        Files count by the bytes that were received.
        """
        more = {
            "reg": self.reg.payload.sha256 if self.reg else None,
            "ct_series": self.choice.ct,
            "mr_series": self.choice.mr,
            "template": self.template and self.template.model_dump(mode="json"),
            "priority": "urgent" if self.priority is Priority.URGENT else None,
        }
        return fingerprint(
            resource="job",
            ct=self.ct.payload.sha256,
            mr=self.mr.payload.sha256 if self.mr else None,
            options=self.options.model_dump(mode="json"),
            case=self.case,
            **{name: value for name, value in more.items() if value is not None},
        )

    @property
    def asks_for_dicom(self) -> str | None:
        """What was asked for that only a CT in DICOM allows, in words."""
        if self.options.outputs:
            return f"outputs ({', '.join(self.options.outputs)})"
        if self.reg is not None:
            return "a registration (reg)"
        if self.choice.ct or self.choice.mr:
            return "a series (ct_series, mr_series)"
        if self.template is not None or self.options.template != "default":
            return "a template"
        return None
